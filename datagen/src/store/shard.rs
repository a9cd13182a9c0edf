//! Samples as Arrow: the schema, and shards as bytes of an Arrow IPC file (zstd).

mod captured;
mod rollout;

pub(super) use captured::Optional;

use crate::sample::{Sample, Verdict};
use arrow::array::{
    Array, ArrayRef, BooleanArray, ListArray, RecordBatch, StringArray, StructArray, UInt32Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

/// A record batch holds at most about this much, since the offsets of its columns are 32 bits wide.
const BATCH_BYTES: usize = 256 << 20;

/// How the columns are to be read; it stands in every shard.
const CONVENTIONS: [(&str, &str); 6] = [
    ("retort.format", "traces 1"),
    ("retort.key", "run_id, uuid, sample; rows are in the order of the problems, then of sample"),
    (
        "retort.messages",
        "the chat; the last turn is the assistant's, with its thinking block as it was written: <think>reasoning</think>response",
    ),
    ("retort.verdict", "right, wrong, no_answer, truncated, unterminated, loop or undecided"),
    ("retort.reasons", "verdict_reason and drop_reason read `cause: detail`; drop_reason is empty where kept"),
    (
        "retort.token_ids",
        "ids of the completion, its end token included where one was written; empty where the generator does not tell",
    ),
];

fn message_fields() -> Fields {
    Fields::from(vec![Field::new("role", DataType::Utf8, false), Field::new("content", DataType::Utf8, false)])
}

fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, false))
}

fn schema(optional: Optional) -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let count = |name: &str| Field::new(name, DataType::UInt32, false);
    let ids = |name: &str| Field::new(name, DataType::List(item(DataType::UInt32)), false);
    let mut fields = vec![
        text("run_id"),
        text("uuid"),
        count("sample"),
        text("problem"),
        text("answer"),
        text("source"),
        text("domain"),
        text("difficulty"),
        Field::new("messages", DataType::List(item(DataType::Struct(message_fields()))), false),
        text("reasoning"),
        text("response"),
        text("finish_reason"),
        text("verdict"),
        text("verdict_reason"),
        Field::new("kept", DataType::Boolean, false),
        text("drop_reason"),
        count("prompt_tokens"),
        count("completion_tokens"),
        text("generator"),
        Field::new("seed", DataType::UInt64, false),
        ids("prompt_token_ids"),
        ids("token_ids"),
    ];
    fields.extend(optional.fields());
    Schema::new(fields)
}

/// The file that holds `rows`, with a schema of [`described`]. Equal input gives equal bytes.
pub(super) fn encode(rows: &[&Sample], schema: &SchemaRef, optional: Optional) -> Result<Vec<u8>, ArrowError> {
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD))?;
    let mut writer = FileWriter::try_new_with_options(Vec::new(), schema, options)?;
    for batch in batches(rows, schema, optional) {
        writer.write(&batch?)?;
    }
    writer.into_inner()
}

/// The schema with what it says of its columns and, in `facts` (names and JSON), of how they came about.
pub(super) fn described<'a>(facts: impl IntoIterator<Item = (&'a str, String)>, optional: Optional) -> SchemaRef {
    let conventions = CONVENTIONS.into_iter().chain(optional.conventions());
    let mut metadata: HashMap<String, String> =
        conventions.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    metadata.extend(facts.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Arc::new(schema(optional).with_metadata(metadata))
}

/// The rows as record batches, each of a size that its columns' offsets can hold.
pub(super) fn batches(
    rows: &[&Sample],
    schema: &SchemaRef,
    optional: Optional,
) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|row| {
            bytes += size(row);
            bytes <= BATCH_BYTES
        });
        let (batch, later) = rest.split_at(fitting.count().max(1).min(rest.len()));
        rest = later;
        let columns = || RecordBatch::try_new(schema.clone(), columns(batch, optional)?);
        (!batch.is_empty()).then(columns)
    })
}

/// An upper bound for what a row adds to its widest column, by adding up its unbounded ones.
fn size(row: &Sample) -> usize {
    let chat: usize = row.messages.iter().map(|(role, content)| role.len() + content.len()).sum();
    let ids = row.prompt_token_ids.len() + row.token_ids.len();
    chat + row.problem.len()
        + row.answer.len()
        + row.reasoning.len()
        + row.response.len()
        + 4 * ids
        + captured::size(row)
        + row.rollout.as_ref().map_or(0, |rollout| rollout.extracted.len())
        + 1024
}

/// The columns in the order of [`schema`].
fn columns(rows: &[&Sample], optional: Optional) -> Result<Vec<ArrayRef>, ArrowError> {
    let text = |get: fn(&Sample) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| get(row))))
    };
    let count = |get: fn(&Sample) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| get(row))))
    };
    let ids = |get: fn(&Sample) -> &[u32]| -> Result<ArrayRef, ArrowError> {
        let values = UInt32Array::from_iter_values(rows.iter().flat_map(|row| get(row).iter().copied()));
        let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| get(row).len()));
        Ok(Arc::new(ListArray::try_new(item(DataType::UInt32), offsets, Arc::new(values), None)?))
    };
    let mut columns = vec![
        text(|row| &row.run_id),
        text(|row| &row.uuid),
        count(|row| row.sample),
        text(|row| &row.problem),
        text(|row| &row.answer),
        text(|row| &row.source),
        text(|row| &row.domain),
        text(|row| &row.difficulty),
        messages(rows)?,
        text(|row| &row.reasoning),
        text(|row| &row.response),
        text(|row| &row.finish_reason),
        text(|row| row.verdict.as_str()),
        text(|row| &row.verdict_reason),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.kept)))),
        text(|row| &row.drop_reason),
        count(|row| row.prompt_tokens),
        count(|row| row.completion_tokens),
        text(|row| &row.generator),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.seed))),
        ids(|row| &row.prompt_token_ids)?,
        ids(|row| &row.token_ids)?,
    ];
    columns.extend(optional.columns(rows)?);
    Ok(columns)
}

