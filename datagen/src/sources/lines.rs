//! Files of JSON objects, one a line. A line that is none stops the reading, and the error names it: nothing is skipped
//! silently.

use crate::Error;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Far above any problem; it bounds what a file without line breaks makes us hold.
const MAX_LINE: usize = 16 << 20;

/// A file that is read line by line.
pub(crate) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
    /// What every line must look like, for the errors.
    shape: &'static str,
}

/// One object and where it stands.
pub(crate) struct Line<'a> {
    path: &'a Path,
    line: u64,
    shape: &'static str,
    object: Map<String, Value>,
}

impl Lines {
    pub(crate) fn open(path: &Path, shape: &'static str) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Io { action: "opened", path: path.into(), source })?;
        Ok(Self { path: path.into(), reader: BufReader::new(file), line: 0, shape })
    }

    /// The next line that is not blank; `None` at the end.
    pub(crate) fn next_line(&mut self) -> Result<Option<Line<'_>>, Error> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            self.line += 1;
            let (path, line) = (|| self.path.clone(), self.line);
            let mut bounded = (&mut self.reader).take(MAX_LINE as u64 + 1);
            let read = bounded.read_until(b'\n', &mut bytes);
            if read.map_err(|source| Error::Io { action: "read", path: path(), source })? == 0 {
                return Ok(None);
            }
            if bytes.len() > MAX_LINE {
                return Err(Error::LineTooLong { path: path(), line, limit: MAX_LINE });
            }
            let text = std::str::from_utf8(&bytes).map_err(|_| Error::NotUtf8 { path: path(), line })?;
            // A byte order mark may open the file.
            let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text };
            let text = text.trim_end();
            if text.trim_start().is_empty() {
                continue;
            }
            let shape = self.shape;
            return match serde_json::from_str(text) {
                Ok(Value::Object(object)) => Ok(Some(Line { path: &self.path, line, shape, object })),
                Ok(other) => Err(Error::NotAnObject { path: path(), line, found: kind(&other), shape }),
                Err(error) => Err(malformed(path(), line, &error)),
            };
        }
    }
}

impl Line<'_> {
    pub(crate) fn has(&self, column: &str) -> bool {
        self.object.contains_key(column)
    }

    pub(crate) fn text(&self, column: &str) -> Result<&str, Error> {
        match self.object.get(column) {
            Some(Value::String(text)) => Ok(text),
            other => Err(self.wrong_type(column, "a string", other)),
        }
    }

    /// An optional column; a number is one in some files.
    pub(crate) fn label(&self, column: &str, number: bool) -> Result<String, Error> {
        match self.object.get(column) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(level)) if number => Ok(level.to_string()),
            other => Err(self.wrong_type(column, if number { "a string or a number" } else { "a string" }, other)),
        }
    }

    fn wrong_type(&self, column: &str, expected: &'static str, found: Option<&Value>) -> Error {
        let (path, column) = (self.path.to_owned(), column.to_owned());
        Error::WrongType { path, line: self.line, column, expected, found: found.map_or("nothing", kind) }
    }

    pub(crate) fn missing(&self, expected: &'static str) -> Error {
        let columns: Vec<String> = self.object.keys().take(8).map(|column| format!("`{column}`")).collect();
        let found = if columns.is_empty() { "none".to_owned() } else { columns.join(", ") };
        Error::MissingColumn { path: self.path.into(), line: self.line, expected, found, shape: self.shape }
    }

    pub(crate) fn empty(&self, column: &str, part: &'static str) -> Error {
        Error::EmptyText { path: self.path.into(), line: self.line, column: column.into(), part }
    }
}

/// What the parser says of a line, without the line number that it counts from the line's own beginning.
fn malformed(path: PathBuf, line: u64, error: &serde_json::Error) -> Error {
    let reason = error.to_string();
    let reason = reason.split_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason).to_owned();
    Error::MalformedLine { path, line, column: error.column(), reason }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
