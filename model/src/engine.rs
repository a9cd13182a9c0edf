//! Batched generation: a fixed number of slots, refilled from the queue of jobs as sequences end.
//!
//! The slots are shared out among lanes, one for each worker. A step runs one token of every sequence of a lane through
//! the model, all lanes side by side. A sample's tokens come from its own prompt,
//! sampling settings and noise key; which slot it has and who sits beside it changes nothing but the last bits of
//! rounding in the matrix products.

use crate::batch::Batch;
use crate::cache::Cache;
use crate::chat::{ChatTemplate, opens_thinking, split_thinking};
use crate::decoder::Decoder;
use crate::generate::{Completion, FinishReason, Generate, GenerateError, Jobs, Request};
use crate::tokenizer::Tokenizer;
use crate::workers::Workers;
use crate::{Error, sampling::Sampling};
use retort_kernels::gather_rows;

/// A model with everything that turns chats into completions.
pub struct Engine<D> {
    pub decoder: D,
    pub tokenizer: Tokenizer,
    pub template: ChatTemplate,
    pub name: String,
    pub fingerprint: String,
    /// Ids that end a turn.
    pub eos: Vec<u32>,
    /// Sequences in flight at once.
    pub slots: usize,
    pub workers: Workers,
}

/// A worker's share of the slots and the sequences in them.
struct Lane {
    cache: Cache,
    free: Vec<usize>,
    /// Prompts that the next step runs.
    admitted: Vec<Sequence>,
    active: Vec<Sequence>,
}

/// One sequence in flight.
struct Sequence {
    request: Request,
    prompt: Vec<u32>,
    prefilled: bool,
    tokens: Vec<u32>,
    slot: usize,
}

impl Sequence {
    fn draw(&mut self, logits: &[f32]) {
        let position = self.tokens.len() as u64;
        self.tokens.push(self.request.sampling.draw(logits, self.request.noise.uniform(position)));
    }

    /// The token to feed next and how many are cached before it.
    fn feed(&self) -> (usize, usize, &[u32]) {
        let last = self.tokens.len() - 1;
        (self.slot, self.prompt.len() + last, &self.tokens[last..])
    }
}

/// Prompts are prefilled together up to this many tokens.
const PREFILL_TOKENS: usize = 2048;

impl<D: Decoder> Engine<D> {
    /// The prompt of `request` as token ids, and whether it opens a thinking block.
    fn encode(&self, request: &Request) -> Result<(Vec<u32>, bool), GenerateError> {
        let text = self.template.prompt(&request.messages)?;
        let prompt = self.tokenizer.encode(&text)?;
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt { model: self.name.clone() });
        }
        Ok((prompt, opens_thinking(&text)))
    }

    fn finish(&self, sequence: &Sequence) -> Option<FinishReason> {
        let Sampling { max_tokens, .. } = sequence.request.sampling;
        let full = sequence.prompt.len() + sequence.tokens.len() >= self.decoder.context_length();
        match sequence.tokens.last() {
            Some(last) if self.eos.contains(last) => Some(FinishReason::Stop),
            _ if sequence.tokens.len() >= max_tokens || full => Some(FinishReason::Length),
            _ => None,
        }
    }

    fn complete(&self, sequence: Sequence, finish_reason: FinishReason) -> Result<(u64, Completion), Error> {
        let text_end = sequence.tokens.len() - usize::from(finish_reason == FinishReason::Stop);
        let thought = split_thinking(&self.tokenizer.decode(&sequence.tokens[..text_end])?, sequence.prefilled);
        let completion = Completion {
            reasoning: thought.reasoning,
            response: thought.response,
            unterminated: thought.unterminated,
            finish_reason,
            prompt_tokens: sequence.prompt.len(),
            completion_tokens: sequence.tokens.len(),
            prompt_token_ids: sequence.prompt,
            token_ids: sequence.tokens,
        };
        Ok((sequence.request.id, completion))
    }

    /// Takes requests until the lane's slots or this round's prefill budget are full.
    fn admit(&self, jobs: &mut dyn Jobs, lane: &mut Lane) -> Result<(), GenerateError> {
        let mut tokens = 0;
        while tokens < PREFILL_TOKENS && !lane.free.is_empty() {
            let Some(request) = jobs.next() else { break };
            let (prompt, prefilled) = self.encode(&request)?;
            if prompt.len() >= self.decoder.context_length() {
                let sequence = Sequence { request, prompt, prefilled, tokens: vec![], slot: usize::MAX };
                let (id, completion) = self.complete(sequence, FinishReason::PromptTooLong)?;
                jobs.done(id, completion).map_err(GenerateError::Job)?;
                continue;
            }
            tokens += prompt.len();
            let Some(slot) = lane.free.pop() else { break };
            lane.admitted.push(Sequence { request, prompt, prefilled, tokens: vec![], slot });
        }
        Ok(())
    }

    /// Hands back the sequences of a lane that have ended.
    fn settle(&self, jobs: &mut dyn Jobs, lane: &mut Lane) -> Result<(), GenerateError> {
        let mut running = Vec::with_capacity(lane.active.len());
        for sequence in lane.active.drain(..) {
            match self.finish(&sequence) {
                Some(reason) => {
                    lane.free.push(sequence.slot);
                    let (id, completion) = self.complete(sequence, reason)?;
                    jobs.done(id, completion).map_err(GenerateError::Job)?;
                }
                None => {
                    jobs.advanced(sequence.request.id, &sequence.tokens).map_err(GenerateError::Job)?;
                    running.push(sequence);
                }
            }
        }
        lane.active = running;
        Ok(())
    }
}

