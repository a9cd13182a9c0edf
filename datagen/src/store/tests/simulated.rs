//! A disk in memory that fails, fills up or loses power when it is told to.
//!
//! Losing power follows what POSIX allows and no more: of everything that was not synchronised each write may be there,
//! missing, or torn at sectors of 512 bytes, and each change of a name may be there or not, in any combination. A failed
//! fsync leaves pages that look written and never will be.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use retort_model::durable::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    /// This operation fails; those after it too, where `for_ever`.
    Fails { operation: u64, for_ever: bool },
    /// The power goes off before this operation.
    PowerCut { operation: u64 },
    /// There is room for so many bytes.
    Full { bytes: usize },
}

#[derive(Debug, Clone, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug, Clone, Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names by the folder that must be synchronised to make them durable.
    renamed: Vec<(PathBuf, Renamed)>,
    operations: u64,
    fault: Option<Fault>,
    struck: bool,
}

/// A file's bytes as the system shows them, as the disk has them, and the writes between the two.
#[derive(Debug, Clone, Default)]
struct Content {
    shown: Vec<u8>,
    durable: Vec<u8>,
    written: Vec<Written>,
}

#[derive(Debug, Clone)]
enum Written {
    At(usize, Vec<u8>),
    Cut(usize),
}

#[derive(Debug, Clone)]
enum Renamed {
    Made(PathBuf, usize),
    Moved(PathBuf, PathBuf, usize),
    Gone(PathBuf),
}

fn chance(rng: &mut ChaCha8Rng, of: u32) -> bool {
    rng.next_u32().is_multiple_of(of)
}

impl Written {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::At(at, new) => {
                bytes.resize(bytes.len().max(at + new.len()), 0);
                bytes[*at..at + new.len()].copy_from_slice(new);
            }
            Self::Cut(length) => bytes.truncate(*length),
        }
    }

    /// The same with some of its sectors missing.
    fn apply_torn(&self, bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
        let Self::At(at, new) = self else { return };
        let mut from = 0;
        while from < new.len() {
            let to = new.len().min((at + from) / SECTOR * SECTOR + SECTOR - at);
            if !chance(rng, 3) {
                Self::At(at + from, new[from..to].to_vec()).apply(bytes);
            }
            from = to;
        }
    }
}

impl Renamed {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Made(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Moved(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Gone(path) => drop(names.remove(path)),
        }
    }
}

impl State {
    /// Counts an operation; whether it is to fail.
    fn operation(&mut self) -> Result<()> {
        let number = self.operations;
        self.operations += 1;
        let strikes = match self.fault {
            Some(Fault::Fails { operation, for_ever }) => number == operation || (for_ever && number > operation),
            Some(Fault::PowerCut { operation }) => number >= operation,
            Some(Fault::Full { .. }) | None => false,
        };
        self.struck |= strikes;
        if strikes { Err(Error::other("a simulated fault")) } else { Ok(()) }
    }

