//! The same rows in every format, and damaged files of each.

use super::*;
use arrow::array::{Array, ArrayRef, DictionaryArray, Int64Array, NullArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::io::Write;
use std::sync::Arc;

/// More rows than are read at once.
const ROWS: i64 = 150;

fn batch() -> RecordBatch {
    let questions = StringArray::from_iter_values((0..ROWS).map(|n| format!("What is {n} + 1?\n\u{e9}")));
    let answers = Int64Array::from_iter_values((0..ROWS).map(|n| n + 1));
    let subjects: DictionaryArray<Int32Type> = (0..ROWS).map(|n| if n % 2 == 0 { "even" } else { "odd" }).collect();
    let truth = StructArray::from(vec![(
        Arc::new(Field::new("gold", DataType::Int64, false)),
        Arc::new(answers.clone()) as ArrayRef,
    )]);
    let fields = Fields::from(vec![
        Field::new("question", DataType::Utf8, false),
        Field::new("answer", DataType::Int64, false),
        Field::new("subject", subjects.data_type().clone(), true),
        Field::new("truth", truth.data_type().clone(), false),
        Field::new("level", DataType::Null, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(questions),
        Arc::new(answers),
        Arc::new(subjects),
        Arc::new(truth),
        Arc::new(NullArray::new(ROWS as usize)),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn parquet_bytes(batch: &RecordBatch) -> Vec<u8> {
    let properties =
        WriterProperties::builder().set_compression(Compression::SNAPPY).set_max_row_group_row_count(Some(40));
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn ipc_bytes(batch: &RecordBatch, compression: Option<CompressionType>) -> [Vec<u8>; 2] {
    let options = || IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut file = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options()).unwrap();
    let mut stream = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options()).unwrap();
    for part in [batch.slice(0, 100), batch.slice(100, 0), batch.slice(100, 50)] {
        file.write(&part).unwrap();
        stream.write(&part).unwrap();
    }
    [file.into_inner().unwrap(), stream.into_inner().unwrap()]
}

/// The same rows as text, comma or tab between them.
fn delimited(sign: char) -> String {
    let rows = (0..ROWS).map(|n| {
        let subject = if n % 2 == 0 { "even" } else { "odd" };
        format!("\"What is {n} + 1?\n\u{e9}\"{sign}{}{sign}{subject}{sign}\n", n + 1)
    });
    format!("\u{feff}question{sign}answer{sign}subject{sign}level\n{}", rows.collect::<String>())
}

fn json_lines() -> String {
    let row = |n: i64| {
        let subject = if n % 2 == 0 { "even" } else { "odd" };
        let question = format!("What is {n} + 1?\n\u{e9}");
        serde_json::json!({"question": question, "answer": n + 1, "subject": subject}).to_string() + "\n"
    };
    (0..ROWS).map(row).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn every_format() -> Vec<(&'static str, Vec<u8>)> {
    let batch = batch();
    let [file, stream] = ipc_bytes(&batch, None);
    let [packed_file, packed_stream] = ipc_bytes(&batch, Some(CompressionType::ZSTD));
    vec![
        ("a.jsonl", json_lines().into_bytes()),
        ("a.jsonl.gz", gzip(&json_lines())),
        ("a.jsonl.zst", zstd::encode_all(json_lines().as_bytes(), 1).unwrap()),
        ("a.csv", delimited(',').into_bytes()),
        ("a.tsv", delimited('\t').into_bytes()),
        ("a.csv.gz", gzip(&delimited(','))),
        ("a.parquet", parquet_bytes(&batch)),
        ("file.arrow", file),
        ("stream.arrow", stream),
        ("packed-file.arrow", packed_file),
        ("packed-stream.feather", packed_stream),
    ]
}

#[test]
fn every_format_gives_the_same_problems() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in every_format() {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let problems = read(&path, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = (0..ROWS).map(|n| {
            let subject = if n % 2 == 0 { "even" } else { "odd" };
            Problem::new(format!("What is {n} + 1?\n\u{e9}"), (n + 1).to_string(), name, subject, "")
        });
        assert_eq!(problems, expected.collect::<Vec<_>>(), "{name}");
        assert_eq!(read(&path, Some(70)).unwrap(), problems[..70], "{name}");
    }
}

#[test]
fn places_count_lines_of_text_and_rows_of_columns() {
    let dir = tempfile::tempdir().unwrap();
    let columns = Columns { answer: Some("gold".into()), ..Columns::default() };
    let reading = Reading { columns, ..Reading::default() };
    for (name, bytes) in every_format() {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let message = super::super::read(&path, &reading, None).unwrap_err().to_string();
        let expected = match name {
            _ if name.contains(".jsonl") => "line 1 of",
            _ if name.contains(".csv") || name.contains(".tsv") => "line 2 of",
            _ => "row 1 of",
        };
        assert!(message.starts_with(expected), "{name}: {message}");
    }
    let path = dir.path().join("b.csv");
    std::fs::write(&path, "question,answer\na,1\n\"b\nc\",2\nd\n").unwrap();
    let error = read(&path, None).unwrap_err().to_string();
    assert!(error.starts_with("line 5 of") && error.contains("1 values for 2 columns"), "{error}");
    std::fs::write(&path, "question,question\na,1\n").unwrap();
    assert!(matches!(read(&path, None), Err(Error::MalformedFile { .. })));
    std::fs::write(&path, [b"question,answer\n\"".to_vec(), vec![b'x'; 65 << 20]].concat()).unwrap();
    assert!(matches!(read(&path, None), Err(Error::RowTooLong { .. })));
}

#[test]
fn damaged_files_are_errors_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for (name, bytes) in every_format().into_iter().filter(|(name, _)| !name.contains("sv") && !name.contains("jsonl"))
    {
        let path = dir.path().join(name);
        for round in 0..150 {
            let mut damaged = bytes.clone();
            match round % 3 {
                0 => damaged.truncate(random(bytes.len())),
                1 => damaged[random(bytes.len())] ^= 1 << random(8),
                // Lengths and offsets are what readers trust.
                _ => {
                    let at = random(bytes.len() - 8);
                    damaged[at..at + 8].copy_from_slice(&[i64::MAX, -1, 1 << 40, 0][random(4)].to_le_bytes());
                }
            }
            std::fs::write(&path, &damaged).unwrap();
            refused += usize::from(read(&path, None).is_err());
        }
    }
    assert!(refused > 300, "{refused} of 750 are refused");
}

#[test]
fn a_buffer_that_claims_to_be_huge_is_refused_before_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bomb.arrow");
    let [_, stream] = ipc_bytes(&batch(), Some(CompressionType::ZSTD));
    let sizes = batch().column(0).get_buffer_memory_size() as i64;
    let text = (0..ROWS).map(|n| format!("What is {n} + 1?\n\u{e9}").len() as i64).take(100).sum::<i64>();
    assert!(sizes > text);
    let at = stream.windows(8).position(|window| window == text.to_le_bytes()).expect("the length of the text");
    let mut bomb = stream;
    bomb[at..at + 8].copy_from_slice(&(1i64 << 45).to_le_bytes());
    std::fs::write(&path, bomb).unwrap();
    let message = read(&path, None).unwrap_err().to_string();
    assert!(message.contains("once decompressed"), "{message}");
}
