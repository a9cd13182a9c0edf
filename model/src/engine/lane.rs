//! A worker's share of the sequences in flight, and one step of them through the model.
//!
//! With drafting, a sequence feeds its last token and a guess at the next one. The guess is kept exactly when it is the
//! token that the model draws at that place, so a completion has the same tokens with and without; where it is kept, the
//! step has drawn two. Where guessing does not pay, a lane goes on without.

use super::drafting::{DraftCount, Trial};
use super::sequence::{Rules, Sequence};
use super::shared_prompts::SharedPrompts;
use crate::Error;
use crate::batch::Batch;
use crate::cache::{Cache, CacheSpec, Precision};
use crate::decoder::Decoder;
use retort_kernels::{PAGE, Value, gather_rows};
use std::time::{Duration, Instant};

pub(super) struct Lane {
    cache: Cache,
    /// What the drafting module keeps of past tokens, where it is used.
    drafting: Option<Cache>,
    /// Prompts that are cached; none with drafting, whose module keeps more of a prompt than is copied.
    prompts: SharedPrompts,
    /// Slots without a sequence; some still hold a prompt that another may begin with.
    free: Vec<usize>,
    /// Pages of the cache in all.
    pub pages: usize,
    /// Pages that the sequences here may come to need.
    reserved: usize,
    /// Prompts that the next step runs.
    pub admitted: Vec<Sequence>,
    pub active: Vec<Sequence>,
    pub count: DraftCount,
    trial: Trial,
}

impl Lane {
    pub(super) fn new(
        decoder: &dyn Decoder,
        slots: usize,
        pages: usize,
        precision: Precision,
        draft: bool,
    ) -> Result<Self, Error> {
        let room = |spec: CacheSpec| Cache::paged(&spec, precision, slots, pages, decoder.device());
        Ok(Self {
            cache: room(decoder.cache_spec())?,
            drafting: decoder.draft_cache_spec().filter(|_| draft).map(room).transpose()?,
            prompts: SharedPrompts::default(),
            free: (0..slots).rev().collect(),
            pages,
            reserved: 0,
            admitted: vec![],
            active: vec![],
            count: DraftCount::default(),
            trial: Trial::default(),
        })
    }

    pub(super) fn has_slot(&self) -> bool {
        !self.free.is_empty()
    }

    /// Lets `sequence` start with the next step; gives it back where it has to wait for a slot or for memory.
    pub(super) fn admit(&mut self, mut sequence: Sequence) -> Option<Sequence> {
        let pages = sequence.longest.div_ceil(PAGE);
        if self.reserved + pages > self.pages {
            return Some(sequence);
        }
        let Some(slot) = self.free.pop() else { return Some(sequence) };
        self.reserved += pages;
        sequence.slot = slot;
        self.admitted.push(sequence);
        None
    }

    /// Takes the slot and the memory of a sequence back. Its prompt stays for others until the memory is needed.
    pub(super) fn retire(&mut self, sequence: &Sequence) {
        self.reserved -= sequence.longest.div_ceil(PAGE);
        self.free.push(sequence.slot);
        match &mut self.drafting {
            None => self.cache.truncate(sequence.slot, sequence.prompt.len()),
            Some(drafting) => {
                drafting.truncate(sequence.slot, 0);
                self.cache.truncate(sequence.slot, 0);
            }
        }
    }

    /// Gives up prompts that nobody uses, that in slot `kept` excepted, until the cache has `pages` free pages.
    fn make_room(&mut self, pages: usize, kept: Option<usize>) {
        for at in 0..self.free.len() {
            if self.cache.free_pages() >= pages {
                break;
            }
            let slot = self.free[at];
            if Some(slot) != kept {
                self.prompts.overwritten(slot);
                self.cache.truncate(slot, 0);
            }
        }
    }

    /// Gives a sequence room for `len` tokens: it was admitted with all that it can need.
    fn grow(&mut self, slot: usize, len: usize) -> Result<(), Error> {
        self.make_room(self.cache.missing(slot, len), None);
        self.cache.grow(slot, len)?;
        Ok(self.drafting.as_mut().map_or(Ok(()), |drafting| drafting.grow(slot, len))?)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.admitted.is_empty() && self.active.is_empty()
    }

