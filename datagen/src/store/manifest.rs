//! `manifest.json`: where a dataset comes from, which shards are sealed, and a checksum over all of it.
//!
//! The last field, `checksum`, is the blake3 of the document's bytes with the 64 digits of the checksum taken out; it
//! is checked before the document is parsed. A copy, written first, lies beside it for `repair`.

use super::folder::Folder;
use super::header::RunHeader;
use crate::Error;
use crate::spend::Mark;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the folder's layout that this program writes. It reads this one and those before:
/// 1. runs alone;
/// 2. `slice`, for a part of a run, and `derived`, for a dataset that was made from others;
/// 3. `prompt` in a run's header, for problems that are not asked as they stand;
/// 4. `attempts`, for runs that count what they spend; what is captured of a teacher stands in the journal in bytes;
/// 5. `partial`, for shards of a run that stopped before its end;
/// 6. `reward` in a run's header, for rollouts of a training run, whose rows say what they earned.
pub const FORMAT_VERSION: u32 = 6;

pub(super) const FILE: &str = "manifest.json";
pub(super) const COPY: &str = ".manifest.json.copy";
const BEFORE_CHECKSUM: &[u8] = b",\n  \"checksum\": \"";
const AFTER_CHECKSUM: &[u8] = b"\"\n}\n";
const CHECKSUM_DIGITS: usize = 64;

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
    /// Whether the run stopped before the shard was full; when it goes on, its rows return to the journal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

impl ShardEntry {
    /// What stands in the manifest for the file `bytes` with `rows` rows.
    pub(super) fn new(index: u64, rows: u64, bytes: &[u8]) -> Self {
        let blake3 = blake3::hash(bytes).to_hex().to_string();
        Self { file: Self::file_name(index), rows, bytes: bytes.len() as u64, blake3, partial: false }
    }

    /// The name of shard `index`.
    pub fn file_name(index: u64) -> String {
        format!("data-{index:05}.arrow")
    }

    /// The number in the name; `None` where it is no shard's name.
    pub fn index(&self) -> Option<u64> {
        shard_index(&self.file)
    }
}

/// The number of the shard with this file name; `None` where it is no shard's name.
pub(super) fn shard_index(file: &str) -> Option<u64> {
    let index = file.strip_prefix("data-")?.strip_suffix(".arrow")?.parse().ok()?;
    (ShardEntry::file_name(index) == file).then_some(index)
}

/// A part of a run: of its problems those whose place leaves the remainder `index` when divided by `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    pub index: u32,
    pub of: u32,
}

impl Slice {
    /// How many of `problems` belong to it.
    pub fn problems(&self, problems: u64) -> u64 {
        let (index, of) = (u64::from(self.index), u64::from(self.of));
        problems.saturating_sub(index).div_ceil(of.max(1))
    }

    /// Whether the problem at this place belongs to it.
    pub fn holds(&self, place: u64) -> bool {
        place % u64::from(self.of.max(1)) == u64::from(self.index)
    }
}

impl std::fmt::Display for Slice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// How a dataset came about.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// A model was asked; `slice` says which part of the run lies here, where it is not all of it.
    Run { header: Box<RunHeader>, slice: Option<Slice> },
    /// It was made from other datasets or files.
    Derived(Derived),
}

/// How a dataset was made from others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derived {
    /// `select`, `mix` or `import`.
    pub verb: String,
    pub settings: serde_json::Value,
    pub parents: Vec<Parent>,
}

/// A dataset or file that another was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// Where it lay.
    pub path: String,
    /// Its `run_id`; `None` for a file.
    pub run_id: Option<String>,
    /// blake3 of its manifest, or of the file.
    pub blake3: String,
    /// How it came about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Box<RunHeader>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived: Option<Box<Derived>>,
}

/// What is known of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The dataset's name: that of the run, or one made from how it was derived.
    pub run_id: String,
    pub origin: Origin,
    pub rows_per_shard: u32,
    /// Sealed shards in the order of their numbers; a number is missing while its shard is not full.
    pub shards: Vec<ShardEntry>,
    /// How far the ledger of attempts went when a run on the folder last ended; `None` where there is none.
    pub attempts: Option<Mark>,
}

