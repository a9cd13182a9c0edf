//! Prompts that sequences have in common: the first one computes it, the others take over what it cached.
//!
//! What is shared holds the same bits as a computation of its own, so this changes the time and not the tokens.

use std::sync::Arc;

/// Prompts that stand in some slot of a cache, whoever put them there.
#[derive(Default)]
pub(super) struct SharedPrompts {
    kept: Vec<Kept>,
}

struct Kept {
    prompt: Vec<u32>,
    slot: usize,
    /// Logits of its last token.
    logits_v: Arc<[f32]>,
}

impl SharedPrompts {
    /// `slot` now begins with `prompt`.
    pub(super) fn keep(&mut self, prompt: &[u32], slot: usize, logits_v: &[f32]) {
        self.overwritten(slot);
        self.kept.push(Kept { prompt: prompt.into(), slot, logits_v: logits_v.into() });
    }

    /// `slot` no longer holds what it did.
    pub(super) fn overwritten(&mut self, slot: usize) {
        self.kept.retain(|kept| kept.slot != slot);
    }

    /// A slot that begins with `prompt`, `wanted` if that is one, and the logits of the prompt's last token.
    pub(super) fn find(&self, prompt: &[u32], wanted: usize) -> Option<(usize, Arc<[f32]>)> {
        let mut holders = self.kept.iter().filter(|kept| kept.prompt == prompt);
        let first = holders.next()?;
        let holder = holders.find(|kept| kept.slot == wanted).unwrap_or(first);
        Some((holder.slot, holder.logits_v.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_found_until_its_slot_is_overwritten() {
        let mut prompts = SharedPrompts::default();
        prompts.keep(&[1, 2], 0, &[0.5]);
        prompts.keep(&[1, 2], 3, &[0.5]);
        prompts.keep(&[7], 1, &[0.1]);
        let slot = |prompts: &SharedPrompts, wanted| prompts.find(&[1, 2], wanted).map(|(slot, _)| slot);
        assert_eq!((slot(&prompts, 3), slot(&prompts, 9)), (Some(3), Some(0)));
        assert!(prompts.find(&[1], 0).is_none());
        prompts.overwritten(0);
        prompts.keep(&[8], 3, &[0.2]);
        assert_eq!(slot(&prompts, 0), None);
    }
}
