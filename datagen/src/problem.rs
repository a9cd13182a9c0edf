//! A problem with a gold answer: what every source yields and every run works through.

use serde::{Deserialize, Serialize};

/// One question whose answer can be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A UUID (version 8) made from the content, so that the same problem has the same name everywhere.
    pub uuid: String,
    /// The question as the model reads it.
    pub problem: String,
    /// The gold answer.
    pub answer: String,
    /// Where it came from: `gym`, or a file's name.
    pub source: String,
    /// The family or subject, such as `arithmetic` or `countdown`; it picks the verifier.
    pub domain: String,
    /// The level within the domain, `1` to `3` in the gym; empty where unknown.
    pub difficulty: String,
}

impl Problem {
    /// Builds a problem and names it by its content (blake3 of question and answer).
    pub fn new(problem: String, answer: String, source: &str, domain: &str, difficulty: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("retort problem v1");
        hasher.update(&(problem.len() as u64).to_le_bytes()).update(problem.as_bytes()).update(answer.as_bytes());
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self {
            uuid: uuid::Uuid::new_v8(bytes).to_string(),
            problem,
            answer,
            source: source.into(),
            domain: domain.into(),
            difficulty: difficulty.into(),
        }
    }
}
