//! Writes a file so that a crash leaves either the old content or the new, never a part of it.
//!
//! Temporary file in the same folder, fsync, rename, fsync of the folder.

use crate::Error;
use std::io::Write;
use std::path::Path;

/// Replaces `folder/name` by `content`, making the folder where it is missing.
pub(crate) fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), Error> {
    let path = folder.join(name);
    let failed = |action| {
        let path = path.clone();
        move |source| Error::Io { action, path, source }
    };
    std::fs::create_dir_all(folder).map_err(|source| Error::Io { action: "made", path: folder.into(), source })?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed("created"))?;
    file.write_all(content).map_err(failed("written"))?;
    file.as_file().sync_all().map_err(failed("written"))?;
    let file = file.persist(&path).map_err(|failure| failed("renamed into place")(failure.error))?;
    share(&file).map_err(failed("made readable"))?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("renamed into place"))
}

/// Temporary files are private to their owner; a report is meant to be read by others too.
#[cfg(unix)]
fn share(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn share(_: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}
