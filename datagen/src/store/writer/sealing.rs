//! From the journal into shards: full ones for good, the others, when a run stops, until it goes on.
//!
//! A shard that is sealed before it is full is marked so in the manifest. Before anything is added to its rows it is taken
//! apart, in the order in which no power cut can lose a row: they are put into a journal, the manifest drops the shard,
//! its file goes. So the journal never holds a row of such a shard that the shard does not hold, and every shard is
//! sealed whole in the end, with the bytes of a run that never stopped.

use super::super::folder::CARD;
use super::super::journal::{self, Journal};
use super::super::manifest::{Manifest, ShardEntry};
use super::super::{card, reader};
use super::TraceStore;
use crate::Error;
use std::collections::BTreeMap;

impl TraceStore {
    /// Acknowledges every sample and seals every full shard. The rest stays in the journal, as durable.
    pub fn seal(&mut self) -> Result<(), Error> {
        self.seal_shards(false)
    }

    /// Acknowledges every sample and seals all of them, so that whoever reads the shards alone sees every row.
    pub fn seal_all(&mut self) -> Result<(), Error> {
        self.seal_shards(true)
    }

    fn seal_shards(&mut self, all: bool) -> Result<(), Error> {
        self.acknowledge()?;
        let held = self.unsealed.iter().filter(|(_, rows)| !rows.is_empty());
        let held: Vec<(u64, bool)> = held.map(|(&index, _)| (index, self.is_full(index))).collect();
        if held.iter().any(|&(index, full)| full && self.manifest.has_shard(index)) {
            self.begin_journal()?;
        }
        let mut manifest = self.manifest.clone();
        for &(index, full) in held.iter().filter(|&&(index, full)| full || all && !self.manifest.has_shard(index)) {
            let file = ShardEntry::file_name(index);
            let rows = self.unsealed.get(&index);
            let samples = rows.into_iter().flat_map(BTreeMap::values);
            let bytes = reader::encode_shard(&self.folder.path(&file), &manifest, samples, !full)?;
            self.folder.write(&file, &bytes)?;
            let entry = ShardEntry::new(index, rows.map_or(0, BTreeMap::len) as u64, &bytes);
            manifest.shards.push(ShardEntry { partial: !full, ..entry });
        }
        if manifest != self.manifest {
            manifest.shards.sort_by_key(ShardEntry::index);
            self.folder.write(CARD, card::render(&manifest, &self.tally).as_bytes())?;
            manifest.write(&self.folder)?;
            // Only what is on the disk counts: after an error above, the next call seals these shards again.
            self.manifest = manifest;
            for (index, _) in held.into_iter().filter(|&(_, full)| full) {
                self.sealed.insert(index);
                self.unsealed.remove(&index);
            }
        }
        self.clear_journal()
    }

    /// Leaves in the journal what is not sealed, and no journal where there is nothing left.
    fn clear_journal(&mut self) -> Result<(), Error> {
        let unsealed = self.unsealed.iter().filter(|&(&index, _)| !self.manifest.has_shard(index));
        let left = unsealed.map(|(_, rows)| rows.len()).sum::<usize>();
        if self.journal.as_ref().is_none_or(|journal| journal.records() == left && left > 0) {
            return Ok(());
        }
        // The open file is about to lose its name, so nothing may be written to it any more, whatever comes next.
        self.journal = None;
        match left {
            0 => self.folder.remove(journal::FILE),
            _ => self.begin_journal().map(|_| ()),
        }
    }

    /// Replaces the journal by one that holds what is not sealed for good, and takes the other shards apart.
    pub(super) fn begin_journal(&mut self) -> Result<&mut Journal, Error> {
        let journal = Journal::create(&self.folder, self.unsealed.values_mut().flatten())?;
        let (apart, whole): (Vec<_>, Vec<_>) = self.manifest.shards.iter().cloned().partition(|shard| shard.partial);
        if !apart.is_empty() {
            let manifest = Manifest { shards: whole, ..self.manifest.clone() };
            manifest.write(&self.folder)?;
            self.manifest = manifest;
            apart.iter().try_for_each(|shard| self.folder.remove(&shard.file))?;
        }
        Ok(self.journal.insert(journal))
    }

    /// Whether nothing can be added to a shard any more, and something is in it.
    pub(super) fn is_full(&self, index: u64) -> bool {
        let positions = self.positions(index);
        let Some(rows) = self.unsealed.get(&index).filter(|rows| !rows.is_empty()) else { return false };
        if !self.has_quota() {
            return rows.len() as u64 == positions.end - positions.start;
        }
        // The samples of a problem that began in an earlier shard may all turn out to be past its quota.
        let n = u64::from(self.n);
        let decided = positions.start.is_multiple_of(n) || self.quotas.enough(positions.start / n).is_some();
        decided
            && self.expected.range(positions.clone()).next().is_none()
            && positions.clone().all(|position| rows.contains_key(&position) || self.may_be_empty(position))
    }
}
