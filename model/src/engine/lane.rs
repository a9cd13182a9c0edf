//! A worker's share of the sequences in flight, and one step of them through the model.
//!
//! With drafting, a sequence feeds its last token and a guess at the next one. The guess is kept exactly when it is the
//! token that the model draws at that place, so a completion has the same tokens with and without; where it is kept, the
//! step has drawn two.

use crate::Error;
use crate::batch::Batch;
use crate::cache::Cache;
use crate::decoder::Decoder;
use crate::generate::Request;
use retort_kernels::{Value, gather_rows};

/// One sequence in flight.
pub(super) struct Sequence {
    pub request: Request,
    pub prompt: Vec<u32>,
    pub prefilled: bool,
    pub tokens: Vec<u32>,
    pub slot: usize,
    /// A guess at the token after the last.
    draft: Option<u32>,
}

impl Sequence {
    pub(super) fn new(request: Request, prompt: Vec<u32>, prefilled: bool, slot: usize) -> Self {
        Self { request, prompt, prefilled, tokens: vec![], slot, draft: None }
    }

    /// The token that this request gets next where the model has these logits.
    fn drawn(&self, logits: &[f32]) -> u32 {
        self.request.sampling.draw(logits, self.request.noise.uniform(self.tokens.len() as u64))
    }

    /// How many tokens are cached, and those to feed: the prompt, or the last token with the guess behind it.
    fn feed(&self) -> (usize, Vec<u32>) {
        match self.tokens.last() {
            None => (0, self.prompt.clone()),
            Some(&last) => (self.prompt.len() + self.tokens.len() - 1, [last].into_iter().chain(self.draft).collect()),
        }
    }

    /// The token at `position` of prompt and completion together.
    fn at(&self, position: usize) -> u32 {
        match position.checked_sub(self.prompt.len()) {
            None => self.prompt[position],
            Some(drawn) => self.tokens[drawn],
        }
    }
}

/// How many guesses were made and how many of them were right.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DraftCount {
    pub drafted: u64,
    pub accepted: u64,
}

pub(super) struct Lane {
    cache: Cache,
    /// What the drafting module keeps of past tokens, where it is used.
    drafting: Option<Cache>,
    pub free: Vec<usize>,
    /// Prompts that the next step runs.
    pub admitted: Vec<Sequence>,
    pub active: Vec<Sequence>,
    pub count: DraftCount,
}

impl Lane {
    pub(super) fn new(decoder: &dyn Decoder, slots: usize, capacity: usize, draft: bool) -> Result<Self, Error> {
        let device = decoder.device();
        let cache = Cache::new(&decoder.cache_spec(), slots, capacity, device)?;
        let spec = decoder.draft_cache_spec().filter(|_| draft);
        let drafting = spec.map(|spec| Cache::new(&spec, slots, capacity, device)).transpose()?;
        let free = (0..slots).rev().collect();
        Ok(Self { cache, drafting, free, admitted: vec![], active: vec![], count: DraftCount::default() })
    }

    pub(super) fn is_idle(&self) -> bool {
        self.admitted.is_empty() && self.active.is_empty()
    }

    /// At least one more token for every sequence; `ended` tells which want no more.
    pub(super) fn step(&mut self, decoder: &dyn Decoder, ended: impl Fn(&Sequence) -> bool) -> Result<(), Error> {
        let (mut active, mut admitted) = (std::mem::take(&mut self.active), std::mem::take(&mut self.admitted));
        self.advance(decoder, &mut active, &ended)?;
        self.advance(decoder, &mut admitted, &ended)?;
        active.append(&mut admitted);
        self.active = active;
        Ok(())
    }

    fn advance(
        &mut self,
        decoder: &dyn Decoder,
        sequences: &mut [Sequence],
        ended: impl Fn(&Sequence) -> bool,
    ) -> Result<(), Error> {
        if sequences.is_empty() {
            return Ok(());
        }
        let feeds: Vec<(usize, Vec<u32>)> = sequences.iter().map(Sequence::feed).collect();
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
            sequence.tokens.push(sequence.drawn(first));
            let accepted = guess.is_some() && guess == sequence.tokens.last().copied();
            self.count.drafted += u64::from(guess.is_some());
            self.count.accepted += u64::from(accepted);
            if let Some(second) = second.filter(|_| accepted && !ended(sequence)) {
                sequence.tokens.push(sequence.drawn(second));
            }
            if !ended(sequence) {
                going_on.push((index, end - start - usize::from(guess.is_some() && !accepted)));
            }
        }
        self.draft(decoder, sequences, &feeds, &batch, &hidden_nd, &going_on)
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
            sequences[index].draft = Some(sequences[index].drawn(logits));
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
