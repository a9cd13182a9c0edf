//! Parquet files, and the rows of record batches as JSON objects.

use super::row::{MAX_ROW, Place, Row, Rows};
use crate::Error;
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::Value;
use std::any::Any;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows that are read at once: few, since a row may hold many long traces.
const BATCH: usize = 64;

/// Rows of a batch that become JSON at once.
const CHUNK: usize = 16;

/// Where record batches come from.
pub(super) trait Batches {
    const FORMAT: &'static str;
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError>;
}

/// The rows of a file of record batches.
pub(super) struct Columnar<B> {
    path: Arc<PathBuf>,
    batches: B,
    batch: Option<(RecordBatch, usize)>,
    ready: VecDeque<Row>,
    rows: u64,
}

impl<B: Batches> Columnar<B> {
    pub(super) fn new(path: &Path, batches: impl FnOnce() -> Result<B, ArrowError>) -> Result<Self, Error> {
        let path = Arc::new(path.to_path_buf());
        let batches = sound(&path, B::FORMAT, batches)?;
        Ok(Self { path, batches, batch: None, ready: VecDeque::new(), rows: 0 })
    }

    /// Makes the next rows ready; `false` at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        let (batch, from) = match self.batch.take() {
            Some(rest) => rest,
            None => match sound(&self.path, B::FORMAT, || self.batches.next_batch())? {
                Some(batch) => (batch, 0),
                None => return Ok(false),
            },
        };
        let mut count = CHUNK.min(batch.num_rows() - from);
        let mut json = sound(&self.path, B::FORMAT, || as_json(&batch.slice(from, count)))?;
        if json.is_none() {
            // Together they are too long; perhaps not each.
            count = 1;
            json = sound(&self.path, B::FORMAT, || as_json(&batch.slice(from, count)))?;
        }
        let Some(json) = json else {
            return Err(Error::RowTooLong { place: Place::row(&self.path, self.rows + 1), limit: MAX_ROW });
        };
        for line in json.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            self.rows += 1;
            let place = Place::row(&self.path, self.rows);
            match serde_json::from_slice(line) {
                Ok(Value::Object(object)) => self.ready.push_back(Row { place, object }),
                Ok(_) => return Err(Error::MalformedRow { place, reason: "it is no object".into() }),
                Err(error) => return Err(Error::MalformedRow { place, reason: error.to_string() }),
            }
        }
        if from + count < batch.num_rows() {
            self.batch = Some((batch, from + count));
        }
        Ok(true)
    }
}

impl<B: Batches> Rows for Columnar<B> {
    fn next_row(&mut self) -> Result<Option<Row>, Error> {
        loop {
            if let Some(row) = self.ready.pop_front() {
                return Ok(Some(row));
            }
            if !self.advance()? {
                return Ok(None);
            }
        }
    }
}

/// The rows as lines of JSON; `None` where they are too long.
fn as_json(batch: &RecordBatch) -> Result<Option<Vec<u8>>, ArrowError> {
    let mut text = Limited { bytes: Vec::new(), full: false };
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer: LineDelimitedWriter<&mut Limited> = builder.build::<_, LineDelimited>(&mut text);
    let written = writer.write(batch).and_then(|()| writer.finish());
    drop(writer);
    if text.full {
        return Ok(None);
    }
    written?;
    Ok(Some(text.bytes))
}

/// JSON while it grows, up to what a row may have.
struct Limited {
    bytes: Vec<u8>,
    full: bool,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_ROW {
            self.full = true;
            return Err(std::io::Error::other("the rows are too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a reader of foreign bytes. Its authors count a panic on a damaged file as an ordinary defect; here it is an error
/// like any other.
fn sound<T>(path: &Path, format: &'static str, read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, Error> {
    let malformed = |reason| Error::MalformedFile { path: path.into(), format, reason };
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ArrowError::IoError(_, source))) => Err(Error::Io { action: "read", path: path.into(), source }),
        Ok(Err(error)) => Err(malformed(error.to_string())),
        Err(panic) => Err(malformed(message(&*panic))),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("its parts contradict each other").into()
}

/// A Parquet file, page by page.
pub(super) struct Parquet(ParquetRecordBatchReader);

impl Batches for Parquet {
    const FORMAT: &'static str = "Parquet";

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        self.0.next().transpose()
    }
}

/// Opens a Parquet file.
pub(super) fn parquet(path: &Path) -> Result<Columnar<Parquet>, Error> {
    let file = File::open(path).map_err(|source| Error::Io { action: "opened", path: path.into(), source })?;
    Columnar::new(path, || {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
        Ok(Parquet(builder.with_batch_size(BATCH).build()?))
    })
}