/// The manifest as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format_version: u32,
    run_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<Box<RunHeader>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slice: Option<Slice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    derived: Option<Derived>,
    rows_per_shard: u32,
    shards: Vec<ShardEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempts: Option<Mark>,
}

impl Manifest {
    /// The manifest of a run, or of a part of it, that has not stored anything yet.
    pub fn new(header: RunHeader, slice: Option<Slice>, rows_per_shard: u32) -> Self {
        let (run_id, header) = (header.run_id(), Box::new(header));
        Self { run_id, origin: Origin::Run { header, slice }, rows_per_shard, shards: Vec::new(), attempts: None }
    }

    /// The manifest of a dataset that was made from others and has no shards yet.
    pub fn derived(derived: Derived, rows_per_shard: u32) -> Self {
        let text = serde_json::to_string(&derived).unwrap_or_default();
        let hash = blake3::Hasher::new_derive_key("retort derived dataset v1").update(text.as_bytes()).finalize();
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        let run_id = uuid::Uuid::new_v8(bytes).to_string();
        Self { run_id, origin: Origin::Derived(derived), rows_per_shard, shards: Vec::new(), attempts: None }
    }

    /// The run whose samples these are; `None` for a dataset that was made from others.
    pub fn run(&self) -> Option<&RunHeader> {
        match &self.origin {
            Origin::Run { header, .. } => Some(header),
            Origin::Derived(_) => None,
        }
    }

    /// Problems of the complete dataset; `None` for one that was made from others.
    pub fn problems(&self) -> Option<u64> {
        match &self.origin {
            Origin::Run { header, slice } => {
                let all = header.problem_set.problems;
                Some(slice.map_or(all, |slice| slice.problems(all)))
            }
            Origin::Derived(_) => None,
        }
    }

    /// All samples that the complete dataset holds; at most so many where the run has a quota.
    pub fn samples(&self) -> u64 {
        match (self.problems(), self.run()) {
            (Some(problems), Some(run)) => problems.saturating_mul(u64::from(run.n)),
            _ => self.sealed_rows(),
        }
    }

    /// Whether shard `index` is sealed, full or not.
    pub(super) fn has_shard(&self, index: u64) -> bool {
        self.shards.iter().any(|shard| shard.index() == Some(index))
    }

    /// Samples in sealed shards.
    pub fn sealed_rows(&self) -> u64 {
        self.shards.iter().map(|shard| shard.rows).sum()
    }

    /// Whether every sample of the run is sealed.
    pub fn is_complete(&self) -> bool {
        self.sealed_rows() == self.samples()
    }

    /// blake3 of the document.
    pub fn blake3(&self) -> String {
        blake3::hash(&serde_json::to_vec(&self.document()).unwrap_or_default()).to_hex().to_string()
    }

    /// The quotas of the runs that this dataset holds rows of, by their ids; runs without one are left out.
    pub fn quotas(&self) -> BTreeMap<String, u32> {
        let mut quotas = BTreeMap::new();
        match &self.origin {
            Origin::Run { header, .. } => note_quota(&self.run_id, header, &mut quotas),
            Origin::Derived(derived) => inherited_quotas(derived, &mut quotas),
        }
        quotas
    }

    /// This dataset as the parent of another.
    pub fn as_parent(&self, dir: &Path) -> Parent {
        let (run, derived) = match self.origin.clone() {
            Origin::Run { header, .. } => (Some(header), None),
            Origin::Derived(derived) => (None, Some(Box::new(derived))),
        };
        Parent {
            path: dir.display().to_string(),
            run_id: Some(self.run_id.clone()),
            blake3: self.blake3(),
            run,
            derived,
        }
    }