    /// At least one more token for every sequence; those that end by `rules` say so.
    pub(super) fn step(&mut self, decoder: &dyn Decoder, rules: &Rules<'_>) -> Result<(), Error> {
        let (mut active, admitted) = (std::mem::take(&mut self.active), std::mem::take(&mut self.admitted));
        self.go_on(decoder, &mut active, rules)?;
        let fresh = self.take_over(admitted, &mut active, rules)?;
        // Of those with the same prompt the first computes it.
        let mut starting: Vec<Sequence> = Vec::new();
        let mut following = Vec::new();
        for sequence in fresh {
            let computed = self.drafting.is_none() && starting.iter().any(|first| first.prompt == sequence.prompt);
            if computed { &mut following } else { &mut starting }.push(sequence);
        }
        self.advance(decoder, &mut starting, rules)?;
        active.append(&mut starting);
        // The prompt it waited for is there; a page for what it adds was reserved, so none is left over here.
        let mut left = self.take_over(following, &mut active, rules)?;
        self.advance(decoder, &mut left, rules)?;
        active.append(&mut left);
        self.active = active;
        Ok(())
    }

    /// Lets the sequences whose prompt is cached begin from there, and gives back the others.
    fn take_over(
        &mut self,
        sequences: Vec<Sequence>,
        active: &mut Vec<Sequence>,
        rules: &Rules<'_>,
    ) -> Result<Vec<Sequence>, Error> {
        let mut fresh = Vec::new();
        for mut sequence in sequences {
            let found = self.prompts.find(&sequence.prompt, sequence.slot);
            if found.as_ref().is_none_or(|(slot, _)| *slot != sequence.slot) {
                self.prompts.overwritten(sequence.slot);
                self.cache.truncate(sequence.slot, 0);
            }
            let own_page = usize::from(!sequence.prompt.len().is_multiple_of(PAGE));
            self.make_room(own_page, found.as_ref().map(|(slot, _)| *slot));
            let room = |(slot, _): &(usize, _)| *slot == sequence.slot || self.cache.free_pages() >= own_page;
            let Some((slot, logits_v)) = found.filter(room) else {
                fresh.push(sequence);
                continue;
            };
            if slot != sequence.slot {
                self.cache.share(slot, sequence.slot, sequence.prompt.len())?;
                self.prompts.keep(&sequence.prompt, sequence.slot, &logits_v);
            }
            sequence.extend(&logits_v, rules)?;
            active.push(sequence);
        }
        Ok(fresh)
    }

    /// A step of sequences whose prompts are cached, and with drafting a look at what it took.
    fn go_on(&mut self, decoder: &dyn Decoder, active: &mut [Sequence], rules: &Rules<'_>) -> Result<(), Error> {
        let withheld = self.trial.withholds();
        if self.drafting.is_none() || active.is_empty() {
            return self.advance(decoder, active, rules).map(drop);
        }
        if withheld {
            active.iter_mut().for_each(|sequence| sequence.draft = None);
        }
        let drawn = |active: &[Sequence]| active.iter().map(|sequence| sequence.tokens.len()).sum::<usize>();
        let (before, begin) = (drawn(active), Instant::now());
        let guessing = self.advance(decoder, active, rules)?;
        // Where guesses do not go on, a step makes none.
        let guessing = if withheld { guessing } else { Duration::ZERO };
        if !self.trial.goes_on(withheld, active.len(), drawn(active) - before, begin.elapsed() - guessing) {
            self.drafting = None;
        }
        Ok(())
    }

