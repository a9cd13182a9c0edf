//! Files that a crash leaves either as they were or as they should be, never in part.

use std::fs::File;
use std::io::{ErrorKind, Result, Write};
use std::path::Path;

/// Replaces `path` by `bytes`: temporary file in the same folder, fsync, rename, fsync of the folder.
///
/// A folder has one writer of a given name, so the temporary name is fixed; what a killed writer left is overwritten.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_with(path, |temporary| File::create(temporary)?.write_all(bytes))
}

/// The same with the file that `write` puts at the path it is given.
pub fn replace_with(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let Some(name) = path.file_name() else { return Err(ErrorKind::InvalidInput.into()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = folder.join(format!(".{}.tmp", name.to_string_lossy()));
    // A writer may make a file of its own that only its owner may read; ours has the usual permissions.
    let permissions = File::create(&temporary)?.metadata()?.permissions();
    let written = write(&temporary).and_then(|()| std::fs::set_permissions(&temporary, permissions));
    if let Err(error) = written.and_then(|()| File::open(&temporary)?.sync_all()) {
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    std::fs::rename(&temporary, path)?;
    sync_folder(folder)
}

/// Makes renames and removals inside `folder` survive a power cut.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #[test]
    fn replaces_and_leaves_nothing_beside() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.json");
        super::replace(&path, b"one")?;
        super::replace(&path, b"two")?;
        let failed = super::replace_with(&path, |temporary| {
            std::fs::write(temporary, b"half")?;
            Err(std::io::Error::other("full"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path)?, b"two");
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }
}
