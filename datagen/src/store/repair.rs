//! Finding damage in a dataset, all of it and not just the first, and taking it out so that the run can go on.

mod rebuild;

use super::folder::{self, CARD, Folder, io};
use super::journal::{self, Journal};
use super::manifest::{COPY, FILE, Manifest, Origin, shard_index};
use super::{card, reader, recipe};
use crate::Error;
use crate::sample::Sample;
use crate::spend::{self, LEDGER, Mark, Salvaged, Stored};
use crate::tally::Tally;
use retort_model::generate::Role;
use std::collections::BTreeMap;
use std::path::Path;

const QUARANTINE: &str = "quarantine";

/// One file that is not as it should be.
#[derive(Debug)]
pub struct Damage {
    /// Its name in the folder.
    pub file: String,
    pub what: String,
}

/// What a check of every file found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Samples that can be read, sealed or not.
    pub samples: u64,
    /// Sealed shards that are sound.
    pub shards: usize,
    pub damage: Vec<Damage>,
}

/// Reads every file of the dataset in `dir` but its card and holds it against its checksum, a recipe against the manifest.
/// Only a manifest that cannot be believed is an error; everything else is listed.
pub fn verify(dir: &Path) -> Result<Verified, Error> {
    let folder = &Folder::native(dir);
    let manifest = Manifest::read_existing(folder)?;
    let mut verified = Verified::default();
    let mut damaged = |file: &str, what: String| verified.damage.push(Damage { file: file.into(), what });
    match Manifest::read_copy(folder) {
        Ok(Some(_)) => {}
        Ok(None) => damaged(COPY, "it is missing, and a damaged manifest could not be put right by it".into()),
        Err(error) => damaged(COPY, message(&error)),
    }
    if let Err(error) = recipe::check(folder, &manifest) {
        damaged(recipe::FILE, message(&error));
    }
    match ledger(folder, manifest.attempts.as_ref()) {
        Ok(0) => {}
        Ok(torn) => damaged(
            LEDGER,
            format!("{torn} bytes at its end are no entry: a write that was cut short; the next run cuts them off"),
        ),
        Err(error) => damaged(LEDGER, message(&error)),
    }
    for entry in &manifest.shards {
        match reader::read_shard(folder, entry) {
            Ok(rows) => {
                verified.samples += rows.len() as u64;
                verified.shards += 1;
            }
            Err(error) => damaged(&entry.file, message(&error)),
        }
    }
    match journal::read(folder) {
        Ok(contents) => {
            let contents = contents.unwrap_or_default();
            let rows_per_shard = u64::from(manifest.rows_per_shard);
            let sealed =
                |position| manifest.shards.iter().any(|shard| shard.index() == Some(position / rows_per_shard));
            verified.samples += contents.records.iter().filter(|record| !sealed(record.position)).count() as u64;
            if contents.torn > 0 {
                let what = format!(
                    "{} bytes at its end are no record: a write that was cut short, or damage; the next run on the \
                     folder cuts them off and asks for those samples again",
                    contents.torn
                );
                damaged(journal::FILE, what);
            }
        }
        Err(error) => damaged(journal::FILE, message(&error)),
    }
    Ok(verified)
}

/// How many bytes at the end of the ledger, where there is one, are a write that was cut short.
fn ledger(folder: &Folder, mark: Option<&Mark>) -> Result<u64, Error> {
    Ok(spend::check(&folder.path(LEDGER), folder.read(LEDGER)?.as_deref(), mark)?)
}

/// What a repair did.
#[derive(Debug, Default)]
pub struct Repaired {
    /// Files that went to `quarantine/`, and why.
    pub quarantined: Vec<Damage>,
    /// What could not be told for certain, in words.
    pub remarks: Vec<String>,
    /// Samples that are left, sealed or not.
    pub samples: u64,
    /// Whether they are all in the journal and nothing says of which run: repeated, the run takes them over.
    pub is_orphaned: bool,
}

/// Moves what is damaged in `dir` to `quarantine/`, so that everything left is sound; a run that is repeated on the
/// folder asks for what is missing again. Of a damaged journal every sound record is kept; of a damaged ledger what its
/// sound entries say of the money, and a damaged recipe is written anew. Where the manifest and its copy are lost, the shards
/// make a new one. Interrupted, it can be repeated.
pub fn repair(dir: &Path) -> Result<Repaired, Error> {
    let _lock = if dir.is_dir() { Some(folder::lock(dir)?) } else { None };
    repair_in(&Folder::native(dir))
}

pub(super) fn repair_in(folder: &Folder) -> Result<Repaired, Error> {
    let (stored, done) = (Stored::default(), Repaired::default());
    let mut repair = Repair { folder, quarantine: folder.inner(QUARANTINE), stored, done };
    let Some(mut manifest) = repair.manifest()? else { return repair.orphaned() };
    let mut tally = Tally::default();
    repair.shards(&mut manifest, &mut tally)?;
    repair.ledger(&mut manifest)?;
    repair.recipe(&manifest)?;
    // Before the journal: what is only in the journal must not be taken for sealed.
    manifest.write(folder)?;
    repair.journal(&manifest, &mut tally)?;
    folder.write(CARD, card::render(&manifest, &tally).as_bytes())?;
    repair.done.samples = tally.samples();
    Ok(repair.done)
}

