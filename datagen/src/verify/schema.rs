//! Answers that must be JSON of a given shape.

use super::{Judgement, Verifier, quote};
use crate::problem::Problem;
use crate::sample::Verdict;
use jsonschema::Validator;
use retort_model::generate::Completion;
use serde_json::Value;

/// Takes a response that is a JSON document of this schema, or whose last fenced block is one.
pub(super) struct JsonSchema(pub Validator);

impl Verifier for JsonSchema {
    fn verify(&self, _: &Problem, turn: &Completion) -> Judgement {
        let text = last_block(&turn.response).unwrap_or(&turn.response).trim();
        let Ok(document) = serde_json::from_str::<Value>(text) else {
            return Judgement::new(Verdict::NoAnswer, format!("no JSON: {}", quote(text)));
        };
        match self.0.validate(&document) {
            Ok(()) => Judgement::new(Verdict::Right, "it has the shape asked for"),
            Err(error) => {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { "the document" } else { &place };
                Judgement::new(Verdict::Wrong, format!("another shape: {place}: {}", quote(&error.to_string())))
            }
        }
    }
}

/// What stands in the last closed block between lines of three backticks.
fn last_block(response: &str) -> Option<&str> {
    let (before, _) = response.rsplit_once("```")?;
    let (_, block) = before.rsplit_once("```")?;
    // The rest of the opening line names the language.
    block.split_once('\n').map(|(_, block)| block)
}
