//! One row of a trace dataset: a problem, what a model wrote for it, and what the verifier said.

use retort_model::capture::Targets;
use serde::{Deserialize, Serialize};

/// What became of a sample. Every outcome keeps its own name: none is folded into "wrong".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The answer equals the gold.
    Right,
    /// There is an answer and it differs from the gold.
    Wrong,
    /// The turn ended without an answer that could be found.
    NoAnswer,
    /// The token limit cut the text after the thinking block.
    Truncated,
    /// The thinking block was never closed.
    Unterminated,
    /// The text repeats itself without end.
    Loop,
    /// The verifier could not decide.
    Undecided,
}

impl Verdict {
    pub const ALL: [Self; 7] =
        [Self::Right, Self::Wrong, Self::NoAnswer, Self::Truncated, Self::Unterminated, Self::Loop, Self::Undecided];

    /// The name as it stands in the dataset.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::NoAnswer => "no_answer",
            Self::Truncated => "truncated",
            Self::Unterminated => "unterminated",
            Self::Loop => "loop",
            Self::Undecided => "undecided",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == name)
    }
}

/// One sample of one problem. The key is (`run_id`, `uuid`, `sample`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub run_id: String,
    pub uuid: String,
    pub sample: u32,
    pub problem: String,
    pub answer: String,
    pub source: String,
    pub domain: String,
    pub difficulty: String,
    /// The chat as (role, content) pairs, the assistant's turn last with its thinking block in place.
    pub messages: Vec<(String, String)>,
    pub reasoning: String,
    pub response: String,
    pub finish_reason: String,
    pub verdict: Verdict,
    pub verdict_reason: String,
    /// Whether training may use this row.
    pub kept: bool,
    /// Why not, when it may not; empty when kept.
    pub drop_reason: String,
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
    /// Name and fingerprint of the model that wrote it.
    pub generator: String,
    pub seed: u64,
    pub prompt_token_ids: Vec<u32>,
    pub token_ids: Vec<u32>,
    /// Places in `token_ids` of tokens that were forced, not drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<u32>,
    /// What was captured of the model's distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Targets>,
}
