//! Files of JSON objects, one a line. A line that is none stops the reading, and the error names it: nothing is skipped
//! silently.

use super::row::{MAX_ROW, Place, Row, Rows};
use super::{cell, compressed};
use crate::Error;
use serde_json::Value;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that is read line by line.
pub(crate) struct Lines {
    path: Arc<PathBuf>,
    reader: Box<dyn BufRead>,
    line: u64,
    /// What every line must look like, for the errors.
    shape: &'static str,
}

impl Lines {
    /// Opens a file of text, or one that ends in `.gz` or `.zst` and holds such text.
    pub(crate) fn open(path: &Path, shape: &'static str) -> Result<Self, Error> {
        Ok(Self { path: Arc::new(path.into()), reader: compressed::open(path)?, line: 0, shape })
    }

    /// The next line that is not blank; `None` at the end.
    pub(crate) fn next_line(&mut self) -> Result<Option<Row>, Error> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            self.line += 1;
            let place = Place::line(&self.path, self.line);
            let mut bounded = (&mut self.reader).take(MAX_ROW as u64 + 1);
            let read = bounded.read_until(b'\n', &mut bytes);
            if read.map_err(|source| Error::Io { action: "read", path: self.path.to_path_buf(), source })? == 0 {
                return Ok(None);
            }
            if bytes.len() > MAX_ROW {
                return Err(Error::RowTooLong { place, limit: MAX_ROW });
            }
            let Ok(text) = std::str::from_utf8(&bytes) else { return Err(Error::NotUtf8 { place }) };
            // A byte order mark may open the file.
            let text = if self.line == 1 { text.trim_start_matches('\u{feff}') } else { text };
            let text = text.trim_end();
            if text.trim_start().is_empty() {
                continue;
            }
            return match serde_json::from_str(text) {
                Ok(Value::Object(object)) => Ok(Some(Row { place, object })),
                Ok(other) => Err(Error::NotAnObject { place, found: cell::kind(&other), shape: self.shape }),
                Err(error) => Err(malformed(place, &error)),
            };
        }
    }
}

impl Rows for Lines {
    fn next_row(&mut self) -> Result<Option<Row>, Error> {
        self.next_line()
    }
}

/// What the parser says of a line, without the line number that it counts from the line's own beginning.
fn malformed(place: Place, error: &serde_json::Error) -> Error {
    let reason = error.to_string();
    let reason = reason.split_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason).to_owned();
    Error::MalformedLine { place, column: error.column(), reason }
}
