//! What a folder holds when its writer opens it: shards, those that are sealed for good first, then the journal.

use super::super::{journal, reader};
use super::TraceStore;
use crate::Error;
use crate::sample::{Sample, Verdict};
use std::collections::BTreeMap;

impl TraceStore {
    /// Refuses to take over the journal of another run, where a repair left nothing else.
    pub(super) fn expect_own_journal(&self) -> Result<(), Error> {
        let (records, here) = (journal::read(&self.folder)?.unwrap_or_default().records, &self.manifest.run_id);
        match records.iter().map(|record| &record.sample.run_id).find(|there| *there != here) {
            None => Ok(()),
            Some(there) => {
                let differences = format!("`run_id` is `{there}` there and `{here}` here");
                Err(Error::OtherRun { path: self.folder.dir().into(), differences })
            }
        }
    }

    pub(super) fn load_sealed(&mut self) -> Result<(), Error> {
        let (partial, whole): (Vec<_>, Vec<_>) =
            self.manifest.shards.clone().into_iter().partition(|shard| shard.partial);
        for entry in whole {
            let index = entry.index().unwrap_or(u64::MAX);
            let rows = reader::read_shard(&self.folder, &entry)?;
            let mut rows = rows.iter().peekable();
            for position in self.positions(index) {
                let here = |row: &&Sample| self.position(&row.uuid, row.sample) == Some(position);
                match rows.next_if(here) {
                    Some(row) if row.run_id != self.manifest.run_id => break,
                    Some(row) => {
                        self.tally.add(row);
                        self.told(position, row.verdict);
                    }
                    // A place that was sealed empty stays so.
                    None if self.has_quota() => _ = self.told(position, Verdict::Undecided),
                    None => break,
                }
            }
            if let Some(row) = rows.next() {
                return Err(self.foreign(&self.folder.path(&entry.file), row));
            }
            if !self.has_quota() && entry.rows < self.positions(index).count() as u64 {
                let (part, found) = ("its number of rows", entry.rows.to_string());
                let expected = self.positions(index).count().to_string();
                return Err(Error::Damaged { path: self.folder.path(&entry.file), part, expected, found });
            }
            self.sealed.insert(index);
            self.resumed.sealed += entry.rows;
        }
        for entry in partial {
            for row in reader::read_shard(&self.folder, &entry)? {
                let position = self.position(&row.uuid, row.sample).filter(|_| row.run_id == self.manifest.run_id);
                let Some(position) = position.filter(|&position| Some(self.shard_of(position)) == entry.index()) else {
                    return Err(self.foreign(&self.folder.path(&entry.file), &row));
                };
                if let Some(row) = self.within_quota(position, row) {
                    self.hold(position, row);
                }
            }
        }
        Ok(())
    }

    pub(super) fn load_journal(&mut self) -> Result<(), Error> {
        let Some(contents) = journal::read(&self.folder)? else { return Ok(()) };
        self.resumed.torn_bytes = contents.torn;
        for record in contents.records {
            let sample = record.sample;
            let position = self.position(&sample.uuid, sample.sample);
            if position != Some(record.position) || sample.run_id != self.manifest.run_id {
                return Err(self.foreign(&self.folder.path(journal::FILE), &sample));
            }
            // A writer that was killed between sealing and clearing the journal leaves rows in both.
            if !self.has(record.position)
                && let Some(sample) = self.within_quota(record.position, sample)
            {
                self.hold(record.position, sample);
            }
        }
        // Written anew rather than continued: what a killed writer left was perhaps never fsynced, and after a failed fsync
        // another one of the same pages proves nothing.
        match self.unsealed.values().all(BTreeMap::is_empty) {
            true => self.folder.remove(journal::FILE)?,
            false => _ = self.begin_journal()?,
        }
        Ok(())
    }
}