struct Repair<'a> {
    folder: &'a Folder,
    quarantine: Folder,
    /// What the sound shards tell of attempts.
    stored: Stored,
    done: Repaired,
}

impl Repair<'_> {
    /// The manifest, or what stands in for it; `None` where all that is left is a journal.
    fn manifest(&mut self) -> Result<Option<Manifest>, Error> {
        match Manifest::read(self.folder) {
            Ok(Some(manifest)) => Ok(Some(manifest)),
            // A newer format is not damage.
            Err(error @ Error::NewerFormat { .. }) => Err(error),
            damaged => match Manifest::read_copy(self.folder) {
                Ok(Some(copy)) => {
                    let why = damaged.err().map_or("it was missing".into(), |error| message(&error));
                    self.done.quarantined.push(Damage { file: FILE.into(), what: why });
                    Ok(Some(copy))
                }
                _ => self.rebuilt(damaged),
            },
        }
    }

    /// A manifest made from the shards, in place of one that is damaged or not there.
    fn rebuilt(&mut self, damaged: Result<Option<Manifest>, Error>) -> Result<Option<Manifest>, Error> {
        let mut left = Vec::new();
        for file in [FILE, COPY] {
            left.extend(self.folder.read(file)?.map(|bytes| (file, bytes)));
        }
        let texts: Vec<Vec<u8>> = left.iter().map(|(_, bytes)| bytes.clone()).collect();
        let rebuilt = rebuild::rebuild(self.folder, &texts)?;
        if rebuilt.is_none() && self.folder.read(journal::FILE)?.is_none() {
            let path = self.folder.dir().into();
            let has_shards = self.folder.names()?.iter().any(|name| shard_index(name).is_some());
            return Err(match damaged {
                Ok(_) if !has_shards => Error::NoDataset { path, found: "has no `manifest.json`" },
                _ => Error::NothingLeft { path },
            });
        }
        let why = damaged.err().map_or("it was missing".into(), |error| message(&error));
        let why = if rebuilt.is_some() { format!("{why}; the shards make it anew") } else { why };
        if left.iter().all(|(file, _)| *file != FILE) {
            self.done.quarantined.push(Damage { file: FILE.into(), what: why.clone() });
        }
        for (file, bytes) in left {
            self.keep(file, &bytes, if file == FILE { why.clone() } else { "it is damaged as well".into() })?;
        }
        Ok(rebuilt.map(|rebuild::Rebuilt { manifest, remarks }| {
            self.done.remarks = remarks;
            manifest
        }))
    }

    /// Leaves a sound journal and nothing that could be taken for a manifest, so that the run can begin with it.
    fn orphaned(mut self) -> Result<Repaired, Error> {
        for file in self.folder.names()?.into_iter().filter(|name| shard_index(name).is_some()) {
            self.set_aside(&file, "it cannot be read, and neither can the manifest".into())?;
        }
        let bytes = self.folder.read(journal::FILE)?.unwrap_or_default();
        let (records, damage) = self.records(&bytes);
        let mut rows: BTreeMap<u64, Sample> = BTreeMap::new();
        for record in records {
            rows.entry(record.position).or_insert(record.sample);
        }
        if let Some(what) = damage {
            self.keep(journal::FILE, &bytes, what)?;
            Journal::create(self.folder, &mut rows)?;
        }
        for file in [FILE, COPY] {
            self.folder.remove(file)?;
        }
        Ok(Repaired { samples: rows.len() as u64, is_orphaned: true, ..self.done })
    }

    /// The records of the journal, of which these are the bytes, and what is wrong with it.
    fn records(&self, bytes: &[u8]) -> (Vec<journal::Record>, Option<String>) {
        match journal::read(self.folder) {
            Ok(contents) => match contents.unwrap_or_default() {
                journal::Contents { records, torn: 0 } => (records, None),
                // Sound records may stand behind the one that is not.
                journal::Contents { torn, .. } => {
                    (journal::salvage(bytes), Some(format!("{torn} bytes at its end do not begin with a record")))
                }
            },
            Err(error) => (journal::salvage(bytes), Some(message(&error))),
        }
    }

    /// Leaves the sound shards in the manifest and nothing else that is called like one in the folder.
    fn shards(&mut self, manifest: &mut Manifest, tally: &mut Tally) -> Result<(), Error> {
        let mut sound = Vec::new();
        let mut unsound = BTreeMap::new();
        for entry in std::mem::take(&mut manifest.shards) {
            match reader::read_shard(self.folder, &entry) {
                Ok(rows) => {
                    rows.iter().for_each(|row| tally.add(row));
                    note_attempts(&mut self.stored, &rows);
                    sound.push(entry);
                }
                Err(error) => drop(unsound.insert(entry.file, message(&error))),
            }
        }
        manifest.shards = sound;
        let names = self.folder.names()?;
        for (file, why) in &unsound {
            if !names.contains(file) {
                self.done.quarantined.push(Damage { file: file.clone(), what: why.clone() });
            }
        }
        for file in names.into_iter().filter(|name| shard_index(name).is_some()) {
            if !manifest.shards.iter().any(|entry| entry.file == file) {
                let why = unsound.remove(&file).unwrap_or_else(|| "the manifest does not name it".into());
                self.set_aside(&file, why)?;
            }
        }
        Ok(())
    }

    /// Puts what can be told of the money in place of a ledger that is not sound.
    fn ledger(&mut self, manifest: &mut Manifest) -> Result<(), Error> {
        let Err(error) = ledger(self.folder, manifest.attempts.as_ref()) else { return Ok(()) };
        let bytes = self.folder.read(LEDGER)?.unwrap_or_default();
        let mut stored = self.stored;
        if let Some(journal) = self.folder.read(journal::FILE)? {
            note_attempts(&mut stored, self.unsealed(&journal, manifest).0.values());
        }
        if let Origin::Run { header, .. } = &manifest.origin {
            stored.completion_tokens = stored.completion_tokens.max(header.sampling.max_tokens as u64);
        }
        let Salvaged { bytes: sound, mark, what } = spend::salvage(&bytes, manifest.attempts.as_ref(), stored);
        self.keep(LEDGER, &bytes, format!("{}; {what}", message(&error)))?;
        self.folder.write(LEDGER, &sound)?;
        manifest.attempts = Some(mark);
        Ok(())
    }

    fn recipe(&mut self, manifest: &Manifest) -> Result<(), Error> {
        let Err(error) = recipe::check(self.folder, manifest) else { return Ok(()) };
        self.set_aside(recipe::FILE, message(&error))?;
        recipe::write(self.folder, manifest)
    }

    fn journal(&mut self, manifest: &Manifest, tally: &mut Tally) -> Result<(), Error> {
        let Some(bytes) = self.folder.read(journal::FILE)? else { return Ok(()) };
        let (mut rows, damage) = self.unsealed(&bytes, manifest);
        rows.values().for_each(|row| tally.add(row));
        if let Some(what) = damage {
            self.keep(journal::FILE, &bytes, what)?;
            Journal::create(self.folder, &mut rows)?;
        }
        Ok(())
    }

    /// The run's rows in the journal, of which these are the bytes, that are in no shard, by their positions, and what is
    /// wrong with it.
    fn unsealed(&self, bytes: &[u8], manifest: &Manifest) -> (BTreeMap<u64, Sample>, Option<String>) {
        let (records, damage) = self.records(bytes);
        let sealed: Vec<_> = manifest.shards.iter().filter_map(|entry| entry.index()).collect();
        let rows_per_shard = u64::from(manifest.rows_per_shard);
        let mut rows: BTreeMap<u64, Sample> = BTreeMap::new();
        for record in records {
            if record.sample.run_id == manifest.run_id && !sealed.contains(&(record.position / rows_per_shard)) {
                rows.entry(record.position).or_insert(record.sample);
            }
        }
        (rows, damage)
    }

    /// Copies a file that something else is about to be put in place of.
    fn keep(&mut self, file: &str, bytes: &[u8], what: String) -> Result<(), Error> {
        self.quarantine.create()?;
        self.quarantine.write(&self.free_name(file)?, bytes)?;
        self.done.quarantined.push(Damage { file: file.into(), what });
        Ok(())
    }

    fn set_aside(&mut self, file: &str, what: String) -> Result<(), Error> {
        self.quarantine.create()?;
        self.folder.move_into(&self.quarantine, file, &self.free_name(file)?)?;
        self.done.quarantined.push(Damage { file: file.into(), what });
        Ok(())
    }

    /// `file`, or `file.2` and so on where earlier repairs took the name.
    fn free_name(&self, file: &str) -> Result<String, Error> {
        let taken = self.quarantine.names()?;
        let numbered = (2..).map(|number: u32| format!("{file}.{number}"));
        let mut names = std::iter::once(file.to_owned()).chain(numbered);
        let free = names.find(|name| !taken.contains(name));
        free.ok_or_else(|| io("named", &self.quarantine.path(file))(std::io::ErrorKind::AlreadyExists.into()))
    }
}

/// Adds what rows tell of the attempts that they were. Where nobody counted a prompt's tokens, there are at most as many
/// as bytes.
fn note_attempts<'a>(stored: &mut Stored, rows: impl IntoIterator<Item = &'a Sample>) {
    for row in rows {
        let asked = row.messages.iter().filter(|(role, _)| role != Role::Assistant.as_str());
        let bytes: usize = asked.map(|(_, content)| content.len()).sum();
        stored.samples += 1;
        stored.prompt_tokens = stored.prompt_tokens.max(u64::from(row.prompt_tokens)).max(bytes as u64);
        stored.completion_tokens = stored.completion_tokens.max(u64::from(row.completion_tokens));
    }
}

/// An error and its causes in one line.
fn message(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
