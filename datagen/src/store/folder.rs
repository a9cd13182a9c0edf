//! A dataset's folder on a disk: its files, each there whole or not at all, and the lock that keeps writers apart.

use super::journal;
use super::manifest::{COPY, Manifest, ShardEntry};
use crate::Error;
use retort_model::durable::{self, Disk, DiskFile, Native};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const CARD: &str = "README.md";
const LOCK: &str = ".lock";

/// The error of a failed `action` on `path`.
pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |source| Error::Io { action, path: path.to_owned(), source }
}

/// Where a dataset lies.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Folder {
    /// A folder of this machine.
    pub(super) fn native(dir: &Path) -> Self {
        Self::on(Arc::new(Native), dir)
    }

    pub(super) fn on(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self { disk, dir: dir.into() }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes the folder, durably.
    pub(super) fn create(&self) -> Result<(), Error> {
        self.disk.create_folder(&self.dir).map_err(io("created", &self.dir))
    }

    /// The names of what is in it, sorted; none where it does not exist.
    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        match self.disk.list(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            names => names.map_err(io("read", &self.dir)),
        }
    }

    /// Replaces a file: after this returns it survives a power cut, and at no time is a part of it seen.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(name);
        durable::replace_on(&*self.disk, &path, bytes).map_err(io("written", &path))
    }

    /// Removes a file for good; one that is not there is fine.
    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        match self.disk.remove(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io("removed", &path)(error)),
            _ => self.disk.sync_folder(&self.dir).map_err(io("removed", &path)),
        }
    }

    /// Moves a file into a folder inside this one, durably.
    pub(super) fn move_into(&self, inner: &Self, name: &str, new_name: &str) -> Result<(), Error> {
        let path = self.path(name);
        let moved = self.disk.rename(&path, &inner.path(new_name));
        let synced = moved.and_then(|()| self.disk.sync_folder(&inner.dir));
        synced.and_then(|()| self.disk.sync_folder(&self.dir)).map_err(io("moved", &path))
    }

    /// A folder inside this one.
    pub(super) fn inner(&self, name: &str) -> Self {
        Self { disk: self.disk.clone(), dir: self.path(name) }
    }

    /// The whole file, or `None` where there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(name);
        match self.disk.read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io("read", &path)(error)),
        }
    }

    /// A sealed shard's file, after its length and blake3 were found to be the expected ones.
    pub(super) fn read_verified(&self, entry: &ShardEntry) -> Result<Vec<u8>, Error> {
        let path = self.path(&entry.file);
        let bytes = self.disk.read(&path).map_err(io("read", &path))?;
        let (length, hash) = (bytes.len() as u64, blake3::hash(&bytes).to_hex());
        let damaged = |part, expected: String, found: String| Error::Damaged { path, part, expected, found };
        if length != entry.bytes {
            return Err(damaged("its length in bytes", entry.bytes.to_string(), length.to_string()));
        }
        if hash.as_str() != entry.blake3 {
            return Err(damaged("its blake3", entry.blake3.clone(), hash.to_string()));
        }
        Ok(bytes)
    }

    /// Opens a file for more at its end.
    pub(super) fn append_to(&self, name: &str) -> Result<Box<dyn DiskFile>, Error> {
        let path = self.path(name);
        self.disk.open(&path).map_err(io("opened", &path))
    }
}

/// Held while a dataset is written; the kernel frees it when the process ends, however.
#[derive(Debug)]
pub(super) struct Lock {
    /// `.lock`, which names the owner.
    _file: File,
    /// The folder itself, for `.lock` can be deleted; `None` on file systems that lock no folders.
    _folder: Option<File>,
}

/// Takes the exclusive lock on `dir`, or says who holds it.
pub(super) fn lock(dir: &Path) -> Result<Lock, Error> {
    let path = dir.join(LOCK);
    let held = || {
        let mut owner = String::new();
        let named = File::open(&path).is_ok_and(|file| file.take(320).read_to_string(&mut owner).is_ok());
        let named = named && !owner.trim().is_empty();
        let owner = if named { owner.trim().to_owned() } else { "another process".into() };
        Error::Locked { path: dir.into(), owner }
    };
    let folder = File::open(dir).ok().map(|folder| (folder.try_lock(), folder));
    let folder = match folder {
        Some((Err(TryLockError::WouldBlock), _)) => return Err(held()),
        Some((Ok(()), folder)) => Some(folder),
        _ => None,
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(&path).map_err(io("opened", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held()),
        Err(TryLockError::Error(error)) => return Err(io("locked", &path)(error)),
    }
    let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", owner()));
    noted.map_err(io("written", &path))?;
    Ok(Lock { _file: file, _folder: folder })
}

/// How this process is named to one that finds the folder locked: `process 4711 on node3`.
fn owner() -> String {
    let process = format!("process {}", std::process::id());
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) => format!("{process} on {}", host.trim()),
        Err(_) => process,
    }
}

/// Refuses a folder that holds anything but what an interrupted beginning of a dataset leaves, or a repair where nothing
/// was left but the journal: a new dataset must not mix its files into somebody else's.
pub(super) fn refuse_foreign(folder: &Folder) -> Result<(), Error> {
    // A copy that names shards is that of a dataset which had begun; the run would make them again.
    if Manifest::read_copy(folder).is_ok_and(|copy| copy.is_some_and(|copy| !copy.shards.is_empty())) {
        return Err(Error::CopyAlone { path: folder.dir().into() });
    }
    if journal::is_there(folder)? {
        return Ok(());
    }
    let ours = |name: &str| name == LOCK || name == COPY || (name.starts_with('.') && name.ends_with(".tmp"));
    match folder.names()?.into_iter().find(|name| !ours(name)) {
        Some(found) => Err(Error::NotADataset { path: folder.dir().into(), found }),
        None => Ok(()),
    }
}
