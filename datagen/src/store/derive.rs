//! Writing a dataset that was made from others: it is there whole or not at all.
//!
//! It grows in a hidden folder beside its place and is moved there at the end, so nothing is ever seen that could be taken
//! for the dataset. A writer that does not come to its end takes the folder away; where it was killed, the next attempt
//! empties what is left.

use super::folder::{self, CARD, Folder, Lock, io};
use super::manifest::{Derived, Manifest, ShardEntry};
use super::{card, reader, recipe};
use crate::Error;
use crate::sample::Sample;
use crate::spend::{self, Mark};
use crate::tally::Tally;
use retort_model::durable;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Writes rows in the order in which they come; one shard is held at a time.
#[derive(Debug)]
pub struct DerivedWriter {
    place: PathBuf,
    folder: Folder,
    manifest: Manifest,
    /// The number of the shard that is being filled, and its rows.
    index: u64,
    rows: Vec<Sample>,
    tally: Tally,
    finished: bool,
    /// Held, not read: keeps a second writer away.
    _lock: Lock,
}

impl DerivedWriter {
    /// Begins a dataset that will lie at `dir`, which must be new or empty.
    pub fn create(dir: &Path, derived: Derived, rows_per_shard: u32) -> Result<Self, Error> {
        Self::with_manifest(dir, Manifest::derived(derived, rows_per_shard.max(1)))
    }

    pub(super) fn with_manifest(dir: &Path, manifest: Manifest) -> Result<Self, Error> {
        refuse_taken(dir)?;
        reader::check_columns(dir, &manifest.origin)?;
        let Some(name) = dir.file_name() else { return Err(io("written", dir)(ErrorKind::InvalidInput.into())) };
        let folder = Folder::native(&dir.with_file_name(format!(".{}.tmp", name.to_string_lossy())));
        folder.create()?;
        let lock = folder::lock(folder.dir())?;
        for left in folder.names()?.iter().filter(|name| *name != ".lock") {
            folder.remove(left)?;
        }
        Ok(Self {
            place: dir.into(),
            folder,
            manifest,
            index: 0,
            rows: Vec::new(),
            tally: Tally::default(),
            finished: false,
            _lock: lock,
        })
    }

    /// The name of the dataset, for rows that have none yet.
    pub fn run_id(&self) -> &str {
        &self.manifest.run_id
    }

    /// Adds a row.
    pub fn push(&mut self, sample: Sample) -> Result<(), Error> {
        self.tally.add(&sample);
        self.rows.push(sample);
        if self.rows.len() >= self.manifest.rows_per_shard as usize { self.seal() } else { Ok(()) }
    }

    /// Goes on with shard `index`, which is the one being filled or a later one.
    pub(super) fn go_on_with(&mut self, index: u64) -> Result<(), Error> {
        if index != self.index {
            self.seal()?;
            self.index = index;
        }
        Ok(())
    }

    fn seal(&mut self) -> Result<(), Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let index = self.index;
        let file = ShardEntry::file_name(index);
        let bytes = reader::encode_shard(&self.folder.path(&file), &self.manifest, self.rows.iter(), false)?;
        self.folder.write(&file, &bytes)?;
        self.manifest.shards.push(ShardEntry::new(index, self.rows.len() as u64, &bytes));
        self.rows.clear();
        self.index += 1;
        Ok(())
    }

    /// Puts a ledger of attempts into the dataset.
    pub(super) fn put_ledger(&mut self, ledger: &[u8]) -> Result<(), Error> {
        self.folder.write(spend::LEDGER, ledger)?;
        self.manifest.attempts = Some(Mark::of(ledger));
        Ok(())
    }

    /// Seals the rest and puts the dataset in its place; gives back what it holds.
    pub fn finish(mut self) -> Result<(Manifest, Tally), Error> {
        self.seal()?;
        self.folder.write(CARD, card::render(&self.manifest, &self.tally).as_bytes())?;
        recipe::write(&self.folder, &self.manifest)?;
        self.manifest.write(&self.folder)?;
        refuse_taken(&self.place)?;
        let parent = self.place.parent().unwrap_or(Path::new(""));
        let moved = fs::rename(self.folder.dir(), &self.place).and_then(|()| durable::sync_folder(parent));
        moved.map_err(io("written", &self.place))?;
        self.finished = true;
        Ok((self.manifest.clone(), std::mem::take(&mut self.tally)))
    }
}

impl Drop for DerivedWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed by the next attempt.
            let _ = fs::remove_dir_all(self.folder.dir());
        }
    }
}

/// Only an empty folder may be replaced.
fn refuse_taken(dir: &Path) -> Result<(), Error> {
    let taken = if dir.is_dir() { Folder::native(dir).names()?.into_iter().next() } else { None };
    match taken {
        Some(found) => Err(Error::FolderTaken { path: dir.into(), found }),
        None => Ok(()),
    }
}
