//! Batched generation: a fixed number of slots, refilled from the queue of jobs as sequences end.
//!
//! Each step runs one token of every sequence in flight through the model. A sample's tokens come from its own prompt,
//! sampling settings and noise key; which slot it has and who sits beside it changes nothing but the last bits of
//! rounding in the matrix products.

use crate::batch::Batch;
use crate::cache::Cache;
use crate::chat::{ChatTemplate, opens_thinking, split_thinking};
use crate::decoder::Decoder;
use crate::generate::{Completion, FinishReason, Generate, GenerateError, Jobs, Request};
use crate::tokenizer::Tokenizer;
use crate::{Error, sampling::Sampling};
use retort_kernels::{gather_rows, linear};

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
        let context = self.decoder.context_length();
        if prompt.len() >= context {
            return Err(GenerateError::PromptTooLong { prompt: prompt.len(), context });
        }
        Ok((prompt, opens_thinking(&text)))
    }

    /// The next token's logits for every sequence of `batch`, one vector each.
    fn step(&self, batch: &Batch, cache: &Cache) -> Result<Vec<Vec<f32>>, Error> {
        let hidden = self.decoder.hidden(batch, Some(cache))?;
        let last = gather_rows(&hidden, &batch.last_rows())?;
        Ok(linear(&last, self.decoder.head())?.tensor().to_vec2()?)
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

    /// Takes requests until the slots or this round's prefill budget are full.
    fn admit(&self, jobs: &mut dyn Jobs, free: &mut Vec<usize>) -> Result<Vec<Sequence>, GenerateError> {
        let mut admitted = Vec::new();
        let mut tokens = 0;
        while tokens < PREFILL_TOKENS && !free.is_empty() {
            let Some(request) = jobs.next() else { break };
            let (prompt, prefilled) = self.encode(&request)?;
            tokens += prompt.len();
            let Some(slot) = free.pop() else { break };
            admitted.push(Sequence { request, prompt, prefilled, tokens: vec![], slot });
        }
        Ok(admitted)
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
        let capacity = self.decoder.context_length();
        let cache =
            Cache::new(&self.decoder.cache_spec(), self.slots, capacity, self.decoder.device()).map_err(Error::from)?;
        let mut free: Vec<usize> = (0..self.slots).rev().collect();
        let mut active: Vec<Sequence> = Vec::new();
        while !jobs.cancelled() {
            let mut admitted = self.admit(jobs, &mut free)?;
            if admitted.is_empty() && active.is_empty() {
                break;
            }
            if !active.is_empty() {
                let logits = self.step(&Batch::cached(active.iter().map(Sequence::feed)), &cache)?;
                active.iter_mut().zip(&logits).for_each(|(sequence, logits)| sequence.draw(logits));
            }
            if !admitted.is_empty() {
                let prompts = admitted.iter().map(|sequence| (sequence.slot, 0, sequence.prompt.as_slice()));
                let logits = self.step(&Batch::cached(prompts), &cache)?;
                admitted.iter_mut().zip(&logits).for_each(|(sequence, logits)| sequence.draw(logits));
                active.append(&mut admitted);
            }
            let mut running = Vec::with_capacity(active.len());
            for sequence in active {
                match self.finish(&sequence) {
                    Some(reason) => {
                        free.push(sequence.slot);
                        let (id, completion) = self.complete(sequence, reason)?;
                        jobs.done(id, completion).map_err(GenerateError::Job)?;
                    }
                    None => running.push(sequence),
                }
            }
            active = running;
        }
        Ok(())
    }
}
