//! Texts behind a prompt that is read once: its pages of the cache are shared with every text, as those of a prompt are
//! with the samples that answer it.
//!
//! All texts go through the cache, also one by itself, so that a row has the same bits whatever stands beside it.

use super::Branches;
use super::prefill::{Asked, PASS_TOKENS, Pass};
use crate::Error;
use crate::batch::Batch;
use crate::cache::{Cache, Precision};
use crate::decoder::Decoder;
use candle_core::Tensor;
use retort_kernels::{PAGE, Value, gather_rows};

/// Prompts with their texts that run through the model together.
pub(super) struct Shared<'a> {
    /// The place of the first text among all.
    first: usize,
    branches: &'a [Branches<'a>],
}

/// Cuts `branches` into passes of about [`PASS_TOKENS`] tokens; the texts of one prompt stay together.
pub(super) fn passes<'a>(branches: &'a [Branches<'a>]) -> Vec<Shared<'a>> {
    let tokens =
        |branch: &Branches<'_>| branch.prompt.len() + branch.texts.iter().map(|text| text.len()).sum::<usize>();
    let (mut passes, mut rest, mut first) = (Vec::new(), branches, 0);
    while !rest.is_empty() {
        let mut sum = 0;
        let fitting = rest.iter().take_while(|branch| {
            sum += tokens(branch);
            sum <= PASS_TOKENS
        });
        let (branches, others) = rest.split_at(fitting.count().max(1));
        passes.push(Shared { first, branches });
        first += branches.iter().map(|branch| branch.texts.len()).sum::<usize>();
        rest = others;
    }
    passes
}

impl Shared<'_> {
    /// Every prompt with something to ask behind it, and its texts.
    fn asked(&self) -> impl Iterator<Item = (&[u32], &[&[u32]])> {
        let something = |branch: &&Branches<'_>| branch.texts.iter().any(|text| !text.is_empty());
        self.branches.iter().filter(something).map(|branch| (branch.prompt, branch.texts))
    }
}

impl Pass for Shared<'_> {
    /// The last row of each prompt, then all rows of each text but its last.
    fn hidden(&self, decoder: &dyn Decoder) -> Result<Option<Value>, Error> {
        let prompts: Vec<(&[u32], &[&[u32]])> = self.asked().collect();
        if prompts.is_empty() {
            return Ok(None);
        }
        // One slot for each prompt, and one for each text behind them.
        let texts: usize = prompts.iter().map(|(_, texts)| texts.len()).sum();
        let pages = |(prompt, texts): &(&[u32], &[&[u32]])| {
            let own = |text: &&[u32]| text.len().div_ceil(PAGE) + 1;
            prompt.len().div_ceil(PAGE) + texts.iter().map(own).sum::<usize>()
        };
        let (slots, pages) = (prompts.len() + texts, prompts.iter().map(pages).sum());
        let mut cache = Cache::paged(&decoder.cache_spec(), Precision::F32, slots, pages, decoder.device())?;
        for (slot, (prompt, _)) in prompts.iter().enumerate() {
            cache.grow(slot, prompt.len())?;
        }
        let read = Batch::cached(prompts.iter().enumerate().map(|(slot, (prompt, _))| (slot, 0, *prompt)));
        let last_nd = gather_rows(&decoder.hidden(&read, Some(&cache))?, &read.last_rows())?;
        let mut behind = Vec::new();
        let mut slot = prompts.len();
        for (prompt_slot, (prompt, texts)) in prompts.iter().enumerate() {
            for text in texts.iter() {
                if let [before @ .., _] = text
                    && !before.is_empty()
                {
                    cache.share(prompt_slot, slot, prompt.len())?;
                    cache.grow(slot, prompt.len() + before.len())?;
                    behind.push((slot, prompt.len(), before));
                }
                slot += 1;
            }
        }
        if behind.is_empty() {
            return Ok(Some(last_nd));
        }
        let behind_nd = decoder.hidden(&Batch::cached(behind), Some(&cache))?;
        Ok(Some(Value::constant(&Tensor::cat(&[last_nd.tensor(), behind_nd.tensor()], 0)?)?))
    }

    fn rows(&self) -> Vec<Asked> {
        let mut rows = Vec::new();
        let mut behind = self.asked().count() as u32;
        let (mut sequence, mut prompts) = (self.first, 0);
        for branch in self.branches {
            let asked = branch.texts.iter().any(|text| !text.is_empty());
            for text in branch.texts {
                for (row, &token) in text.iter().enumerate() {
                    let at = if row == 0 { prompts } else { behind + row as u32 - 1 };
                    rows.push((sequence, row, at, token));
                }
                behind += (text.len() as u32).saturating_sub(1);
                sequence += 1;
            }
            prompts += u32::from(asked);
        }
        rows
    }
}
