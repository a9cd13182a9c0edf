//! Verifiers of how a turn is written, whatever its answer: thinking block, language, repetition, length.

use super::{Judgement, Verifier};
use crate::problem::Problem;
use crate::sample::Verdict;
use retort_model::chat::THINK;
use retort_model::generate::Completion;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use unicode_script::{Script, UnicodeScript};

/// What a turn must be like. A setting that is not there asks for nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Format {
    /// Exactly one thinking block, closed, with something in it, and an answer after it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub thinking: bool,
    /// The share of words, in [0, 1], that may be in another script than the problem's: R1's mixing of languages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign_words: Option<f64>,
    /// How often the same ten words may stand in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
}

/// Words in a row that count as a repetition.
const REPEATED_WORDS: usize = 10;

impl Format {
    /// A setting that makes no sense.
    pub(super) fn fault(&self) -> Option<String> {
        match (self.foreign_words, self.repeats, self.min_tokens, self.max_tokens) {
            (Some(share), ..) if !(0.0..=1.0).contains(&share) => {
                Some(format!("`foreign_words` is {share}, not between 0 and 1"))
            }
            (_, Some(0), ..) => Some("`repeats` is 0: everything stands somewhere once".into()),
            (.., Some(least), Some(most)) if least > most => {
                Some(format!("`min_tokens` {least} is above `max_tokens` {most}"))
            }
            _ => None,
        }
    }

    /// What is wrong with a turn, if anything is.
    fn fault_of(&self, problem: &Problem, turn: &Completion) -> Option<String> {
        let tokens = turn.completion_tokens;
        if self.thinking
            && let Some(fault) = thinking_fault(turn)
        {
            return Some(fault.into());
        }
        if let Some(least) = self.min_tokens.filter(|least| tokens < *least) {
            return Some(format!("too short: {tokens} of {least} tokens"));
        }
        if let Some(most) = self.max_tokens.filter(|most| tokens > *most) {
            return Some(format!("too long: {tokens} tokens where {most} are allowed"));
        }
        let texts = [turn.reasoning.as_str(), turn.response.as_str()];
        if let Some(limit) = self.foreign_words {
            let share = foreign_share(&problem.problem, &texts);
            if share > limit {
                return Some(format!("mixed languages: {:.0}% of the words", 100.0 * share));
            }
        }
        let repeated = self.repeats.and_then(|limit| texts.iter().find_map(|text| repeated(text, limit)));
        repeated.map(|times| format!("repetition: {REPEATED_WORDS} words come {times} times"))
    }
}

impl Verifier for Format {
    fn verify(&self, problem: &Problem, turn: &Completion) -> Judgement {
        match self.fault_of(problem, turn) {
            Some(fault) => Judgement::new(Verdict::Wrong, fault),
            None => Judgement::new(Verdict::Right, "well formed"),
        }
    }
}

fn thinking_fault(turn: &Completion) -> Option<&'static str> {
    let tags = |text: &str| text.contains(THINK.0) || text.contains(THINK.1);
    if turn.unterminated {
        Some("the thinking block is not closed")
    } else if tags(&turn.reasoning) || tags(&turn.response) {
        Some("a second thinking block")
    } else if turn.reasoning.trim().is_empty() {
        Some("no thinking block")
    } else if turn.response.trim().is_empty() {
        Some("nothing after the thinking block")
    } else {
        None
    }
}

/// Words of two letters or more; commands of TeX are none, nor are the names of variables.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(|c: char| !(c.is_alphabetic() || c == '\\'));
    parts.filter(|word| !word.contains('\\') && (word.chars().nth(1).is_some() || is_ideographic(word)))
}

/// Whether a word is a single sign that is a word by itself.
fn is_ideographic(word: &str) -> bool {
    word.chars().next().is_some_and(|c| matches!(c.script(), Script::Han | Script::Hiragana | Script::Katakana))
}

/// Scripts that belong to every language: digits and marks, and the Greek letters of mathematics.
fn is_neutral(script: Script) -> bool {
    matches!(script, Script::Common | Script::Inherited | Script::Unknown | Script::Greek)
}

/// The share of words whose script is none of the problem's.
fn foreign_share(problem: &str, texts: &[&str]) -> f64 {
    let script = |word: &str| word.chars().map(|c| c.script()).find(|script| !is_neutral(*script));
    let home: HashSet<Script> = words(problem).filter_map(script).collect();
    if home.is_empty() {
        return 0.0;
    }
    let scripts: Vec<Script> = texts.iter().flat_map(|text| words(text)).filter_map(script).collect();
    let foreign = scripts.iter().filter(|script| !home.contains(script)).count();
    foreign as f64 / scripts.len().max(1) as f64
}

/// How often the most repeated ten words come, where that is more than `limit`.
fn repeated(text: &str, limit: u32) -> Option<u32> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut counts: HashMap<&[&str], u32> = HashMap::new();
    for run in words.windows(REPEATED_WORDS) {
        *counts.entry(run).or_default() += 1;
    }
    counts.into_values().max().filter(|times| *times > limit)
}