fn messages(rows: &[&Sample]) -> Result<ArrayRef, ArrowError> {
    let turns = || rows.iter().flat_map(|row| row.messages.iter());
    let roles = StringArray::from_iter_values(turns().map(|(role, _)| role));
    let contents = StringArray::from_iter_values(turns().map(|(_, content)| content));
    let turns = StructArray::try_new(message_fields(), vec![Arc::new(roles), Arc::new(contents)], None)?;
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.messages.len()));
    Ok(Arc::new(ListArray::try_new(item(DataType::Struct(message_fields())), offsets, Arc::new(turns), None)?))
}

/// The rows of a shard whose bytes were verified.
pub(super) fn decode(bytes: Vec<u8>) -> Result<Vec<Sample>, ArrowError> {
    let reader = FileReader::try_new(Cursor::new(bytes), None)?;
    rows(&reader.schema(), reader)
}

/// The rows in batches of these columns.
pub(super) fn rows(
    columns: &Schema,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<Vec<Sample>, ArrowError> {
    if !Optional::all().any(|optional| columns.fields() == schema(optional).fields()) {
        let found: Vec<_> = columns.fields().iter().map(|field| field.name().clone()).collect();
        return Err(ArrowError::SchemaError(format!("its columns ({}) are not those of traces", found.join(", "))));
    }
    let mut rows = Vec::new();
    for batch in batches {
        let batch = batch?;
        let columns = Columns { batch: &batch };
        for at in 0..batch.num_rows() {
            rows.push(columns.row(at)?);
        }
    }
    Ok(rows)
}

/// Reads single rows out of a batch.
struct Columns<'a> {
    batch: &'a RecordBatch,
}

impl Columns<'_> {
    fn row(&self, at: usize) -> Result<Sample, ArrowError> {
        let verdict = self.text("verdict", at)?;
        let (targets, forced) = captured::read(self.batch, at)?;
        Ok(Sample {
            run_id: self.text("run_id", at)?,
            uuid: self.text("uuid", at)?,
            sample: self.count("sample", at)?,
            problem: self.text("problem", at)?,
            answer: self.text("answer", at)?,
            source: self.text("source", at)?,
            domain: self.text("domain", at)?,
            difficulty: self.text("difficulty", at)?,
            messages: self.messages(at)?,
            reasoning: self.text("reasoning", at)?,
            response: self.text("response", at)?,
            finish_reason: self.text("finish_reason", at)?,
            verdict: Verdict::parse(&verdict)
                .ok_or_else(|| ArrowError::SchemaError(format!("`{verdict}` is not a verdict")))?,
            verdict_reason: self.text("verdict_reason", at)?,
            kept: self.column::<BooleanArray>("kept")?.value(at),
            drop_reason: self.text("drop_reason", at)?,
            prompt_tokens: self.count("prompt_tokens", at)?,
            completion_tokens: self.count("completion_tokens", at)?,
            generator: self.text("generator", at)?,
            seed: self.column::<UInt64Array>("seed")?.value(at),
            prompt_token_ids: self.ids("prompt_token_ids", at)?,
            token_ids: self.ids("token_ids", at)?,
            forced,
            targets,
            rollout: rollout::read(self.batch, at)?,
        })
    }

    fn column<A: Array + 'static>(&self, name: &str) -> Result<&A, ArrowError> {
        downcast(self.batch.column_by_name(name).map(|column| column.as_ref()), name)
    }

    fn text(&self, name: &str, at: usize) -> Result<String, ArrowError> {
        Ok(self.column::<StringArray>(name)?.value(at).to_owned())
    }

    fn count(&self, name: &str, at: usize) -> Result<u32, ArrowError> {
        Ok(self.column::<UInt32Array>(name)?.value(at))
    }

    fn ids(&self, name: &str, at: usize) -> Result<Vec<u32>, ArrowError> {
        let list = self.column::<ListArray>(name)?.value(at);
        Ok(downcast::<UInt32Array>(Some(list.as_ref()), name)?.values().to_vec())
    }

    fn messages(&self, at: usize) -> Result<Vec<(String, String)>, ArrowError> {
        let turns = self.column::<ListArray>("messages")?.value(at);
        let turns = downcast::<StructArray>(Some(turns.as_ref()), "messages")?;
        let field = |name| downcast::<StringArray>(turns.column_by_name(name).map(|column| column.as_ref()), name);
        let (roles, contents) = (field("role")?, field("content")?);
        Ok((0..turns.len()).map(|turn| (roles.value(turn).to_owned(), contents.value(turn).to_owned())).collect())
    }
}

fn downcast<'a, A: Array + 'static>(column: Option<&'a dyn Array>, name: &str) -> Result<&'a A, ArrowError> {
    column
        .and_then(|column| column.as_any().downcast_ref())
        .ok_or_else(|| ArrowError::SchemaError(format!("the column `{name}` has another type")))
}
