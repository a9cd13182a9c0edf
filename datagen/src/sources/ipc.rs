//! Arrow IPC: streams, message after message, and files, whose index says where each message lies.
//!
//! Messages are taken apart here before the decoder sees them, so that a length is believed only once so many bytes were
//! there, and what a compressed buffer claims to hold stays within a limit.

mod file;
mod stream;

pub(crate) use file::Indexed;

use super::columns::{Batches, Columnar};
use crate::Error;
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::{Message, MessageHeader, RecordBatch as BatchHeader};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use stream::Messages;

/// What a file begins and ends with.
const MARK: &[u8; 6] = b"ARROW1";
/// A schema or index of a hundred thousand columns fits.
const MAX_HEAD: u64 = 64 << 20;
/// The most that one batch may be, compressed or not; offsets of 32 bits end there.
const MAX_BODY: u64 = 2 << 30;

/// A file or a stream.
pub(super) enum Ipc {
    File(Indexed<File>),
    Stream(Messages),
}

impl Batches for Ipc {
    const FORMAT: &'static str = "Arrow IPC";

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        match self {
            Self::File(indexed) => indexed.next_batch(),
            Self::Stream(messages) => messages.next_batch(),
        }
    }
}

/// Opens a file or stream; what it begins with tells which it is.
pub(super) fn open(path: &Path) -> Result<Columnar<Ipc>, Error> {
    let failed = |source| Error::Io { action: "opened", path: path.into(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut start = Vec::new();
    (&mut file).take(MARK.len() as u64).read_to_end(&mut start).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Columnar::new(path, || match start == MARK {
        true => Indexed::open(file).map(Ipc::File),
        false => Messages::begin(BufReader::new(file)).map(Ipc::Stream),
    })
}

/// The next `length` bytes; memory grows with what is there, not with what is claimed.
fn take(reader: &mut impl Read, length: u64, most: u64) -> Result<Vec<u8>, ArrowError> {
    if length > most {
        return Err(malformed(format!("a part of {length} bytes, and at most {most} are read")));
    }
    let mut bytes = Vec::new();
    reader.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(malformed("it ends in the middle of a message"));
    }
    Ok(bytes)
}

/// Refuses buffers that claim to be larger than anything honest once they are decompressed: the decoder would reserve it.
fn check_compressed(message: &Message, body: &[u8]) -> Result<(), ArrowError> {
    let batch: Option<BatchHeader> = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
        _ => None,
    };
    let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else { return Ok(()) };
    let mut all = 0;
    for buffer in batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() > 0) {
        let from = usize::try_from(buffer.offset()).ok();
        let claimed = from.and_then(|from| body.get(from..)?.first_chunk::<8>().copied()).map(i64::from_le_bytes);
        // -1: not compressed after all.
        let claimed = claimed.filter(|&claimed| claimed >= -1);
        let claimed = claimed.ok_or_else(|| malformed("a buffer lies outside its batch"))?;
        all += u64::try_from(claimed).unwrap_or_default();
        if all > MAX_BODY {
            return Err(malformed(format!("a batch of more than {MAX_BODY} bytes once decompressed")));
        }
    }
    Ok(())
}

fn malformed(what: impl Into<String>) -> ArrowError {
    ArrowError::IpcError(what.into())
}
