//! A stream: the schema, then batches, each behind a mark and the length of its head.

use super::{MAX_BODY, MAX_HEAD, check_compressed, malformed, take};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::root_as_message;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read};

const CONTINUATION: [u8; 4] = [0xff; 4];

/// The messages of a stream, decoded.
pub(in crate::sources) struct Messages {
    reader: BufReader<File>,
    decoder: StreamDecoder,
    /// Decoded and not handed on yet.
    ready: VecDeque<RecordBatch>,
    ended: bool,
}

impl Messages {
    /// Reads the first message, the schema.
    pub(super) fn begin(reader: BufReader<File>) -> Result<Self, ArrowError> {
        let mut messages = Self { reader, decoder: StreamDecoder::new(), ready: VecDeque::new(), ended: false };
        match messages.advance()? {
            true => Ok(messages),
            false => Err(malformed("it is empty")),
        }
    }

    pub(super) fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        while self.ready.is_empty() && !self.ended {
            self.advance()?;
        }
        Ok(self.ready.pop_front())
    }

    /// Reads and decodes the next message; `false` at the end.
    fn advance(&mut self) -> Result<bool, ArrowError> {
        let mut mark = Vec::new();
        (&mut self.reader).take(4).read_to_end(&mut mark)?;
        // A stream may end without saying so.
        let head_length = match mark.is_empty() {
            true => 0,
            false if mark != CONTINUATION => {
                return Err(malformed("it begins as neither a file nor a stream, or is damaged"));
            }
            false => take(&mut self.reader, 4, 4)?.first_chunk().copied().map_or(0, u32::from_le_bytes),
        };
        if head_length == 0 {
            self.ended = true;
            self.decode([CONTINUATION, [0; 4]].concat())?;
            return Ok(false);
        }
        let head = take(&mut self.reader, u64::from(head_length), MAX_HEAD)?;
        let message = root_as_message(&head).map_err(|error| malformed(format!("a message is damaged: {error}")))?;
        let length = u64::try_from(message.bodyLength()).map_err(|_| malformed("a body of negative length"))?;
        let body = take(&mut self.reader, length, MAX_BODY)?;
        check_compressed(&message, &body)?;
        self.decode([&CONTINUATION[..], &head_length.to_le_bytes(), &head].concat())?;
        self.decode(body)?;
        Ok(true)
    }

    /// A message whose body is empty is decoded when the next bytes come.
    fn decode(&mut self, bytes: Vec<u8>) -> Result<(), ArrowError> {
        let mut bytes = Buffer::from_vec(bytes);
        while !bytes.is_empty() {
            self.ready.extend(self.decoder.decode(&mut bytes)?);
        }
        Ok(())
    }
}
