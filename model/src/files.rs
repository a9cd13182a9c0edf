//! Small files of a model folder: JSON in, with errors that say which file and where in it.

use crate::Error;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Far above the largest tokenizer.
const LONGEST: u64 = 512 << 20;

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::Io { action: "read", path: path.into(), source };
    // A pipe or a device may have no end.
    let about = std::fs::metadata(path).map_err(failed)?;
    if about.is_file() && about.len() > LONGEST {
        return Err(Error::TooLong { path: path.into(), bytes: about.len() });
    }
    if !about.is_file() && !about.is_dir() {
        return Err(Error::NoFile { path: path.into() });
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// Reads a JSON file into `T`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    parse_json(&read_text(path)?, path)
}

/// Parses JSON that came from `path`.
pub fn parse_json<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let place = error.path().to_string();
        Error::Json { path: path.into(), place, source: error.into_inner() }
    })?;
    json.end().map_err(|source| Error::Json { path: path.into(), place: ".".into(), source })?;
    Ok(value)
}