    fn file(&self, path: &Path) -> Result<usize> {
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn write(&mut self, file: usize, written: Written) {
        written.apply(&mut self.files[file].shown);
        self.files[file].written.push(written);
    }

    fn change_name(&mut self, folder: &Path, renamed: Renamed) {
        renamed.apply(&mut self.names);
        self.renamed.push((folder.into(), renamed));
    }

    fn room(&self) -> usize {
        let Some(Fault::Full { bytes }) = self.fault else { return usize::MAX };
        bytes.saturating_sub(self.names.values().map(|&file| self.files[file].shown.len()).sum())
    }
}

impl SimulatedDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics inside")
    }

    /// A disk like this one with another fate; operations are counted from zero.
    pub(super) fn with(&self, fault: Option<Fault>) -> Self {
        let state = State { fault, operations: 0, struck: false, ..self.state().clone() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// What a machine finds that comes up again after its power went off.
    pub(super) fn after_power_cut(&self, seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let state = self.state();
        let mut names = state.durable_names.clone();
        for (_, renamed) in &state.renamed {
            if chance(rng, 2) {
                renamed.apply(&mut names);
            }
        }
        let files = state.files.iter().map(|file| {
            let mut bytes = file.durable.clone();
            for written in &file.written {
                match rng.next_u32() % 3 {
                    0 => written.apply(&mut bytes),
                    1 => written.apply_torn(&mut bytes, rng),
                    _ => {}
                }
            }
            Content { shown: bytes.clone(), durable: bytes, written: Vec::new() }
        });
        let files = files.collect();
        Self(Arc::new(Mutex::new(State { files, durable_names: names.clone(), names, ..State::default() })))
    }

    pub(super) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Whether the fault came to pass.
    pub(super) fn struck(&self) -> bool {
        self.state().struck
    }

    /// Puts bytes into a file behind everybody's back, as a disk that rots.
    pub(super) fn poke(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let file = state.file(path).expect("a file");
        state.files[file] = Content { shown: bytes.into(), durable: bytes.into(), written: Vec::new() };
    }

    /// Path and bytes of every file, the temporary ones that a fault may leave apart.
    pub(super) fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let named = state.names.iter().filter(|(path, _)| path.extension().is_none_or(|ending| ending != "tmp"));
        named.map(|(path, &file)| (path.clone(), state.files[file].shown.clone())).collect()
    }
}

impl Disk for SimulatedDisk {
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let state = self.state();
        Ok(state.files[state.file(path)?].shown.clone())
    }

    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.operation()?;
        let file = match state.file(path) {
            Ok(file) => {
                state.write(file, Written::Cut(0));
                file
            }
            Err(_) => {
                state.files.push(Content::default());
                let file = state.files.len() - 1;
                state.change_name(path.parent().expect("a folder"), Renamed::Made(path.into(), file));
                file
            }
        };
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.operation()?;
        Ok(Box::new(Open { disk: self.clone(), file: state.file(path)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.state();
        state.operation()?;
        let file = state.file(from)?;
        state.change_name(to.parent().expect("a folder"), Renamed::Moved(from.into(), to.into(), file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        state.operation()?;
        state.file(path)?;
        state.change_name(path.parent().expect("a folder"), Renamed::Gone(path.into()));
        Ok(())
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        let state = self.state();
        let inside = state.names.keys().filter_map(|path| path.strip_prefix(folder).ok());
        let mut names: Vec<String> = inside.filter_map(|path| Some(path.iter().next()?.to_str()?.to_owned())).collect();
        names.dedup();
        Ok(names)
    }

    fn create_folder(&self, _: &Path) -> Result<()> {
        self.state().operation()
    }

    fn sync_folder(&self, folder: &Path) -> Result<()> {
        let mut state = self.state();
        state.operation()?;
        let (synced, rest) = std::mem::take(&mut state.renamed).into_iter().partition(|(of, _)| of == folder);
        state.renamed = rest;
        let synced: Vec<(PathBuf, Renamed)> = synced;
        for (_, renamed) in synced {
            renamed.apply(&mut state.durable_names);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Open {
    disk: SimulatedDisk,
    file: usize,
}

impl DiskFile for Open {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let mut state = self.disk.state();
        let at = state.files[self.file].shown.len();
        if let Err(error) = state.operation() {
            let part = bytes[..bytes.len() / 2].to_vec();
            state.write(self.file, Written::At(at, part));
            return Err(error);
        }
        let fits = bytes.len().min(state.room());
        state.write(self.file, Written::At(at, bytes[..fits].to_vec()));
        if fits == bytes.len() {
            return Ok(());
        }
        state.struck = true;
        Err(ErrorKind::StorageFull.into())
    }

    fn cut(&mut self, length: u64) -> Result<()> {
        let mut state = self.disk.state();
        state.operation()?;
        state.write(self.file, Written::Cut(length as usize));
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let mut state = self.disk.state();
        let synced = state.operation();
        let file = &mut state.files[self.file];
        let written = std::mem::take(&mut file.written);
        if synced.is_ok() {
            written.iter().for_each(|written| written.apply(&mut file.durable));
        }
        synced
    }
}
