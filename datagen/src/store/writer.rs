//! Writing a trace dataset: every sample into the journal at once, shards sealed as soon as they are full.

mod loading;
mod sealing;

use super::folder::{self, Folder, Lock};
use super::header::{Past, ProblemSet, RunHeader};
use super::journal::Journal;
use super::manifest::{Manifest, Origin, Slice};
use super::quotas::Quotas;
use crate::Error;
use crate::problem::Problem;
use crate::sample::{Sample, Verdict};
use crate::spend::Mark;
use crate::tally::Tally;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Rows that share a shard where nothing else is asked for.
pub const DEFAULT_ROWS_PER_SHARD: u32 = 1024;

/// What was found in the folder when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resumed {
    /// Samples stored by earlier runs, sealed or in the journal.
    pub samples: u64,
    /// How many of them are sealed for good.
    pub sealed: u64,
    /// Bytes of an unfinished write that were cut off the journal's end; no acknowledged sample was in them.
    pub torn_bytes: u64,
}

/// The one writer of a dataset; a folder has at most one at a time.
#[derive(Debug)]
pub struct TraceStore {
    folder: Folder,
    manifest: Manifest,
    /// Samples per problem.
    n: u32,
    /// The place of each problem in the run.
    problems: HashMap<String, u64>,
    quotas: Quotas,
    /// Positions that were handed out: their samples may have been paid for.
    expected: BTreeSet<u64>,
    /// Samples that came and were left out.
    left_out: u64,
    /// The numbers of the shards that are sealed for good.
    sealed: BTreeSet<u64>,
    /// By shard, then position: what the journal holds, or shards that were sealed before they were full.
    unsealed: BTreeMap<u64, BTreeMap<u64, Sample>>,
    journal: Option<Journal>,
    tally: Tally,
    resumed: Resumed,
    /// Held, not read: the lock ends with this handle.
    _lock: Option<Lock>,
}

impl TraceStore {
    /// Begins the dataset of `run`, or of a slice of it, in `dir`, or continues it where `dir` holds it already.
    ///
    /// `problems` are those that `run.problem_set` was made of, each once. `rows_per_shard` is for a new dataset; an old
    /// one keeps its own. Sealed shards are verified here, and a folder that holds something else is refused.
    pub fn open(
        dir: &Path,
        run: &RunHeader,
        slice: Option<Slice>,
        problems: &[&Problem],
        rows_per_shard: u32,
    ) -> Result<Self, Error> {
        let refuse = |setting, found: String, expected| Err(Error::Setting { setting, found, expected });
        if rows_per_shard == 0 {
            return refuse("rows_per_shard", "0".into(), "at least 1");
        }
        if let Some(slice) = slice.filter(|slice| slice.index >= slice.of) {
            return refuse("slice", slice.to_string(), "`i/N` with i from 0 to N - 1");
        }
        let found = ProblemSet::of(problems.iter().copied());
        if found != run.problem_set {
            return refuse("problem_set", found.fingerprint, "made of the problems given");
        }
        let folder = Folder::native(dir);
        if Manifest::read(&folder)?.is_none() {
            // Before anything is written there.
            folder::refuse_foreign(&folder)?;
        }
        folder.create()?;
        let lock = folder::lock(dir)?;
        Self::open_in(folder, Some(lock), run, slice, problems, rows_per_shard)
    }

    pub(super) fn open_in(
        folder: Folder,
        lock: Option<Lock>,
        run: &RunHeader,
        slice: Option<Slice>,
        problems: &[&Problem],
        rows_per_shard: u32,
    ) -> Result<Self, Error> {
        let found = Manifest::read(&folder)?;
        let is_new = found.is_none();
        let manifest = found.unwrap_or_else(|| Manifest::new(run.clone(), slice, rows_per_shard));
        if is_new {
            folder::refuse_foreign(&folder)?;
        }
        match &manifest.origin {
            Origin::Run { header, slice: found } if *found == slice => header.expect(run, &folder)?,
            Origin::Run { slice: found, .. } => {
                let shown = |slice: &Option<Slice>| slice.map_or("all of it".into(), |slice| slice.to_string());
                let differences = format!("the part of the run is {} there and {} here", shown(found), shown(&slice));
                return Err(Error::OtherRun { path: folder.dir().into(), differences });
            }
            Origin::Derived(_) => return Err(Error::NoRun { path: folder.dir().into() }),
        }
        let places = problems.iter().zip(0u64..).filter(|&(_, place)| slice.is_none_or(|slice| slice.holds(place)));
        let problems: HashMap<String, u64> =
            places.zip(0u64..).map(|((problem, _), place)| (problem.uuid.clone(), place)).collect();
        let mut store = Self {
            folder,
            quotas: Quotas::new(run.quota, run.n, problems.len()),
            problems,
            expected: BTreeSet::new(),
            left_out: 0,
            n: run.n,
            sealed: BTreeSet::new(),
            unsealed: BTreeMap::new(),
            journal: None,
            tally: Tally::default(),
            resumed: Resumed::default(),
            manifest,
            _lock: lock,
        };
        if is_new {
            store.expect_own_journal()?;
        }
        store.load_sealed()?;
        store.load_journal()?;
        if is_new {
            store.manifest.write(&store.folder)?;
        }
        store.resumed.samples = store.tally.samples();
        Ok(store)
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
        let unsynced = self.journal.as_ref().map_or(0, |journal| journal.unsynced() as u64);
        self.tally.samples().saturating_sub(unsynced)
    }

    /// Whether this sample of this problem is neither stored nor past the problem's quota.
    pub fn needs(&self, uuid: &str, sample: u32) -> bool {
        self.position(uuid, sample).is_some_and(|position| !self.has(position) && !self.may_be_empty(position))
    }