    /// One token, or two, for each of `sequences`. Returns the time that guessing the next ones took.
    fn advance(
        &mut self,
        decoder: &dyn Decoder,
        sequences: &mut [Sequence],
        rules: &Rules<'_>,
    ) -> Result<Duration, Error> {
        if sequences.is_empty() {
            return Ok(Duration::ZERO);
        }
        let feeds: Vec<(usize, Vec<u32>)> = sequences.iter().map(Sequence::feed).collect();
        for (sequence, (past, tokens)) in sequences.iter().zip(&feeds) {
            self.grow(sequence.slot, past + tokens.len())?;
        }
        let parts = sequences.iter().zip(&feeds).map(|(s, (past, tokens))| (s.slot, *past, tokens.as_slice()));
        let batch = Batch::cached(parts);
        let hidden_nd = decoder.hidden(&batch, Some(&self.cache))?;

        // Every sequence draws from its last row, or from the last two where the second is a guess.
        let spans = || batch.offsets.windows(2).map(|span| (span[0], span[1]));
        let guesses = |sequence: &Sequence| usize::from(sequence.draft.is_some());
        let rows = sequences.iter().zip(spans()).flat_map(|(s, (_, end))| end - 1 - guesses(s)..end);
        let logits = logits(decoder, &hidden_nd, &rows.map(|row| row as u32).collect::<Vec<_>>())?;
        let mut logits = logits.iter();
        // For each sequence that goes on: its index and how many of the rows it fed hold what it really became.
        let mut going_on = Vec::new();
        for (index, (sequence, (start, end))) in sequences.iter_mut().zip(spans()).enumerate() {
            let (Some(first), guess) = (logits.next(), sequence.draft.take()) else { break };
            let second = guess.and_then(|_| logits.next());
            if sequence.tokens.is_empty() && self.drafting.is_none() {
                self.prompts.keep(&sequence.prompt, sequence.slot, first);
            }
            sequence.extend(first, rules)?;
            let accepted = guess.is_some() && guess == sequence.tokens.last().copied();
            self.count.drafted += u64::from(guess.is_some());
            self.count.accepted += u64::from(accepted);
            if let Some(second) = second.filter(|_| accepted && sequence.finish.is_none()) {
                sequence.extend(second, rules)?;
            }
            if sequence.finish.is_none() {
                going_on.push((index, end - start - usize::from(guess.is_some() && !accepted)));
            }
        }
        let begin = Instant::now();
        self.draft(decoder, sequences, &feeds, &batch, &hidden_nd, &going_on)?;
        Ok(begin.elapsed())
    }

    /// Guesses the next token of every sequence in `going_on` from the hidden states of its rows.
    fn draft(
        &self,
        decoder: &dyn Decoder,
        sequences: &mut [Sequence],
        feeds: &[(usize, Vec<u32>)],
        batch: &Batch,
        hidden_nd: &Value,
        going_on: &[(usize, usize)],
    ) -> Result<(), Error> {
        let Some(cache) = self.drafting.as_ref().filter(|_| !going_on.is_empty()) else { return Ok(()) };
        let (mut rows, mut following) = (Vec::new(), Vec::new());
        for &(index, count) in going_on {
            let start = batch.offsets[index];
            rows.extend((start..start + count).map(|row| row as u32));
            let past = feeds[index].0;
            following.extend((past + 1..=past + count).map(|position| sequences[index].at(position)));
        }
        let parts = going_on.iter().map(|&(index, count)| {
            let (past, tokens) = &feeds[index];
            (sequences[index].slot, *past, &tokens[..count])
        });
        let kept = Batch::cached(parts);
        let Some(ahead_nd) = decoder.draft(&kept, &gather_rows(hidden_nd, &rows)?, &following, cache)? else {
            return Ok(());
        };
        let logits = logits(decoder, &ahead_nd, &kept.last_rows())?;
        for (&(index, _), logits) in going_on.iter().zip(&logits) {
            sequences[index].draft = Some(sequences[index].next_token(logits));
        }
        Ok(())
    }
}

/// Logits of some rows, one vector each; a number that is not finite is an error.
pub(crate) fn logits(decoder: &dyn Decoder, hidden_nd: &Value, rows: &[u32]) -> Result<Vec<Vec<f32>>, Error> {
    let logits: Vec<Vec<f32>> = decoder.head().linear(&gather_rows(hidden_nd, rows)?)?.tensor().to_vec2()?;
    match logits.iter().flatten().find(|logit| !logit.is_finite()) {
        Some(&value) => Err(Error::LogitNotFinite { value }),
        None => Ok(logits),
    }
}
