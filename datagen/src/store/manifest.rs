//! `manifest.json`: what a run is, which shards are sealed, and a checksum over all of it.
//!
//! The last field, `checksum`, is the blake3 of the document's bytes with the 64 digits of the checksum taken out; it
//! is checked before the document is parsed.

use super::durable;
use crate::Error;
use crate::problem::Problem;
use retort_model::capture::Capture;
use retort_model::sampling::Sampling;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The version of the folder's layout that this program writes.
pub const FORMAT_VERSION: u32 = 1;

const FILE: &str = "manifest.json";
const BEFORE_CHECKSUM: &[u8] = b",\n  \"checksum\": \"";
const AFTER_CHECKSUM: &[u8] = b"\"\n}\n";
const CHECKSUM_DIGITS: usize = 64;

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
    pub keep: Keep,
    /// What is captured of the generator's distribution; not there where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// The version of the verifiers' rules.
    pub verifier: u32,
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

    /// The fields in which `self` (in the folder) and `other` (asked for) differ, as a sentence; empty where equal.
    fn differences(&self, other: &Self) -> String {
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

/// One sealed shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// `data-NNNNN.arrow`, beside the manifest.
    pub file: String,
    pub rows: u64,
    pub bytes: u64,
    /// Of the whole file, in hexadecimal.
    pub blake3: String,
}

impl ShardEntry {
    /// The name of shard `index`.
    pub fn file_name(index: u64) -> String {
        format!("data-{index:05}.arrow")
    }

    /// The shard's number; `None` where the name is not one that [`ShardEntry::file_name`] gives.
    pub fn index(&self) -> Option<u64> {
        let index = self.file.strip_prefix("data-")?.strip_suffix(".arrow")?.parse().ok()?;
        (Self::file_name(index) == self.file).then_some(index)
    }
}

/// The document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format_version: u32,
    pub run_id: String,
    pub run: RunHeader,
    pub rows_per_shard: u32,
    /// Sealed shards in the order of their numbers; a number is missing while its shard is not full.
    pub shards: Vec<ShardEntry>,
}

impl Manifest {
    /// The manifest of a run that has not stored anything yet.
    pub fn new(run: RunHeader, rows_per_shard: u32) -> Self {
        Self { format_version: FORMAT_VERSION, run_id: run.run_id(), run, rows_per_shard, shards: Vec::new() }
    }

    /// Where the manifest of the dataset in `dir` lies.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(FILE)
    }

    /// All samples that a complete run stores.
    pub fn samples(&self) -> u64 {
        self.run.problem_set.problems.saturating_mul(u64::from(self.run.n))
    }

    /// Samples in sealed shards.
    pub fn sealed_rows(&self) -> u64 {
        self.shards.iter().map(|shard| shard.rows).sum()
    }

    /// Whether every sample of the run is sealed.
    pub fn is_complete(&self) -> bool {
        self.sealed_rows() == self.samples()
    }

    /// Refuses to continue this dataset with other settings than it was begun with.
    pub(super) fn expect_run(&self, run: &RunHeader, dir: &Path) -> Result<(), Error> {
        let differences = self.run.differences(run);
        if differences.is_empty() { Ok(()) } else { Err(Error::OtherRun { path: dir.into(), differences }) }
    }

    /// Reads and checks the manifest in `dir`; `None` where there is none.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = Self::path(dir);
        let Some(bytes) = durable::read_if_there(&path)? else { return Ok(None) };
        let body = checked_body(&path, &bytes)?;
        let malformed = |source| Error::MalformedManifest { path: path.clone(), source };

        // A newer format may have other fields, so its number is read by itself first.
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let Version { format_version } = serde_json::from_slice(&body).map_err(malformed)?;
        if format_version > FORMAT_VERSION {
            return Err(Error::NewerFormat { path, expected: FORMAT_VERSION, found: format_version });
        }
        let manifest: Self = serde_json::from_slice(&body).map_err(malformed)?;
        let indices: Option<Vec<u64>> = manifest.shards.iter().map(ShardEntry::index).collect();
        if !indices.is_some_and(|indices| indices.is_sorted_by(|a, b| a < b)) || manifest.rows_per_shard == 0 {
            let expected = "the list of `data-NNNNN.arrow` in order".into();
            return Err(Error::Damaged { path, part: "`shards`", expected, found: "something else".into() });
        }
        Ok(Some(manifest))
    }

    /// Puts the manifest in place, durably.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = Self::path(dir);
        let malformed = |source| Error::MalformedManifest { path: path.clone(), source };
        let mut bytes = serde_json::to_vec_pretty(self).map_err(malformed)?;
        // `checksum` becomes the last field, in place of the closing "\n}".
        bytes.truncate(bytes.len() - 2);
        bytes.extend_from_slice(BEFORE_CHECKSUM);
        let checksum = checksum(&bytes, AFTER_CHECKSUM);
        bytes.extend_from_slice(checksum.as_bytes());
        bytes.extend_from_slice(AFTER_CHECKSUM);
        durable::write(&path, &bytes)
    }
}

/// The document without its checksum field, once that was found to be right.
fn checked_body(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let damaged =
        |expected: String, found: String| Error::Damaged { path: path.into(), part: "its `checksum`", expected, found };
    let parts = bytes.strip_suffix(AFTER_CHECKSUM).and_then(|rest| {
        let (before, found) = rest.split_at_checked(rest.len().checked_sub(CHECKSUM_DIGITS)?)?;
        before.ends_with(BEFORE_CHECKSUM).then_some((before, found))
    });
    let Some((before, found)) = parts else {
        return Err(damaged("the last field, with 64 digits".into(), "not there".into()));
    };
    let expected = checksum(before, AFTER_CHECKSUM);
    if expected.as_bytes() != found {
        return Err(damaged(expected, String::from_utf8_lossy(found).into_owned()));
    }
    let mut body = before[..before.len() - BEFORE_CHECKSUM.len()].to_vec();
    body.extend_from_slice(b"\n}");
    Ok(body)
}

fn checksum(before: &[u8], after: &[u8]) -> String {
    blake3::Hasher::new().update(before).update(after).finalize().to_hex().to_string()
}
