//! Small files of a model folder: JSON in, with errors that say which file and where in it.

use crate::Error;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })
}

/// Reads a JSON file into `T`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    parse_json(&read_text(path)?, path)
}

/// Parses JSON that came from `path`.
pub fn parse_json<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|source| Error::Json { path: path.into(), source })
}
