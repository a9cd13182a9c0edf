//! Batched generation: a fixed number of slots, refilled from the queue of jobs as sequences end.
//!
//! A sequence starts only once the cache has room for the longest that it can become, so memory makes sequences wait and
//! never fail. The slots are shared out among lanes, one for each worker. A step runs one token of every sequence of a lane through
//! the model, all lanes side by side. A sample's tokens come from the weights, its own prompt, sampling settings and noise
//! key; which slot it has, who sits beside it, how many threads there are and whether a draft was tried change nothing.

mod drafting;
mod lane;
mod sequence;
mod shared_prompts;

pub use drafting::DraftCount;
pub(crate) use lane::logits;

use crate::Error;
use crate::cache::{CacheSpec, Precision};
use crate::chat::{ChatTemplate, opens_thinking};
use crate::decoder::Decoder;
use crate::generate::{Completion, FinishReason, Generate, GenerateError, Jobs, Request};
use crate::stop_strings::before_stop;
use crate::tokenizer::Tokenizer;
use crate::workers::Workers;
use lane::Lane;
use retort_kernels::PAGE;
use sequence::{Rules, Sequence};
use std::sync::{Mutex, PoisonError};

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
    /// The longest prompt and completion together.
    pub context: usize,
    pub cache: CacheSettings,
    pub workers: Workers,
    /// Whether a model that can guess a token ahead does so.
    pub draft: bool,
    /// What became of the guesses so far.
    pub draft_count: Mutex<DraftCount>,
}

/// What the memory of past tokens may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    pub precision: Precision,
    /// Bytes for all sequences in flight together.
    pub bytes: usize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { precision: Precision::default(), bytes: 2 << 30 }
    }
}

/// What to do where a GPU has no memory for sequences.
const FEWER: &str = "a lower `--memory` leaves the cache less, and so has fewer sequences in flight; what was written \
                     before is stored, and the same command goes on from there";

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
        let vocabulary = self.decoder.head().rows();
        match prompt.iter().find(|token| **token as usize >= vocabulary) {
            Some(&token) => Err(Error::OtherVocabulary { model: self.name.clone(), token, vocabulary }.into()),
            None => Ok((prompt, opens_thinking(&text))),
        }
    }

    fn check(&self, request: &Request) -> Result<(), GenerateError> {
        let fault = request.sampling.fault_for(self.decoder.head().rows());
        match fault.or_else(|| request.capture.and_then(|capture| capture.fault())) {
            None => Ok(()),
            Some((setting, found, expected)) => {
                Err(GenerateError::Setting { model: self.name.clone(), setting, found, expected })
            }
        }
    }

    fn complete(&self, sequence: Sequence, finish_reason: FinishReason) -> Result<(u64, Completion), Error> {
        let text_end = sequence.tokens.len() - usize::from(finish_reason == FinishReason::Stop);
        let text = self.tokenizer.decode(&sequence.tokens[..text_end])?;
        let thought = self.template.thought(before_stop(&sequence.request.sampling.stop, &text), sequence.prefilled);
        let completion = Completion {
            reasoning: thought.reasoning,
            response: thought.response,
            unterminated: thought.unterminated,
            finish_reason,
            prompt_tokens: sequence.prompt.len(),
            completion_tokens: sequence.tokens.len(),
            prompt_token_ids: sequence.prompt,
            token_ids: sequence.tokens,
            forced: sequence.forced,
            targets: sequence.request.capture.map(|_| sequence.targets),
        };
        Ok((sequence.request.id, completion))
    }

    /// Takes requests until the lane's slots, its memory or this round's prefill budget are full. One that is taken and
    /// has to wait for memory is left in `waiting`.
    fn admit(&self, jobs: &mut dyn Jobs, lane: &mut Lane, waiting: &mut Option<Sequence>) -> Result<(), GenerateError> {
        let mut tokens = 0;
        while tokens < PREFILL_TOKENS && lane.has_slot() {
            if let Some(sequence) = waiting.take() {
                let length = sequence.prompt.len();
                *waiting = lane.admit(sequence);
                if waiting.is_some() {
                    break;
                }
                tokens += length;
                continue;
            }
            let Some(request) = jobs.next() else { break };
            self.check(&request)?;
            let (prompt, prefilled) = match jobs.prompt(request.id) {
                Some(prompt) => (prompt, false),
                None => self.encode(&request)?,
            };
            if prompt.len() >= self.context {
                let sequence = Sequence::new(request, prompt, prefilled, 0);
                let (id, completion) = self.complete(sequence, FinishReason::PromptTooLong)?;
                jobs.done(id, completion).map_err(GenerateError::Job)?;
                continue;
            }
            let longest = prompt.len().saturating_add(request.sampling.max_tokens).saturating_add(self.draft.into());
            let longest = longest.min(self.context);
            if longest.div_ceil(PAGE) > lane.pages {
                let page_bytes = self.page_bytes();
                let (needed, budget) = (longest.div_ceil(PAGE) * page_bytes, lane.pages * page_bytes);
                return Err(GenerateError::Memory { model: self.name.clone(), tokens: longest, needed, budget });
            }
            *waiting = Some(Sequence::new(request, prompt, prefilled, longest));
        }
        Ok(())
    }

    /// Bytes of the cache that a page takes.
    fn page_bytes(&self) -> usize {
        let draft = self.decoder.draft_cache_spec().filter(|_| self.draft);
        let elements = |spec: CacheSpec| spec.elements_per_token();
        let numbers = elements(self.decoder.cache_spec()).saturating_add(draft.map_or(0, elements));
        numbers.saturating_mul(PAGE * self.cache.precision.bytes()).max(1)
    }

    /// Hands back the sequences of a lane that have ended.
    fn settle(&self, jobs: &mut dyn Jobs, lane: &mut Lane) -> Result<(), GenerateError> {
        let mut running = Vec::with_capacity(lane.active.len());
        for sequence in std::mem::take(&mut lane.active) {
            match sequence.finish {
                Some(reason) => {
                    lane.retire(&sequence);
                    let (id, completion) = self.complete(sequence, reason)?;
                    jobs.done(id, completion).map_err(GenerateError::Job)?;
                }
                None if !jobs.is_wanted(sequence.request.id) => {
                    lane.retire(&sequence);
                    jobs.abandoned(sequence.request.id);
                }
                None => {
                    jobs.advanced(sequence.request.id, &sequence.tokens, &sequence.targets)
                        .map_err(GenerateError::Job)?;
                    running.push(sequence);
                }
            }
        }
        lane.active = running;
        Ok(())
    }
}