    /// Samples that are needed still; a problem whose quota may yet be reached counts in full.
    pub fn left(&self) -> u64 {
        self.quotas.left()
    }

    /// Samples that came and were left out, because their problem had enough before them.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Tells that a sample was asked for: until it comes or is [released](Self::release), its shard is not sealed.
    pub fn expect(&mut self, uuid: &str, sample: u32) {
        self.expected.extend(self.position(uuid, sample));
    }

    /// Tells that a sample that was asked for is not going to come.
    pub fn release(&mut self, uuid: &str, sample: u32) {
        if let Some(position) = self.position(uuid, sample) {
            self.expected.remove(&position);
        }
    }

    /// Stores a sample; `false` where its key was stored already or it is past a quota and left out, and then nothing is
    /// written.
    pub fn append(&mut self, sample: Sample) -> Result<bool, Error> {
        let position = self.position(&sample.uuid, sample.sample);
        let Some(position) = position.filter(|_| sample.run_id == self.manifest.run_id) else {
            return Err(self.foreign(self.folder.dir(), &sample));
        };
        self.expected.remove(&position);
        if self.has(position) {
            return Ok(false);
        }
        let Some(mut sample) = self.within_quota(position, sample) else {
            self.left_out += 1;
            return Ok(false);
        };
        let journal = match self.journal {
            Some(ref mut journal) => journal,
            None => self.begin_journal()?,
        };
        journal.append(position, &mut sample)?;
        if self.hold(position, sample) {
            self.seal()?;
        }
        Ok(true)
    }

    /// Acknowledges every sample where the last fsync is a second ago. Called between samples, it bounds how long a
    /// stored one waits.
    pub fn acknowledge_if_due(&mut self) -> Result<(), Error> {
        self.journal.as_mut().map_or(Ok(()), Journal::sync_if_due)
    }

    /// Acknowledges every sample.
    pub fn acknowledge(&mut self) -> Result<(), Error> {
        self.journal.as_mut().map_or(Ok(()), Journal::sync)
    }

    /// Writes down how far the ledger of attempts goes, durably, so that a shorter one is missed.
    pub(crate) fn note_attempts(&mut self, mark: Option<Mark>) -> Result<(), Error> {
        if mark == self.manifest.attempts {
            return Ok(());
        }
        let manifest = Manifest { attempts: mark, ..self.manifest.clone() };
        manifest.write(&self.folder)?;
        self.manifest = manifest;
        Ok(())
    }

    /// The place of a sample in the run; `None` where the run has no such sample.
    fn position(&self, uuid: &str, sample: u32) -> Option<u64> {
        let place = self.problems.get(uuid)?;
        (sample < self.n).then(|| place * u64::from(self.n) + u64::from(sample))
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

    fn has_quota(&self) -> bool {
        self.manifest.run().is_some_and(|run| run.quota.is_some())
    }

    /// Whether the sample at this position is past its problem's quota.
    fn may_be_empty(&self, position: u64) -> bool {
        let n = u64::from(self.n);
        self.quotas.enough(position / n).is_some_and(|enough| position % n >= u64::from(enough))
    }

    /// A sample as it is to be stored: marked, or not at all, where it is past its problem's quota.
    fn within_quota(&self, position: u64, mut sample: Sample) -> Option<Sample> {
        if self.may_be_empty(position) {
            match self.manifest.run()?.quota?.past {
                Past::LeftOut => return None,
                Past::NotKept => set_apart(&mut sample),
            }
        }
        Some(sample)
    }

    /// Takes note of a verdict; `true` where the problem has enough with it.
    fn told(&mut self, position: u64, verdict: Verdict) -> bool {
        let n = u64::from(self.n);
        // Below `n`, which is a u32.
        self.quotas.add(position / n, (position % n) as u32, verdict == Verdict::Right)
    }

    /// Keeps a sample until its shard is sealed; `true` when one can be.
    fn hold(&mut self, position: u64, sample: Sample) -> bool {
        self.tally.add(&sample);
        let verdict = sample.verdict;
        self.unsealed.entry(self.shard_of(position)).or_default().insert(position, sample);
        if self.told(position, verdict) {
            self.settle_past(position / u64::from(self.n));
        }
        let first = position / u64::from(self.n) * u64::from(self.n);
        let last = first + u64::from(self.n) - 1;
        (self.shard_of(first)..=self.shard_of(last)).any(|index| self.is_full(index))
    }

    /// Applies the quota, which a problem has just reached, to its samples that came before their turn.
    fn settle_past(&mut self, problem: u64) {
        let Some(quota) = self.manifest.run().and_then(|run| run.quota) else { return };
        let (n, enough) = (u64::from(self.n), u64::from(self.quotas.enough(problem).unwrap_or(self.n)));
        for position in problem * n + enough..(problem + 1) * n {
            let index = self.shard_of(position);
            let Some(rows) = self.unsealed.get_mut(&index) else { continue };
            let Some(mut sample) = rows.remove(&position) else { continue };
            self.tally.remove(&sample);
            match quota.past {
                Past::LeftOut => self.left_out += 1,
                Past::NotKept => {
                    set_apart(&mut sample);
                    self.tally.add(&sample);
                    rows.insert(position, sample);
                }
            }
        }
    }

    fn foreign(&self, path: &Path, sample: &Sample) -> Error {
        let run_id = self.manifest.run_id.clone();
        Error::ForeignSample { path: path.into(), uuid: sample.uuid.clone(), sample: sample.sample, run_id }
    }
}

/// Takes a sample that is past its problem's quota from those for training.
fn set_apart(sample: &mut Sample) {
    if sample.kept {
        sample.kept = false;
        sample.drop_reason = "over quota: enough samples before it are right".into();
    }
}
