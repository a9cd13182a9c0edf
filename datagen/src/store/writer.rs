//! Writing a trace dataset: every sample into the journal at once, full shards sealed as soon as they are full.

use super::journal::{self, Journal};
use super::manifest::{Manifest, ProblemSet, RunHeader, ShardEntry};
use super::{card, durable, reader};
use crate::Error;
use crate::problem::Problem;
use crate::sample::Sample;
use crate::tally::Tally;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Rows that share a shard where nothing else is asked for.
pub const DEFAULT_ROWS_PER_SHARD: u32 = 1024;

/// What was found in the folder when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resumed {
    /// Samples stored by earlier runs, sealed or in the journal.
    pub samples: u64,
    /// How many of them are sealed.
    pub sealed: u64,
    /// Bytes of an unfinished write that were cut off the journal's end; no acknowledged sample was in them.
    pub torn_bytes: u64,
}

/// The one writer of a dataset; a folder has at most one at a time.
#[derive(Debug)]
pub struct TraceStore {
    dir: PathBuf,
    manifest: Manifest,
    /// The place of each problem in the run.
    problems: HashMap<String, u64>,
    /// The numbers of the sealed shards.
    sealed: BTreeSet<u64>,
    /// By shard, then position: what the journal holds.
    unsealed: BTreeMap<u64, BTreeMap<u64, Sample>>,
    journal: Option<Journal>,
    tally: Tally,
    resumed: Resumed,
    /// Held, not read: the lock ends with this handle.
    _lock: File,
}

impl TraceStore {
    /// Begins the dataset of `run` in `dir`, or continues it where `dir` holds it already.
    ///
    /// `problems` are those that `run.problem_set` was made of, each once. `rows_per_shard` is for a new dataset; an old
    /// one keeps its own. Sealed shards are verified here, and a folder that holds another run is refused.
    pub fn open(dir: &Path, run: &RunHeader, problems: &[&Problem], rows_per_shard: u32) -> Result<Self, Error> {
        if rows_per_shard == 0 {
            return Err(Error::Setting { setting: "rows_per_shard", found: "0".into(), expected: "at least 1" });
        }
        let found = ProblemSet::of(problems.iter().copied());
        if found != run.problem_set {
            let found = found.fingerprint;
            return Err(Error::Setting { setting: "problem_set", found, expected: "made of the problems given" });
        }
        std::fs::create_dir_all(dir).map_err(durable::io("created", dir))?;
        let lock = durable::lock(dir)?;
        let manifest = match Manifest::read(dir)? {
            Some(manifest) => manifest,
            None => {
                refuse_foreign_folder(dir)?;
                let manifest = Manifest::new(run.clone(), rows_per_shard);
                manifest.write(dir)?;
                manifest
            }
        };
        manifest.expect_run(run, dir)?;
        let places = problems.iter().enumerate();
        let mut store = Self {
            dir: dir.into(),
            problems: places.map(|(place, problem)| (problem.uuid.clone(), place as u64)).collect(),
            sealed: BTreeSet::new(),
            unsealed: BTreeMap::new(),
            journal: None,
            tally: Tally::default(),
            resumed: Resumed::default(),
            manifest,
            _lock: lock,
        };
        store.load_sealed()?;
        store.load_journal()?;
        store.resumed.samples = store.tally.samples();
        Ok(store)
    }

    fn load_sealed(&mut self) -> Result<(), Error> {
        for entry in self.manifest.shards.clone() {
            let index = entry.index().unwrap_or(u64::MAX);
            let rows = reader::read_shard(&self.dir, &entry)?;
            let mut expected = self.positions(index);
            for row in &rows {
                if self.position(&row.uuid, row.sample) != expected.next() || row.run_id != self.manifest.run_id {
                    return Err(self.foreign(&self.dir.join(&entry.file), row));
                }
                self.tally.add(row);
            }
            if expected.next().is_some() {
                let (part, found) = ("its number of rows", rows.len().to_string());
                let expected = self.positions(index).count().to_string();
                return Err(Error::Damaged { path: self.dir.join(&entry.file), part, expected, found });
            }
            self.sealed.insert(index);
            self.resumed.sealed += entry.rows;
        }
        Ok(())
    }

    fn load_journal(&mut self) -> Result<(), Error> {
        let Some(contents) = journal::read(&self.dir)? else { return Ok(()) };
        self.resumed.torn_bytes = contents.torn;
        let records = contents.records.len();
        for record in contents.records {
            let sample = record.sample;
            let position = self.position(&sample.uuid, sample.sample);
            if position != Some(record.position) || sample.run_id != self.manifest.run_id {
                return Err(self.foreign(&journal::path(&self.dir), &sample));
            }
            // A writer that was killed between sealing and clearing the journal leaves rows in both.
            if !self.has(record.position) {
                self.tally.add(&sample);
                self.hold(record.position, sample);
            }
        }
        self.journal = Some(Journal::continue_after(&self.dir, contents.good, records)?);
        Ok(())
    }

