//! Files that are there whole or not at all, and the lock that keeps writers apart.

use crate::Error;
use retort_model::durable;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |source| Error::Io { action, path: path.to_owned(), source }
}

/// Replaces `path` by `bytes`: after this returns they survive a power cut, and at no time is a part of them seen.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    durable::replace(path, bytes).map_err(io("written", path))
}

/// Removes `path` for good; a file that is not there is fine.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("removed", path)(error)),
        _ => path.parent().map_or(Ok(()), durable::sync_folder).map_err(io("removed", path)),
    }
}

/// The whole file, or `None` where there is none.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", path)(error)),
    }
}

/// The whole file, after its length and blake3 were found to be the expected ones.
pub(super) fn read_verified(path: &Path, length: u64, blake3: &str) -> Result<Vec<u8>, Error> {
    let damaged = |part, expected: String, found: String| Error::Damaged { path: path.into(), part, expected, found };
    let file = File::open(path).map_err(io("opened", path))?;
    let found = file.metadata().map_err(io("read", path))?.len();
    if found != length {
        return Err(damaged("its length in bytes", length.to_string(), found.to_string()));
    }
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(io("read", path))?;
    let hash = blake3::hash(&bytes).to_hex();
    if hash.as_str() != blake3 {
        return Err(damaged("its blake3", blake3.into(), hash.to_string()));
    }
    Ok(bytes)
}

/// Takes the exclusive lock on `folder`, or says who holds it. The kernel frees it when the process ends, however.
pub(super) fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(".lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(&path).map_err(io("opened", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let named = file.take(64).read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
            let owner = if named { owner.trim().to_owned() } else { "another process".into() };
            return Err(Error::Locked { path: folder.into(), owner });
        }
        Err(TryLockError::Error(error)) => return Err(io("locked", &path)(error)),
    }
    let noted = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
    noted.map_err(io("written", &path))?;
    Ok(file)
}
