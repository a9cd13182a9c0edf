//! One sequence in flight: what it has written, which token comes next, and why it ends.

use crate::Error;
use crate::capture::{Row, Targets};
use crate::chat::{THINK, split_thinking};
use crate::generate::{FinishReason, Request};
use crate::repetition::loop_period;
use crate::sampling::{AtBudget, Sampler};
use crate::stop_strings::StopStrings;
use crate::text_stream::TextCursor;
use crate::tokenizer::Tokenizer;
use std::collections::VecDeque;

/// What closes a thinking block whose budget is used up: as the templates of thinking models write it.
const CLOSE: &str = "\n</think>\n\n";

/// What the model makes of tokens, the same for every sequence.
pub(super) struct Rules<'a> {
    pub tokenizer: &'a Tokenizer,
    /// Ids that end a turn.
    pub eos: &'a [u32],
    /// The most tokens of prompt and completion together.
    pub context: usize,
}

/// One sequence in flight.
pub(super) struct Sequence {
    pub request: Request,
    pub prompt: Vec<u32>,
    /// Whether the prompt opens the thinking block.
    pub prefilled: bool,
    pub tokens: Vec<u32>,
    /// Its slot in the cache, once it has one.
    pub slot: usize,
    /// Tokens of prompt and completion at most.
    pub longest: usize,
    /// A guess at the token after the last.
    pub draft: Option<u32>,
    /// Set once it has ended.
    pub finish: Option<FinishReason>,
    pub targets: Targets,
    /// Places in `tokens` of those that were not drawn.
    pub forced: Vec<u32>,
    /// Tokens to come that will not be drawn.
    forcing: VecDeque<u32>,
    /// Whether its thinking was held against its budget.
    budget_checked: bool,
    sampler: Sampler,
    cursor: TextCursor,
    stops: StopStrings,
}

impl Sequence {
    pub(super) fn new(request: Request, prompt: Vec<u32>, prefilled: bool, longest: usize) -> Self {
        Self {
            sampler: Sampler::new(&request.sampling, &prompt),
            request,
            prompt,
            prefilled,
            tokens: vec![],
            slot: usize::MAX,
            longest,
            draft: None,
            finish: None,
            targets: Targets::default(),
            forced: vec![],
            forcing: VecDeque::new(),
            budget_checked: false,
            cursor: TextCursor::default(),
            stops: StopStrings::default(),
        }
    }

    /// The token that this request gets next where the model has these logits.
    pub(super) fn next_token(&self, logits_v: &[f32]) -> u32 {
        let Request { sampling, noise, .. } = &self.request;
        let drawn = || self.sampler.draw(sampling, logits_v, noise.uniform(self.tokens.len() as u64));
        self.forcing.front().copied().unwrap_or_else(drawn)
    }

    /// Adds that token, and decides whether it is the last.
    pub(super) fn extend(&mut self, logits_v: &[f32], rules: &Rules<'_>) -> Result<(), Error> {
        let (token, place) = (self.next_token(logits_v), self.tokens.len());
        if self.forcing.pop_front().is_some() {
            self.forced.push(place as u32);
        }
        if let Some(capture) = self.request.capture {
            self.targets.push(Row::captured(capture, logits_v, token, self.request.noise, place as u64));
        }
        self.sampler.saw(&self.request.sampling, token);
        self.tokens.push(token);
        self.finish = self.ending(token, rules)?;
        Ok(())
    }

    fn ending(&mut self, last: u32, rules: &Rules<'_>) -> Result<Option<FinishReason>, Error> {
        if rules.eos.contains(&last) {
            return Ok(Some(FinishReason::Stop));
        }
        if self.writes_stop(rules)? {
            return Ok(Some(FinishReason::StopString));
        }
        let sampling = &self.request.sampling;
        if sampling.loop_repeats.is_some_and(|repeats| loop_period(&self.tokens, repeats).is_some()) {
            return Ok(Some(FinishReason::Loop));
        }
        let full = self.prompt.len() + self.tokens.len() >= rules.context;
        let long = self.tokens.len() >= sampling.max_tokens;
        if self.exhausts_budget(rules)? {
            match self.request.sampling.at_budget {
                AtBudget::End => return Ok(Some(FinishReason::Budget)),
                AtBudget::Close => self.forcing = rules.tokenizer.encode(CLOSE)?.into(),
            }
        }
        Ok((full || long).then_some(FinishReason::Length))
    }

    /// Whether the text up to the last token holds a stop string.
    fn writes_stop(&mut self, rules: &Rules<'_>) -> Result<bool, Error> {
        let stops = &self.request.sampling.stop;
        if stops.is_empty() {
            return Ok(false);
        }
        let piece = self.cursor.advance(rules.tokenizer, &self.tokens)?;
        self.stops.advance(stops, &piece);
        Ok(self.stops.found())
    }

    /// Whether it is thinking where its budget ends; asked once, as soon as that can be told.
    fn exhausts_budget(&mut self, rules: &Rules<'_>) -> Result<bool, Error> {
        let budget = self.request.sampling.thinking_budget;
        if self.budget_checked || budget.is_none_or(|budget| self.tokens.len() < budget) {
            return Ok(false);
        }
        let text = rules.tokenizer.decode(&self.tokens)?;
        // The opening tag may take several tokens.
        let begins_to_think = !self.prefilled && THINK.0.starts_with(text.trim_start());
        self.budget_checked = !begins_to_think || text.trim_start() == THINK.0;
        Ok(self.budget_checked && split_thinking(&text, self.prefilled).unterminated)
    }

    /// How many tokens are cached, and those to feed: the prompt, or the last token with the guess behind it.
    pub(super) fn feed(&self) -> (usize, Vec<u32>) {
        match self.tokens.last() {
            None => (0, self.prompt.clone()),
            Some(&last) => (self.prompt.len() + self.tokens.len() - 1, [last].into_iter().chain(self.draft).collect()),
        }
    }

    /// The token at `position` of prompt and completion together.
    pub(super) fn at(&self, position: usize) -> u32 {
        match position.checked_sub(self.prompt.len()) {
            None => self.prompt[position],
            Some(drawn) => self.tokens[drawn],
        }
    }
}
