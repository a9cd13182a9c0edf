//! What makes a run the same run: the model's settings and first weights, the data, the settings of training. A folder
//! continues only with what it was started with; anything else is refused, each difference by name.

use crate::Error;
use crate::data::Stream;
use crate::objective::Objective;
use crate::trainer::TrainSettings;
use retort_model::decoder::Trainable;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Numbers that are hashed at a time.
const PIECE: usize = 1 << 16;

/// Settings and hashes by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity(BTreeMap<String, Value>);

impl Identity {
    /// The identity of a run that starts with `model` as it is now.
    pub(crate) fn new(
        model: &dyn Trainable,
        stream: &dyn Stream,
        objective: &Objective,
        settings: &TrainSettings,
    ) -> Result<Self, Error> {
        let mut hasher = blake3::Hasher::new();
        for (name, var) in model.parameters().iter().cloned().chain(model.buffers()) {
            hasher.update(name.as_bytes());
            // A piece at a time: a copy of the largest matrix would be a good part of all there is.
            let numbers = var.flatten_all()?;
            for start in (0..numbers.elem_count()).step_by(PIECE) {
                let piece = numbers.narrow(0, start, PIECE.min(numbers.elem_count() - start))?.to_vec1::<f32>()?;
                hasher.update(&piece.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
            }
        }
        let mut all = BTreeMap::new();
        flatten("model", model.settings(), &mut all);
        flatten("train", serde_json::to_value(settings).unwrap_or_default(), &mut all);
        flatten("objective", objective.identity(), &mut all);
        all.insert("data".into(), stream.fingerprint().into());
        all.insert("first weights".into(), hasher.finalize().to_hex()[..16].into());
        Ok(Self(all))
    }

    /// Where `self`, a run on disk, differs from `other`, the one asked for; empty where it does not. How a step is cut up
    /// changes rounding only, and so a run that ran out of memory may go on in smaller pieces.
    pub(crate) fn differences(&self, other: &Self) -> String {
        let names: std::collections::BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let shown = |value: Option<&Value>| value.map_or("unset".into(), Value::to_string);
        let counts = |name: &&String| *name != "train.micro_batch_tokens";
        let differing = names.into_iter().filter(counts).filter(|name| self.0.get(*name) != other.0.get(*name));
        let lines =
            differing.map(|name| format!("{name} was {} and is {}", shown(self.0.get(name)), shown(other.0.get(name))));
        lines.collect::<Vec<_>>().join(", ")
    }
}

/// Leaves of a JSON document by their path.
fn flatten(path: &str, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            fields.into_iter().for_each(|(name, value)| flatten(&format!("{path}.{name}"), value, into));
        }
        leaf => {
            into.insert(path.into(), leaf);
        }
    }
}