impl<D: Decoder> Generate for Engine<D> {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn context(&self) -> Option<usize> {
        Some(self.context)
    }

    fn generate(&self, jobs: &mut dyn Jobs) -> Result<(), GenerateError> {
        let decoder: &dyn Decoder = &self.decoder;
        let rules = Rules { tokenizer: &self.tokenizer, eos: &self.eos, context: self.context };
        let count = self.workers.count().min(self.slots.max(1));
        let slots = self.slots.max(1).div_ceil(count);
        let pages = (self.cache.bytes / count / self.page_bytes()).min(slots * self.context.div_ceil(PAGE));
        let cache = || format!("the cache of {} tokens", pages * PAGE);
        let lane = |_| {
            let lane = Lane::new(decoder, slots, pages, self.cache.precision, self.draft);
            lane.map_err(|error| error.of_memory(decoder.device(), cache, FEWER))
        };
        let mut lanes: Vec<Lane> = (0..count).map(lane).collect::<Result<_, _>>()?;
        let mut waiting = None;
        while !jobs.cancelled() {
            lanes.iter_mut().try_for_each(|lane| self.admit(jobs, lane, &mut waiting))?;
            if lanes.iter().all(Lane::is_idle) {
                break;
            }
            let stepped = self.workers.map(&mut lanes, |lane| lane.step(decoder, &rules));
            let stepped = stepped.into_iter().collect::<Result<(), Error>>();
            stepped.map_err(|error| error.of_memory(decoder.device(), || "a step of generation".into(), FEWER))?;
            lanes.iter_mut().try_for_each(|lane| self.settle(jobs, lane))?;
        }
        let mut count = self.draft_count.lock().unwrap_or_else(PoisonError::into_inner);
        for lane in &lanes {
            count.drafted += lane.count.drafted;
            count.accepted += lane.count.accepted;
        }
        Ok(())
    }
}