impl Lane {
    fn new(decoder: &dyn Decoder, slots: usize) -> Result<Self, Error> {
        let cache = Cache::new(&decoder.cache_spec(), slots, decoder.context_length(), decoder.device())?;
        Ok(Self { cache, free: (0..slots).rev().collect(), admitted: vec![], active: vec![] })
    }

    fn is_idle(&self) -> bool {
        self.admitted.is_empty() && self.active.is_empty()
    }

    /// One more token for every sequence.
    fn step(&mut self, decoder: &dyn Decoder) -> Result<(), Error> {
        if !self.active.is_empty() {
            let logits = self.logits(decoder, &Batch::cached(self.active.iter().map(Sequence::feed)))?;
            self.active.iter_mut().zip(&logits).for_each(|(sequence, logits)| sequence.draw(logits));
        }
        if !self.admitted.is_empty() {
            let prompts = self.admitted.iter().map(|sequence| (sequence.slot, 0, sequence.prompt.as_slice()));
            let logits = self.logits(decoder, &Batch::cached(prompts))?;
            self.admitted.iter_mut().zip(&logits).for_each(|(sequence, logits)| sequence.draw(logits));
            self.active.append(&mut self.admitted);
        }
        Ok(())
    }

    /// The next token's logits for every sequence of `batch`, one vector each.
    fn logits(&self, decoder: &dyn Decoder, batch: &Batch) -> Result<Vec<Vec<f32>>, Error> {
        let hidden = decoder.hidden(batch, Some(&self.cache))?;
        let last = gather_rows(&hidden, &batch.last_rows())?;
        let logits: Vec<Vec<f32>> = decoder.head().linear(&last)?.tensor().to_vec2()?;
        match logits.iter().flatten().find(|logit| !logit.is_finite()) {
            Some(&value) => Err(Error::LogitNotFinite { value }),
            None => Ok(logits),
        }
    }
}

impl<D: Decoder> Generate for Engine<D> {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn generate(&self, jobs: &mut dyn Jobs) -> Result<(), GenerateError> {
        let decoder: &dyn Decoder = &self.decoder;
        let slots = self.slots.div_ceil(self.workers.count());
        let mut lanes: Vec<Lane> =
            (0..self.workers.count()).map(|_| Lane::new(decoder, slots)).collect::<Result<_, _>>()?;
        while !jobs.cancelled() {
            lanes.iter_mut().try_for_each(|lane| self.admit(jobs, lane))?;
            if lanes.iter().all(Lane::is_idle) {
                break;
            }
            let stepped = self.workers.map(&mut lanes, |lane| lane.step(decoder));
            stepped.into_iter().collect::<Result<(), _>>()?;
            lanes.iter_mut().try_for_each(|lane| self.settle(jobs, lane))?;
        }
        Ok(())
    }
}
