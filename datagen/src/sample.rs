//! One row of a trace dataset: a problem, what a model wrote for it, and what the verifier said.

use crate::problem::Problem;
use crate::rollout::Rollout;
use crate::verify::Judgement;
use retort_model::capture::Targets;
use retort_model::chat::THINK;
use retort_model::generate::{Completion, FinishReason, Message};
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

/// Which sample it is and who made it.
#[derive(Debug, Clone)]
pub struct Made {
    pub run_id: String,
    pub sample: u32,
    /// Name and fingerprint of the model.
    pub generator: String,
    pub seed: u64,
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
    /// What it earned, where a model was trained on it by reward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

impl Sample {
    /// The sample in which `completion` answers the chat `asked` about `problem`.
    pub fn new(
        made: Made,
        problem: &Problem,
        asked: &[Message],
        completion: Completion,
        judgement: Judgement,
        kept: bool,
    ) -> Self {
        let Made { run_id, sample, generator, seed } = made;
        let Judgement { verdict, reason } = judgement;
        let Problem { uuid, problem, answer, source, domain, difficulty } = problem.clone();
        let tokens = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        // The beginning of the answer belongs to it.
        let asked = asked.iter().filter(|message| !message.opens_thinking());
        let asked = asked.map(|message| (message.role.as_str().into(), message.content.clone()));
        Self {
            run_id,
            uuid,
            sample,
            problem,
            answer,
            source,
            domain,
            difficulty,
            messages: asked.chain([("assistant".into(), assistant_turn(&completion))]).collect(),
            finish_reason: completion.finish_reason.as_str().into(),
            verdict,
            drop_reason: if kept { String::new() } else { reason.clone() },
            verdict_reason: reason,
            kept,
            prompt_tokens: tokens(completion.prompt_tokens),
            completion_tokens: tokens(completion.completion_tokens),
            generator,
            seed,
            reasoning: completion.reasoning,
            response: completion.response,
            prompt_token_ids: completion.prompt_token_ids,
            token_ids: completion.token_ids,
            forced: completion.forced,
            targets: completion.targets,
            rollout: None,
        }
    }
}

impl Sample {
    /// The problem that it is of.
    pub fn as_problem(&self) -> Problem {
        let Self { uuid, problem, answer, source, domain, difficulty, .. } = self.clone();
        Problem { uuid, problem, answer, source, domain, difficulty }
    }

    /// The completion that it holds, as far as a verifier looks at one.
    pub fn completion(&self) -> Completion {
        let turn = self.messages.last().map_or("", |(_, turn)| turn);
        Completion {
            reasoning: self.reasoning.clone(),
            response: self.response.clone(),
            // A block that was closed has its closing tag behind it.
            unterminated: turn.strip_prefix(THINK.0) == Some(&self.reasoning),
            finish_reason: FinishReason::parse(&self.finish_reason).unwrap_or(FinishReason::Stop),
            prompt_token_ids: self.prompt_token_ids.clone(),
            token_ids: self.token_ids.clone(),
            forced: self.forced.clone(),
            targets: None,
            prompt_tokens: self.prompt_tokens as usize,
            completion_tokens: self.completion_tokens as usize,
        }
    }
}

/// The turn as the model wrote it.
fn assistant_turn(completion: &Completion) -> String {
    let Completion { reasoning, response, unterminated, .. } = completion;
    match (unterminated, reasoning.is_empty()) {
        (true, _) => format!("<think>{reasoning}"),
        (false, true) => response.clone(),
        (false, false) => format!("<think>{reasoning}</think>{response}"),
    }
}
