//! The rollouts of a run as a dataset beside it: every completion with its verdict, what it earned and what came of it.
//!
//! A run's problems are those of the dataset, and a completion's place follows from its problem and how often that one came
//! before, so a run that was killed and writes the same batch again finds each of its rows there already. A shard is
//! sealed when its problems came for the last time; until then its rows are held, and stand in the journal.

use crate::Error;
use retort_datagen::problem::Problem;
use retort_datagen::sample::Sample;
use retort_datagen::store::{DEFAULT_ROWS_PER_SHARD, RunHeader, TraceStore};
use std::path::Path;

/// An open dataset of rollouts.
pub(super) struct Record {
    store: TraceStore,
}

impl Record {
    /// Begins or continues the dataset in `dir`.
    pub(super) fn open(dir: &Path, header: &RunHeader, problems: &[Problem]) -> Result<Self, Error> {
        let problems: Vec<&Problem> = problems.iter().collect();
        Ok(Self { store: TraceStore::open(dir, header, None, &problems, DEFAULT_ROWS_PER_SHARD)? })
    }

    /// The name of the dataset.
    pub(super) fn run_id(&self) -> String {
        self.store.manifest().run_id.clone()
    }

    /// Whether a completion stands in it.
    pub(super) fn has(&self, uuid: &str, sample: u32) -> bool {
        !self.store.needs(uuid, sample)
    }

    /// Stores a batch, durably, before anything is learnt from it.
    pub(super) fn add(&mut self, batch: Vec<Sample>) -> Result<(), Error> {
        for sample in batch {
            self.store.append(sample)?;
        }
        Ok(self.store.acknowledge()?)
    }

    /// Puts every row where other programs read it.
    pub(super) fn seal(&mut self) -> Result<(), Error> {
        Ok(self.store.seal_all()?)
    }
}
