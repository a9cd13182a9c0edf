//! What every source of completions promises: a local model, an endpoint, a test double.
//!
//! A caller owns the queue of work ([`Jobs`]); the generator pulls requests when it has room and hands each completion
//! back as it ends, in any order. A local model's completion depends on its request alone.

use crate::attempts::Attempts;
use crate::capture::{Capture, Targets};
use crate::chat::{THINK, Thought};
use crate::sampling::{NoiseKey, Sampling};
use serde::{Deserialize, Serialize};

/// Who speaks in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One turn of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

impl Message {
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// As the last message: the model's turn begins inside a thinking block, whatever its template does.
    pub fn opened_thinking() -> Self {
        Self { role: Role::Assistant, content: format!("{}\n", THINK.0) }
    }

    /// Whether it is [`Message::opened_thinking`].
    pub fn opens_thinking(&self) -> bool {
        self.role == Role::Assistant && self.content.trim() == THINK.0
    }
}

/// One completion asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The caller's own number for this request; it comes back with the completion.
    pub id: u64,
    pub messages: Vec<Message>,
    pub sampling: Sampling,
    /// Seeds this request's randomness; equal keys and prompts give equal completions.
    pub noise: NoiseKey,
    /// What to write down of the model's distribution, if anything.
    pub capture: Option<Capture>,
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its turn.
    Stop,
    /// It wrote a stop string.
    StopString,
    /// It ran into `max_tokens` or the model's context length.
    Length,
    /// It was still thinking where its thinking budget ended.
    Budget,
    /// It repeated itself as often as it may.
    Loop,
    /// The prompt alone fills the model's context; nothing was generated.
    PromptTooLong,
    /// The server would not take the request or withheld the answer; `response` is what it said.
    Refused,
}

impl FinishReason {
    const ALL: [Self; 7] =
        [Self::Stop, Self::StopString, Self::Length, Self::Budget, Self::Loop, Self::PromptTooLong, Self::Refused];

    /// The reason with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::StopString => "stop_string",
            Self::Length => "length",
            Self::Budget => "budget",
            Self::Loop => "loop",
            Self::PromptTooLong => "prompt_too_long",
            Self::Refused => "refused",
        }
    }
}

/// What came back for one request.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The text between `<think>` and `</think>`; empty for a model that does not think aloud.
    pub reasoning: String,
    /// The text after `</think>`, or all of it where there is no thinking block.
    pub response: String,
    /// Whether a thinking block was opened and never closed.
    pub unterminated: bool,
    pub finish_reason: FinishReason,
    /// Token ids of the rendered prompt; empty where the generator does not know them.
    pub prompt_token_ids: Vec<u32>,
    /// Token ids of the completion, the end token included when the model wrote one, and those of a stop string, which
    /// the texts above leave out.
    pub token_ids: Vec<u32>,
    /// Places in `token_ids` of tokens that were forced, not drawn: nothing to learn from.
    pub forced: Vec<u32>,
    /// What was captured, where that was asked for.
    pub targets: Option<Targets>,
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
}

impl Completion {
    /// One of which no more is known than its text and how it ended.
    pub fn of(text: Thought, finish_reason: FinishReason) -> Self {
        let Thought { reasoning, response, unterminated } = text;
        Self {
            reasoning,
            response,
            unterminated,
            finish_reason,
            prompt_token_ids: vec![],
            token_ids: vec![],
            forced: vec![],
            targets: None,
            prompt_tokens: 0,
            completion_tokens: 0,
        }
    }
}

/// The caller's side of a generation: a queue to pull from and a place to put what is done.
pub trait Jobs {
    /// The next request, or `None` when there is no more work; what comes back may bring more, so that this is asked again
    /// after every [`Jobs::done`] and [`Jobs::abandoned`].
    fn next(&mut self) -> Option<Request>;
    /// The prompt of a request as token ids, where the caller rendered it itself; the request's messages are then empty.
    fn prompt(&mut self, id: u64) -> Option<Vec<u32>> {
        let _ = id;
        None
    }
    /// Asked after every step; `false` ends the completion where it is, and [`Jobs::abandoned`] is told.
    fn is_wanted(&self, id: u64) -> bool {
        let _ = id;
        true
    }
    /// Told of a completion that was not wanted any more.
    fn abandoned(&mut self, id: u64) {
        let _ = id;
    }
    /// Told after every step which tokens a completion that goes on has so far, and what was captured of them where that
    /// was asked for; an error stops the generation.
    fn advanced(&mut self, id: u64, tokens: &[u32], captured: &Targets) -> Result<(), JobError> {
        let _ = (id, tokens, captured);
        Ok(())
    }
    /// Takes a finished completion; an error stops the generation and comes back from [`Generate::generate`].
    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError>;
    /// Asked between steps; `true` abandons what is in flight and returns.
    fn cancelled(&self) -> bool {
        false
    }
    /// Who keeps account of what requests cost; a generator that sends requests to others tells it of each.
    fn attempts(&mut self) -> Option<&mut dyn Attempts> {
        None
    }
}

/// What stopped the caller from taking a completion.
pub type JobError = Box<dyn std::error::Error + Send + Sync>;

/// Turns requests into completions.
pub trait Generate {
    /// What a report calls this model.
    fn name(&self) -> &str;
    /// A hash of weights, tokenizer and template; equal fingerprints give equal completions.
    fn fingerprint(&self) -> &str;
    /// Whether the same request gives the same completion at any time, for nothing but time.
    fn is_reproducible(&self) -> bool {
        true
    }
    /// Whether completions are there already, and asking for them costs nothing.
    fn is_recorded(&self) -> bool {
        false
    }
    /// The most tokens of a prompt and its completion together, where that is known.
    fn context(&self) -> Option<usize> {
        None
    }
    /// Works through `jobs` until it is empty.
    fn generate(&self, jobs: &mut dyn Jobs) -> Result<(), GenerateError>;
}

/// Why a generation stopped early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    #[error("the prompt for `{model}` holds no tokens at all: say something, or use a chat template that does")]
    EmptyPrompt { model: String },
    #[error("`{setting}` is {found}; `{model}` takes {expected}")]
    Setting { model: String, setting: &'static str, found: String, expected: &'static str },
    #[error(
        "a completion of up to {tokens} tokens takes {needed} bytes of `{model}`'s cache, and the cache may take {budget}: \
         lower `max_tokens` or allow more memory"
    )]
    Memory { model: String, tokens: usize, needed: usize, budget: usize },
    #[error("the model failed")]
    Model(#[from] crate::Error),
    #[error("the result could not be stored")]
    Job(#[source] JobError),
    /// A generator elsewhere, such as an endpoint, cannot go on; the source says why.
    #[error("it cannot go on")]
    Remote(#[source] JobError),
}
