//! CSV files, and tab-separated ones: the first record names the columns, every value is text.

use super::compressed;
use super::row::{MAX_ROW, Place, Row, Rows};
use crate::Error;
use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};
use serde_json::Value;
use std::cell::Cell;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// A CSV file.
pub(super) struct Delimited {
    path: Arc<PathBuf>,
    reader: Reader<Bounded>,
    columns: StringRecord,
    /// Bytes that may still be read for the record at hand.
    left: Rc<Cell<usize>>,
}

impl Delimited {
    pub(super) fn open(path: &Path, delimiter: u8) -> Result<Self, Error> {
        let left = Rc::new(Cell::new(MAX_ROW));
        let bounded = Bounded { inner: compressed::open(path)?, left: left.clone() };
        let reader = ReaderBuilder::new().delimiter(delimiter).from_reader(bounded);
        let mut opened = Self { path: Arc::new(path.into()), reader, columns: StringRecord::new(), left };
        opened.columns = opened.reader.headers().map_err(|error| failed(&opened.path, &opened.left, error))?.clone();
        let repeated = |at: &usize| opened.columns.iter().take(*at).any(|name| name == &opened.columns[*at]);
        if let Some(at) = (0..opened.columns.len()).find(repeated) {
            let reason = format!("two columns are called `{}`", &opened.columns[at]);
            return Err(Error::MalformedFile { path: path.into(), format: "CSV", reason });
        }
        Ok(opened)
    }
}

impl Rows for Delimited {
    fn next_row(&mut self) -> Result<Option<Row>, Error> {
        self.left.set(MAX_ROW);
        let mut record = StringRecord::new();
        match self.reader.read_record(&mut record) {
            Ok(false) => return Ok(None),
            Ok(true) => {}
            Err(error) => return Err(failed(&self.path, &self.left, error)),
        }
        let line = record.position().map_or(0, csv::Position::line);
        let cells = self.columns.iter().zip(&record);
        let object = cells.map(|(column, text)| (column.to_owned(), Value::from(text))).collect();
        Ok(Some(Row { place: Place::line(&self.path, line), object }))
    }
}

fn failed(path: &Arc<PathBuf>, left: &Cell<usize>, error: csv::Error) -> Error {
    let place = Place::line(path, error.position().map_or(1, csv::Position::line));
    match error.into_kind() {
        ErrorKind::Io(_) if left.get() == 0 => Error::RowTooLong { place, limit: MAX_ROW },
        ErrorKind::Io(source) => Error::Io { action: "read", path: path.to_path_buf(), source },
        ErrorKind::Utf8 { .. } => Error::NotUtf8 { place },
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Error::MalformedRow { place, reason: format!("it has {len} values for {expected_len} columns") }
        }
        other => Error::MalformedRow { place, reason: format!("{other:?}") },
    }
}

/// A reader that stops where a record has become too long: a quote that is never closed goes on to the end of the file.
struct Bounded {
    inner: Box<dyn BufRead>,
    left: Rc<Cell<usize>>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(self.left.get());
        if most == 0 && !buffer.is_empty() {
            return Err(std::io::Error::other("the record is too long"));
        }
        let read = self.inner.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - read);
        Ok(read)
    }
}
