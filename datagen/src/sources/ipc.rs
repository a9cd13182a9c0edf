//! Arrow IPC, as files and as streams. A file is a stream between two marks with an index behind it, and is read as one.
//!
//! The messages are taken apart here before the decoder sees them, so that a length is believed only once so many bytes
//! were there, and what a compressed buffer claims to hold stays within a limit.

use super::columns::{Batches, Columnar};
use crate::Error;
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::{MessageHeader, RecordBatch as BatchHeader, root_as_message};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// What a file begins with, padded to eight bytes.
const FILE_MARK: &[u8; 8] = b"ARROW1\0\0";
/// Eights of bytes that may follow it.
const MAX_PADDING: usize = 64;
const CONTINUATION: u32 = u32::MAX;
/// A schema of a hundred thousand columns fits.
const MAX_HEAD: u64 = 64 << 20;
/// The most that one batch may be, compressed or not; offsets of 32 bits end there.
const MAX_BODY: u64 = 2 << 30;

/// The messages of a stream, decoded.
pub(super) struct Messages {
    reader: BufReader<File>,
    decoder: StreamDecoder,
    /// Decoded and not handed on yet.
    ready: VecDeque<RecordBatch>,
    /// Whether there was a message.
    begun: bool,
    ended: bool,
}

/// Opens a file or stream.
pub(super) fn open(path: &Path) -> Result<Columnar<Messages>, Error> {
    let failed = |source| Error::Io { action: "opened", path: path.into(), source };
    let mut file = File::open(path).map_err(failed)?;
    let whole = ends_as_file(&mut file).map_err(failed)?;
    Columnar::new(path, || {
        let (reader, decoder, ready) = (BufReader::new(file), StreamDecoder::new(), VecDeque::new());
        let mut messages = Messages { reader, decoder, ready, begun: false, ended: false };
        let mut start = messages.start()?;
        if start.as_ref() == Some(FILE_MARK) {
            if !whole {
                return Err(malformed("its end is missing"));
            }
            // The mark is padded, up to a multiple of 64 bytes by some.
            start = messages.start()?;
            for _ in 0..MAX_PADDING {
                if start != Some([0; 8]) {
                    break;
                }
                start = messages.start()?;
            }
        }
        messages.proceed(start)?;
        Ok(messages)
    })
}

/// Whether the last bytes are those of a file; it is at its beginning again behind that.
fn ends_as_file(file: &mut File) -> std::io::Result<bool> {
    let mut end = [0; 6];
    let found = file.seek(SeekFrom::End(-6)).is_ok() && read_up_to(file, &mut end)? == end.len();
    file.seek(SeekFrom::Start(0))?;
    Ok(found && FILE_MARK.starts_with(&end))
}

impl Messages {
    /// The eight bytes that a message begins with; `None` at the end of the file.
    fn start(&mut self) -> Result<Option<[u8; 8]>, ArrowError> {
        let mut start = [0; 8];
        match read_up_to(&mut self.reader, &mut start)? {
            0 => Ok(None),
            8 => Ok(Some(start)),
            _ => Err(malformed("it ends in the middle of a message")),
        }
    }

    /// Goes on from what a message begins with.
    fn proceed(&mut self, start: Option<[u8; 8]>) -> Result<(), ArrowError> {
        // The first four bytes mark a message, the others are its length.
        let parts = start.map(|start| (u64::from_le_bytes(start) as u32, (u64::from_le_bytes(start) >> 32) as u32));
        match parts {
            Some((CONTINUATION, length)) => {
                self.begun = true;
                self.message(length)
            }
            _ if !self.begun => Err(malformed("it begins as neither a file nor a stream")),
            // A stream may end without saying so, and behind that of a file lies its index.
            _ => self.end(),
        }
    }

    /// Reads the message whose head has so many bytes and decodes it.
    fn message(&mut self, head_length: u32) -> Result<(), ArrowError> {
        if head_length == 0 {
            return self.end();
        }
        let head = self.take(u64::from(head_length), MAX_HEAD)?;
        let message = root_as_message(&head).map_err(|error| malformed(format!("a message is damaged: {error}")))?;
        let length = u64::try_from(message.bodyLength()).map_err(|_| malformed("a body of negative length"))?;
        let body = self.take(length, MAX_BODY)?;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
            _ => None,
        };
        if let Some(batch) = batch {
            check_compressed(batch, &body)?;
        }
        let framed = [&CONTINUATION.to_le_bytes()[..], &head_length.to_le_bytes(), &head].concat();
        self.decode(framed)?;
        self.decode(body)
    }

    /// A message whose body is empty is decoded when the next bytes come.
    fn decode(&mut self, bytes: Vec<u8>) -> Result<(), ArrowError> {
        let mut bytes = Buffer::from_vec(bytes);
        while !bytes.is_empty() {
            self.ready.extend(self.decoder.decode(&mut bytes)?);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ArrowError> {
        self.ended = true;
        self.decode([CONTINUATION.to_le_bytes(), [0; 4]].concat())
    }

    /// The next `length` bytes; memory grows with what is there, not with what is claimed.
    fn take(&mut self, length: u64, most: u64) -> Result<Vec<u8>, ArrowError> {
        if length > most {
            return Err(malformed(format!("a part of {length} bytes, and at most {most} are read")));
        }
        let mut bytes = Vec::new();
        (&mut self.reader).take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(malformed("it ends in the middle of a message"));
        }
        Ok(bytes)
    }
}

impl Batches for Messages {
    const FORMAT: &'static str = "Arrow IPC";

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        while self.ready.is_empty() && !self.ended {
            let start = self.start()?;
            self.proceed(start)?;
        }
        Ok(self.ready.pop_front())
    }
}

/// Refuses buffers that claim to be larger than anything honest once they are decompressed: the decoder would reserve it.
fn check_compressed(batch: BatchHeader, body: &[u8]) -> Result<(), ArrowError> {
    if batch.compression().is_none() {
        return Ok(());
    }
    let mut all = 0;
    for buffer in batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() > 0) {
        let from = usize::try_from(buffer.offset()).ok();
        let claimed = from.and_then(|from| body.get(from..)?.first_chunk::<8>().copied()).map(i64::from_le_bytes);
        // -1: not compressed after all.
        let claimed =
            claimed.filter(|&claimed| claimed >= -1).ok_or_else(|| malformed("a buffer lies outside its batch"))?;
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

/// Fills `bytes` as far as the reader goes.
fn read_up_to(reader: &mut impl Read, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match reader.read(&mut bytes[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