    fn document(&self) -> Document {
        let (run, slice, derived) = match self.origin.clone() {
            Origin::Run { header, slice } => (Some(header), slice, None),
            Origin::Derived(derived) => (None, None, Some(derived)),
        };
        let Self { run_id, rows_per_shard, shards, attempts, .. } = self.clone();
        Document { format_version: FORMAT_VERSION, run_id, run, slice, derived, rows_per_shard, shards, attempts }
    }

    /// Reads and checks the manifest in `folder`; `None` where there is none.
    pub(super) fn read(folder: &Folder) -> Result<Option<Self>, Error> {
        Self::read_file(folder, FILE)
    }

    /// The manifest of a dataset that must be there.
    pub(super) fn read_existing(folder: &Folder) -> Result<Self, Error> {
        let path = || folder.dir().to_path_buf();
        match Self::read(folder)? {
            Some(manifest) => Ok(manifest),
            None if !folder.dir().is_dir() => Err(Error::NoDataset { path: path(), found: "does not exist" }),
            // A run that was killed at its very beginning leaves a copy alone, too.
            None if matches!(Self::read_copy(folder), Ok(Some(_))) => Err(Error::CopyAlone { path: path() }),
            None => Err(Error::NoDataset { path: path(), found: "has no `manifest.json`" }),
        }
    }

    /// Reads and checks the manifest's copy, for repairs.
    pub(super) fn read_copy(folder: &Folder) -> Result<Option<Self>, Error> {
        Self::read_file(folder, COPY)
    }

    fn read_file(folder: &Folder, file: &str) -> Result<Option<Self>, Error> {
        let path = folder.path(file);
        let Some(bytes) = folder.read(file)? else { return Ok(None) };
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
        let document: Document = serde_json::from_slice(&body).map_err(malformed)?;
        let Document { run_id, run, slice, derived, rows_per_shard, shards, attempts, .. } = document;
        let damaged = |part, expected: &str, found: &str| {
            Err(Error::Damaged { path: path.clone(), part, expected: expected.into(), found: found.into() })
        };
        let origin = match (run, slice, derived) {
            (Some(header), slice, None) => Origin::Run { header, slice },
            (None, None, Some(derived)) => Origin::Derived(derived),
            _ => return damaged("its origin", "`run` or `derived`", "something else"),
        };
        let indices: Option<Vec<u64>> = shards.iter().map(ShardEntry::index).collect();
        if !indices.is_some_and(|indices| indices.is_sorted_by(|a, b| a < b)) || rows_per_shard == 0 {
            return damaged("`shards`", "the list of `data-NNNNN.arrow` in order", "something else");
        }
        Ok(Some(Self { run_id, origin, rows_per_shard, shards, attempts }))
    }

    /// Puts the manifest in place, durably, its copy first.
    pub(super) fn write(&self, folder: &Folder) -> Result<(), Error> {
        let malformed = |source| Error::MalformedManifest { path: folder.path(FILE), source };
        let bytes = with_checksum(serde_json::to_vec_pretty(&self.document()).map_err(malformed)?);
        folder.write(COPY, &bytes)?;
        folder.write(FILE, &bytes)
    }
}

fn note_quota(run_id: &str, run: &RunHeader, quotas: &mut BTreeMap<String, u32>) {
    quotas.extend(run.quota.map(|quota| (run_id.to_owned(), quota.verified)));
}

fn inherited_quotas(derived: &Derived, quotas: &mut BTreeMap<String, u32>) {
    for parent in &derived.parents {
        if let (Some(run_id), Some(run)) = (&parent.run_id, &parent.run) {
            note_quota(run_id, run, quotas);
        }
        if let Some(derived) = &parent.derived {
            inherited_quotas(derived, quotas);
        }
    }
}

/// The document with `checksum` as its last field, in place of the closing "\n}".
pub(super) fn with_checksum(mut document: Vec<u8>) -> Vec<u8> {
    document.truncate(document.len() - 2);
    document.extend_from_slice(BEFORE_CHECKSUM);
    let checksum = checksum(&document, AFTER_CHECKSUM);
    document.extend_from_slice(checksum.as_bytes());
    document.extend_from_slice(AFTER_CHECKSUM);
    document
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
