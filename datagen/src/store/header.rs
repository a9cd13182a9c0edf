//! What a run is: everything that decides what its rows say.

use super::folder::Folder;
use crate::Error;
use crate::problem::Problem;
use crate::prompt::Prompt;
use crate::verify::Rule;
use retort_model::capture::Capture;
use retort_model::sampling::Sampling;
use serde::{Deserialize, Serialize};

/// The model that wrote the traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorId {
    pub name: String,
    pub fingerprint: String,
}

/// The problems of a run, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProblemSet {
    /// How many different problems there are.
    pub problems: u64,
    /// blake3 over every field of every problem, in order.
    pub fingerprint: String,
}

impl ProblemSet {
    /// Counts and fingerprints `problems`.
    pub fn of<'a>(problems: impl IntoIterator<Item = &'a Problem>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("retort problem set v1");
        let mut count = 0;
        for problem in problems {
            count += 1;
            let Problem { uuid, problem, answer, source, domain, difficulty } = problem;
            for field in [uuid, problem, answer, source, domain, difficulty] {
                hasher.update(&(field.len() as u64).to_le_bytes()).update(field.as_bytes());
            }
        }
        Self { problems: count, fingerprint: hasher.finalize().to_hex().to_string() }
    }
}

/// The benchmark whose problems a run works through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchmarkId {
    pub name: String,
    pub version: u32,
    /// blake3 of its definition, in hexadecimal.
    pub definition: String,
    /// blake3 of the data that its problems were read from, in hexadecimal.
    pub data: String,
    /// Whether prompts that no chat template makes begin with the model's BOS token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bos: bool,
}

/// Which samples training may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Those that the verifier found right.
    #[default]
    Right,
    /// All of them.
    All,
}

/// When a problem has enough samples: once this many of them, in their order, are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    pub verified: u32,
    pub past: Past,
}

/// What becomes of samples past a quota that were in flight when it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Past {
    /// They are left out, so that the dataset is the same however many were in flight: each could be made again.
    LeftOut,
    /// They were paid for: they are stored, and not kept for training.
    NotKept,
}

/// Everything that decides what a run's rows say. Two runs with equal headers write equal datasets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunHeader {
    pub generator: GeneratorId,
    pub sampling: Sampling,
    pub seed: u64,
    /// Samples per problem.
    pub n: u32,
    /// Appended to every problem on a line of its own; empty for none.
    pub prompt_suffix: String,
    /// How else problems are put; not there where they are asked as they stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    pub keep: Keep,
    /// When a problem has enough samples; not there where it has as many as were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// Which turns are right; not there where the problem's domain says it.
    #[serde(default, skip_serializing_if = "Rule::is_default")]
    pub verify: Rule,
    /// What is captured of the generator's distribution; not there where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// How samples were rewarded, where a model was trained on them: then every row says what it earned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<serde_json::Value>,
    /// The version of the verifiers' rules.
    pub verifier: u32,
    /// Not there where the problems are no benchmark's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benchmark: Option<BenchmarkId>,
    pub problem_set: ProblemSet,
}

impl RunHeader {
    /// A UUID (version 8) made from the header, so that the same run has the same name everywhere.
    pub fn run_id(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("retort run v1");
        hasher.update(self.to_value().to_string().as_bytes());
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        uuid::Uuid::new_v8(bytes).to_string()
    }

    /// Refuses to continue the dataset of this run with other settings than it was begun with.
    pub(super) fn expect(&self, asked: &Self, folder: &Folder) -> Result<(), Error> {
        let differences = self.differences(asked);
        if differences.is_empty() { Ok(()) } else { Err(Error::OtherRun { path: folder.dir().into(), differences }) }
    }

    /// The fields in which `self` (in the folder) and `other` (asked for) differ, as a sentence; empty where equal.
    pub(super) fn differences(&self, other: &Self) -> String {
        let mut parts = Vec::new();
        compare_values("", &self.to_value(), &other.to_value(), &mut parts);
        parts.join("; ")
    }

    fn to_value(&self) -> serde_json::Value {
        // Structs of strings and numbers with text keys always serialise.
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn compare_values(name: &str, there: &serde_json::Value, here: &serde_json::Value, parts: &mut Vec<String>) {
    if let (Some(there), Some(here)) = (there.as_object(), here.as_object()) {
        let null = &serde_json::Value::Null;
        for key in there.keys().chain(here.keys().filter(|key| !there.contains_key(*key))) {
            let path = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            compare_values(&path, there.get(key).unwrap_or(null), here.get(key).unwrap_or(null), parts);
        }
    } else if there != here {
        parts.push(format!("`{name}` is `{}` there and `{}` here", plain(there), plain(here)));
    }
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