    /// What the folder held when it was opened.
    pub fn resumed(&self) -> Resumed {
        self.resumed
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Counts over all samples in the folder.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Samples that survive a power cut: all but those since the last fsync (at most 64, or one second's).
    pub fn acknowledged(&self) -> u64 {
        self.tally.samples() - self.journal.as_ref().map_or(0, |journal| journal.unsynced() as u64)
    }

    /// Whether this sample of this problem is stored.
    pub fn contains(&self, uuid: &str, sample: u32) -> bool {
        self.position(uuid, sample).is_some_and(|position| self.has(position))
    }

    /// Stores a sample; `false` where its key was stored already, and then nothing is written.
    pub fn append(&mut self, sample: Sample) -> Result<bool, Error> {
        let position = self.position(&sample.uuid, sample.sample);
        let Some(position) = position.filter(|_| sample.run_id == self.manifest.run_id) else {
            return Err(self.foreign(&self.dir, &sample));
        };
        if self.has(position) {
            return Ok(false);
        }
        let journal = match &mut self.journal {
            Some(journal) => journal,
            none => none.insert(Journal::create(&self.dir, [])?),
        };
        journal.append(position, &sample)?;
        self.tally.add(&sample);
        if self.hold(position, sample) {
            self.seal()?;
        }
        Ok(true)
    }

    /// Acknowledges every sample and seals every full shard. The rest stays in the journal, as durable.
    pub fn seal(&mut self) -> Result<(), Error> {
        if let Some(journal) = &mut self.journal {
            journal.sync()?;
        }
        let full: Vec<u64> = self.unsealed.keys().copied().filter(|&index| self.is_full(index)).collect();
        for &index in &full {
            let path = self.dir.join(ShardEntry::file_name(index));
            let rows = self.unsealed.get(&index).into_iter().flat_map(BTreeMap::values);
            let bytes = reader::encode_shard(&path, &self.manifest, rows)?;
            durable::write(&path, &bytes)?;
            self.manifest.shards.push(ShardEntry {
                file: ShardEntry::file_name(index),
                rows: self.unsealed.get(&index).map_or(0, |rows| rows.len() as u64),
                bytes: bytes.len() as u64,
                blake3: blake3::hash(&bytes).to_hex().to_string(),
            });
        }
        if !full.is_empty() {
            self.manifest.shards.sort_by_key(ShardEntry::index);
            durable::write(&self.dir.join("README.md"), card::render(&self.manifest, &self.tally).as_bytes())?;
            self.manifest.write(&self.dir)?;
            for index in full {
                self.sealed.insert(index);
                self.unsealed.remove(&index);
            }
        }
        self.clear_journal()
    }

    /// Leaves in the journal what is not sealed, and no journal where there is nothing left.
    fn clear_journal(&mut self) -> Result<(), Error> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let left = self.unsealed.values().map(BTreeMap::len).sum::<usize>();
        if left == 0 {
            self.journal = None;
            durable::remove(&journal::path(&self.dir))?;
        } else if journal.records() != left {
            self.journal = Some(Journal::create(&self.dir, self.unsealed.values().flatten())?);
        }
        Ok(())
    }

    /// The place of a sample in the run; `None` where the run has no such sample.
    fn position(&self, uuid: &str, sample: u32) -> Option<u64> {
        let n = self.manifest.run.n;
        let place = self.problems.get(uuid)?;
        (sample < n).then(|| place * u64::from(n) + u64::from(sample))
    }

    /// The positions that shard `index` is for.
    fn positions(&self, index: u64) -> std::ops::Range<u64> {
        let rows = u64::from(self.manifest.rows_per_shard);
        let all = self.manifest.samples();
        index.saturating_mul(rows).min(all)..index.saturating_add(1).saturating_mul(rows).min(all)
    }

    fn shard_of(&self, position: u64) -> u64 {
        position / u64::from(self.manifest.rows_per_shard)
    }

    fn has(&self, position: u64) -> bool {
        let index = self.shard_of(position);
        self.sealed.contains(&index) || self.unsealed.get(&index).is_some_and(|rows| rows.contains_key(&position))
    }

    /// Keeps a sample until its shard is sealed; `true` when that can be done.
    fn hold(&mut self, position: u64, sample: Sample) -> bool {
        let index = self.shard_of(position);
        self.unsealed.entry(index).or_default().insert(position, sample);
        self.is_full(index)
    }

    fn is_full(&self, index: u64) -> bool {
        let positions = self.positions(index);
        self.unsealed.get(&index).is_some_and(|rows| rows.len() as u64 == positions.end - positions.start)
    }

    fn foreign(&self, path: &Path, sample: &Sample) -> Error {
        let run_id = self.manifest.run_id.clone();
        Error::ForeignSample { path: path.into(), uuid: sample.uuid.clone(), sample: sample.sample, run_id }
    }
}

/// A new dataset must not overwrite what somebody else put into the folder.
fn refuse_foreign_folder(dir: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(dir).map_err(durable::io("read", dir))? {
        let name = entry.map_err(durable::io("read", dir))?.file_name();
        let name = name.to_string_lossy();
        if name == "README.md" || name == "journal.bin" || (name.starts_with("data-") && name.ends_with(".arrow")) {
            return Err(Error::NotADataset { path: dir.into(), found: name.into_owned() });
        }
    }
    Ok(())
}
