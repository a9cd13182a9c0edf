//! Reading a trace dataset: sealed shards and, while a run is under way or interrupted, the journal.

use super::folder::Folder;
use super::header::RunHeader;
use super::manifest::{Manifest, Origin, ShardEntry};
use super::placed::{self, Placed};
use super::{journal, shard};
use crate::Error;
use crate::sample::Sample;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use std::collections::BTreeMap;
use std::path::Path;

/// A dataset as it stood when it was opened. It takes no lock: a run may go on writing.
#[derive(Debug)]
pub struct TraceReader {
    folder: Folder,
    manifest: Manifest,
    /// In the order of their numbers: shards that are sealed for good, and the other rows by the shard that they belong to.
    parts: Vec<Part>,
    torn_bytes: u64,
}

#[derive(Debug)]
enum Part {
    Sealed(ShardEntry),
    /// Rows that the writer may move at any time, read when the dataset was opened.
    Held(Vec<Sample>),
}

impl TraceReader {
    /// Opens the dataset in `dir`. Full shards are verified when they are read, the others here.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_in(Folder::native(dir))
    }

    pub(super) fn open_in(folder: Folder) -> Result<Self, Error> {
        let mut manifest = Manifest::read_existing(&folder)?;
        let (journal, mut parts) = loop {
            let journal = journal::read(&folder)?.unwrap_or_default();
            let part = |entry: &ShardEntry| match entry.partial {
                true => read_shard(&folder, entry).map(Part::Held),
                false => Ok(Part::Sealed(entry.clone())),
            };
            // The manifest was refused if it had a name without a number.
            let parts = manifest.shards.iter().map(|entry| Ok((entry.index().unwrap_or_default(), part(entry)?)));
            let parts: Result<BTreeMap<u64, Part>, Error> = parts.collect();
            // A writer moves rows between journal and shards, and writes the manifest in the midst of it.
            let after = Manifest::read_existing(&folder)?;
            if after == manifest {
                break (journal, parts?);
            }
            manifest = after;
        };
        let mut unsealed: BTreeMap<u64, BTreeMap<u64, Sample>> = BTreeMap::new();
        for record in journal.records {
            let index = record.position / u64::from(manifest.rows_per_shard);
            if !manifest.has_shard(index) {
                unsealed.entry(index).or_default().entry(record.position).or_insert(record.sample);
            }
        }
        parts.extend(unsealed.into_iter().map(|(index, rows)| (index, Part::Held(rows.into_values().collect()))));
        Ok(Self { folder, manifest, parts: parts.into_values().collect(), torn_bytes: journal.torn })
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The run whose samples these are.
    ///
    /// # Errors
    /// For a dataset that was made from others.
    pub fn run(&self) -> Result<&RunHeader, Error> {
        self.manifest.run().ok_or_else(|| Error::NoRun { path: self.dir().into() })
    }

    pub fn dir(&self) -> &Path {
        self.folder.dir()
    }

    /// All samples, sealed or not.
    pub fn rows(&self) -> u64 {
        let rows = |part: &Part| match part {
            Part::Sealed(entry) => entry.rows,
            Part::Held(rows) => rows.len() as u64,
        };
        self.parts.iter().map(rows).sum()
    }

    /// Bytes of an unfinished write at the end of the journal; the next run cuts them off.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Every sample, in the order of the problems, then of `sample`; one shard is held at a time.
    pub fn samples(&self) -> impl Iterator<Item = Result<Sample, Error>> + '_ {
        (0..self.parts()).flat_map(|part| {
            let (rows, error) = match self.part(part) {
                Ok(rows) => (rows, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            rows.into_iter().map(Ok).chain(error)
        })
    }

    /// How many parts the dataset is read in: one after the other they are all of it.
    pub(crate) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The samples of one part.
    pub(crate) fn part(&self, part: usize) -> Result<Vec<Sample>, Error> {
        match &self.parts[part] {
            Part::Sealed(entry) => read_shard(&self.folder, entry),
            Part::Held(rows) => Ok(rows.clone()),
        }
    }

    /// Every sample at once.
    pub fn read_all(&self) -> Result<Vec<Sample>, Error> {
        self.samples().collect()
    }

    /// One part as an Arrow IPC file in memory, verified, for an engine that reads columns.
    pub(crate) fn ipc_file(&self, part: usize) -> Result<Vec<u8>, Error> {
        match &self.parts[part] {
            Part::Sealed(entry) => self.folder.read_verified(entry),
            Part::Held(rows) => encode_shard(&self.folder.path(journal::FILE), &self.manifest, rows.iter(), true),
        }
    }
}

/// The rows of a sealed shard, verified first.
pub(super) fn read_shard(folder: &Folder, entry: &ShardEntry) -> Result<Vec<Sample>, Error> {
    let path = folder.path(&entry.file);
    let bytes = folder.read_verified(entry)?;
    let rows = shard::decode(bytes).map_err(|source| Error::Shard {
        action: "read",
        path: path.clone(),
        source: source.into(),
    })?;
    if rows.len() as u64 != entry.rows {
        let (expected, found) = (entry.rows.to_string(), rows.len().to_string());
        return Err(Error::Damaged { path, part: "its number of rows", expected, found });
    }
    Ok(rows)
}

/// The columns of a dataset.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    schema: SchemaRef,
    optional: shard::Optional,
}

impl Layout {
    /// Those of the dataset with this manifest; `path` is for errors.
    pub(crate) fn of(manifest: &Manifest, path: &Path) -> Result<Self, Error> {
        Self::described(manifest, None, path)
    }

    fn described(manifest: &Manifest, placed: Option<Placed>, path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Shard { action: "encoded", path: path.into(), source };
        let origin = match &manifest.origin {
            Origin::Run { header, .. } => (placed::RUN, serde_json::to_string(header)),
            Origin::Derived(derived) => (placed::DERIVED, serde_json::to_string(derived)),
        };
        let placed = placed.map(|placed| (placed::PLACED, serde_json::to_string(&placed)));
        let facts = [origin].into_iter().chain(placed).map(|(key, text)| Ok((key, text?)));
        let facts = facts.collect::<serde_json::Result<Vec<_>>>().map_err(|source| failed(source.into()))?;
        let optional = shard::Optional::of(&manifest.origin).map_err(|source| failed(source.into()))?;
        Ok(Self { schema: shard::described(facts, optional), optional })
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// `rows` in these columns.
    pub(crate) fn batches(&self, rows: &[&Sample]) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
        shard::batches(rows, &self.schema, self.optional)
    }
}

/// The bytes of a shard that holds `rows`; `partial` where others are missing yet.
pub(super) fn encode_shard<'a>(
    path: &Path,
    manifest: &Manifest,
    rows: impl Iterator<Item = &'a Sample>,
    partial: bool,
) -> Result<Vec<u8>, Error> {
    let Layout { schema, optional } = Layout::described(manifest, Some(Placed::of(manifest, partial)), path)?;
    let encoded = shard::encode(&rows.collect::<Vec<_>>(), &schema, optional);
    encoded.map_err(|source| Error::Shard { action: "encoded", path: path.into(), source: source.into() })
}

/// Refuses an origin whose rows do not have the same columns.
pub(super) fn check_columns(path: &Path, origin: &Origin) -> Result<(), Error> {
    let failed =
        |source: arrow::error::ArrowError| Error::Shard { action: "begun", path: path.into(), source: source.into() };
    shard::Optional::of(origin).map(|_| ()).map_err(failed)
}
