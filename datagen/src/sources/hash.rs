//! What a file hashes to.

use crate::Error;
use std::fs::File;
use std::path::Path;

/// blake3 of a file, in hexadecimal.
pub fn hash(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::Io { action: "read", path: path.into(), source };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).map_err(failed)?).map_err(failed)?;
    Ok(hasher.finalize().to_hex().to_string())
}
