//! Files that a crash leaves either as they were or as they should be, never in part.
//!
//! An update is a sequence of the operations of [`Disk`], so that a test can put a disk underneath that fails, or loses
//! power, at any one of them.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Result, Write};
use std::path::Path;

/// The operations that durable updates are made of. As on POSIX systems, what is written to a file survives a power cut
/// once the file was synchronised, and what happened to its name once its folder was.
pub trait Disk: Debug + Send + Sync {
    /// The whole file.
    fn read(&self, path: &Path) -> Result<Vec<u8>>;
    /// Makes an empty file, in place of what was there.
    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>>;
    /// Opens a file for more at its end.
    fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>>;
    /// Gives a file another name, in place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    fn remove(&self, path: &Path) -> Result<()>;
    /// The names of what is in a folder, sorted.
    fn list(&self, folder: &Path) -> Result<Vec<String>>;
    /// Makes a folder and those above it, durably; one that is there is fine.
    fn create_folder(&self, folder: &Path) -> Result<()>;
    /// Makes renames and removals inside `folder` survive a power cut.
    fn sync_folder(&self, folder: &Path) -> Result<()>;
}

/// A file open for writing at its end.
pub trait DiskFile: Debug + Send {
    /// Adds `bytes`; after an error any part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;
    /// Cuts the file off after `length` bytes.
    fn cut(&mut self, length: u64) -> Result<()>;
    /// Makes the file's content survive a power cut. After an error what was not synchronised before may be lost.
    fn sync(&mut self) -> Result<()>;
}

/// The disks of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Native;

impl Disk for Native {
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        fs::read(path)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        let name = |entry: Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let mut names = fs::read_dir(folder)?.map(name).collect::<Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn create_folder(&self, folder: &Path) -> Result<()> {
        if folder.as_os_str().is_empty() || folder.is_dir() {
            return Ok(());
        }
        let parent = folder.parent().unwrap_or(Path::new(""));
        self.create_folder(parent)?;
        match fs::create_dir(folder) {
            Err(error) if !(error.kind() == ErrorKind::AlreadyExists && folder.is_dir()) => Err(error),
            _ => self.sync_folder(parent),
        }
    }

    fn sync_folder(&self, folder: &Path) -> Result<()> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self, length: u64) -> Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> Result<()> {
        self.sync_data()
    }
}

/// Replaces `path` by `bytes`: temporary file in the same folder, fsync, rename, fsync of the folder.
///
/// A folder has one writer of a given name, so the temporary name is fixed; what a killed writer left is overwritten.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_on(&Native, path, bytes)
}

/// The same on any disk.
pub fn replace_on(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let (folder, temporary) = beside(path)?;
    let written = disk.create(&temporary).and_then(|mut file| {
        file.append(bytes)?;
        file.sync()
    });
    if let Err(error) = written {
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    disk.rename(&temporary, path)?;
    disk.sync_folder(folder)
}

/// The same as [`replace`] with the file that `write` puts at the path it is given.
pub fn replace_with(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let (folder, temporary) = beside(path)?;
    // A writer may make a file of its own that only its owner may read; ours has the usual permissions.
    let permissions = File::create(&temporary)?.metadata()?.permissions();
    let written = write(&temporary).and_then(|()| fs::set_permissions(&temporary, permissions));
    if let Err(error) = written.and_then(|()| File::open(&temporary)?.sync_all()) {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    fs::rename(&temporary, path)?;
    sync_folder(folder)
}

/// The folder of `path` and the name of a temporary file in it.
fn beside(path: &Path) -> Result<(&Path, std::path::PathBuf)> {
    let Some(name) = path.file_name() else { return Err(ErrorKind::InvalidInput.into()) };
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok((folder, folder.join(format!(".{}.tmp", name.to_string_lossy()))))
}

/// Makes renames and removals inside `folder` survive a power cut.
pub fn sync_folder(folder: &Path) -> Result<()> {
    Native.sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_beside() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.json");
        replace(&path, b"one")?;
        replace(&path, b"two")?;
        let failed = replace_with(&path, |temporary| {
            fs::write(temporary, b"half")?;
            Err(std::io::Error::other("full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path)?, b"two");
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn folders_are_made_with_those_above_them() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let deep = folder.path().join("a/b");
        Native.create_folder(&deep)?;
        Native.create_folder(&deep)?;
        assert_eq!(Native.list(&folder.path().join("a"))?, ["b"]);
        fs::write(deep.join("file"), "")?;
        assert!(Native.create_folder(&deep.join("file")).is_err());
        Ok(())
    }
}
