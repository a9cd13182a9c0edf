//! A file: its index, at the end, holds the schema and where each batch lies.

use super::{MARK, MAX_BODY, MAX_HEAD, check_compressed, malformed, take};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{Block, root_as_footer, root_as_message};
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

/// The length of the index and the mark behind it.
const END: usize = 4 + MARK.len();

/// The batches of a file.
pub(crate) struct Indexed<R> {
    file: R,
    schema: SchemaRef,
    decoder: FileDecoder,
    batches: std::vec::IntoIter<Block>,
}

impl<R: Read + Seek> Indexed<R> {
    /// Reads the index and the dictionaries.
    pub(crate) fn open(mut file: R) -> Result<Self, ArrowError> {
        let length = file.seek(SeekFrom::End(0))?;
        let end_at = length.checked_sub(END as u64).ok_or_else(|| malformed("it is too short"))?;
        file.seek(SeekFrom::Start(end_at))?;
        let end = take(&mut file, END as u64, END as u64)?;
        let end = end.first_chunk().copied().ok_or_else(|| malformed("it is too short"))?;
        let index_length = read_footer_length(end).map_err(|_| malformed("its end is missing"))? as u64;
        let index_at =
            end_at.checked_sub(index_length).ok_or_else(|| malformed("its index is longer than the file"))?;
        file.seek(SeekFrom::Start(index_at))?;
        let index = take(&mut file, index_length, MAX_HEAD)?;
        let index = root_as_footer(&index).map_err(|error| malformed(format!("its index is damaged: {error}")))?;
        let schema = index.schema().ok_or_else(|| malformed("its index has no schema"))?;
        let schema = Arc::new(try_fb_to_schema(schema)?);
        let blocks = |blocks: Option<_>| -> Vec<Block> { blocks.into_iter().flatten().copied().collect() };
        let (dictionaries, batches) = (blocks(index.dictionaries()), blocks(index.recordBatches()));
        let decoder = FileDecoder::new(schema.clone(), index.version());
        let mut indexed = Self { file, schema, decoder, batches: batches.into_iter() };
        for block in dictionaries {
            let bytes = indexed.bytes(&block)?;
            indexed.decoder.read_dictionary(&block, &bytes)?;
        }
        Ok(indexed)
    }

    /// The columns, with what the file says of them.
    pub(crate) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        while let Some(block) = self.batches.next() {
            let bytes = self.bytes(&block)?;
            if let Some(batch) = self.decoder.read_record_batch(&block, &bytes)? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// The head and body of a message.
    fn bytes(&mut self, block: &Block) -> Result<Buffer, ArrowError> {
        let sizes = [i64::from(block.metaDataLength()), block.bodyLength(), block.offset()];
        let [head, body, at] = sizes.map(u64::try_from);
        let (Ok(head), Ok(body), Ok(at)) = (head, body, at) else {
            return Err(malformed("its index has a negative length"));
        };
        if head > MAX_HEAD {
            return Err(malformed(format!("a message's head of {head} bytes")));
        }
        self.file.seek(SeekFrom::Start(at))?;
        let bytes = take(&mut self.file, head.saturating_add(body), MAX_HEAD + MAX_BODY)?;
        let (head, body) = bytes.split_at(head as usize);
        // The length stands before the message, and in newer files a mark before that.
        let skipped = if head.starts_with(&[0xff; 4]) { 8 } else { 4 };
        let message = head.get(skipped..).unwrap_or_default();
        let message = root_as_message(message).map_err(|error| malformed(format!("a message is damaged: {error}")))?;
        check_compressed(&message, body)?;
        Ok(Buffer::from_vec(bytes))
    }
}
