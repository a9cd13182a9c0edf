//! Problems from files. Each format is a module beside this one; the ending of the file's name picks it.

mod jsonl;
mod lines;

#[cfg(test)]
mod tests;

pub(crate) use lines::Lines;

use crate::Error;
use crate::problem::Problem;
use std::path::Path;

/// Reads the first `limit` problems of the file at `path`, or all of them.
///
/// One JSON object per line (`.jsonl`, `.ndjson`), with the question in `problem`, `question` or `prompt` and the gold
/// in `answer`. A `question` whose `answer` ends in `#### gold` is GSM8K's shape: the gold is what follows the mark.
/// `subject` and `level`, as in MATH, become domain and difficulty.
pub fn read(path: &Path, limit: Option<usize>) -> Result<Vec<Problem>, Error> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("jsonl" | "ndjson") => jsonl::read(path, limit),
        _ if !path.exists() => {
            Err(Error::Io { action: "read", path: path.into(), source: std::io::ErrorKind::NotFound.into() })
        }
        ending => {
            let found = ending.unwrap_or_default().to_owned();
            Err(Error::UnknownFormat { path: path.into(), expected: "`.jsonl`", found })
        }
    }
}
