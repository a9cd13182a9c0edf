//! Writing a dataset into one file of another shape: shard by shard, there whole or not at all.

use super::{Format, Think, shapes};
use crate::Error;
use crate::sample::Sample;
use crate::store::{Layout, TraceReader};
use arrow::json::LineDelimitedWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use retort_model::durable;
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Samples that are turned into columns at once.
const BATCH: usize = 256;

/// What is written, and how.
#[derive(Debug, Clone, Copy)]
pub struct Export {
    pub format: Format,
    /// How thinking is written; `None` for the format's own way.
    pub think: Option<Think>,
    /// Rows that are not kept for training, too.
    pub all: bool,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Rows of the file.
    pub rows: u64,
    /// Samples in them.
    pub samples: u64,
    /// Samples that are not kept, and so were left out.
    pub left_out: u64,
}

/// Writes the samples of `reader` to `out`, which must not be there yet. The rows that are held at once are those of a
/// shard; `openr1` also holds the samples of a problem until it has all of them.
pub fn export(reader: &TraceReader, export: Export, out: &Path) -> Result<Exported, Error> {
    let Export { format, think, all } = export;
    if let (Some(think), Format::Parquet | Format::Jsonl) = (think, format) {
        let (found, expected) = (think.as_str().into(), "left out: this format keeps thinking and answer in columns");
        return Err(Error::Setting { setting: "think", found, expected });
    }
    if let (Some(Think::Separate), Format::Openr1) = (think, format) {
        let (found, expected) = ("separate".into(), "a style within the text: this format has no column for thinking");
        return Err(Error::Setting { setting: "think", found, expected });
    }
    if out.exists() {
        return Err(Error::OutputTaken { path: out.into() });
    }
    let mut exported = Exported::default();
    let mut failure = None;
    let written = durable::replace_with(out, |temporary| {
        let result = File::create(temporary).map_err(|source| io(out, source)).and_then(|file| {
            let samples = Samples { reader, all };
            match format {
                Format::Parquet => parquet(&samples, file, out),
                Format::Jsonl => json_lines(&samples, file, out),
                Format::Openr1 => openr1(&samples, think.unwrap_or_default(), file, out),
                _ => rows(&samples, format, think.unwrap_or_default(), file, out),
            }
        });
        result.map(|done| exported = done).map_err(|error| {
            failure = Some(error);
            std::io::Error::other("the export stopped")
        })
    });
    match failure {
        Some(error) => return Err(error),
        None => written.map_err(|source| io(out, source))?,
    }
    exported.left_out = reader.rows() - exported.samples;
    Ok(exported)
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { action: "written", path: path.into(), source }
}

fn encoded(path: &Path) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Shard { action: "written", path: path.clone(), source }
}

/// The samples that are exported.
struct Samples<'a> {
    reader: &'a TraceReader,
    all: bool,
}

impl Samples<'_> {
    fn iter(&self) -> impl Iterator<Item = Result<Sample, Error>> {
        self.reader.samples().filter(|sample| self.all || sample.as_ref().map_or(true, |sample| sample.kept))
    }

    /// The samples in groups that become columns at once.
    fn groups(&self, mut each: impl FnMut(&[Sample]) -> Result<(), Error>) -> Result<Exported, Error> {
        let mut held = Vec::new();
        let mut exported = Exported::default();
        for sample in self.iter() {
            held.push(sample?);
            exported.samples += 1;
            if held.len() >= BATCH {
                each(&held)?;
                held.clear();
            }
        }
        if !held.is_empty() {
            each(&held)?;
        }
        exported.rows = exported.samples;
        Ok(exported)
    }
}

/// The columns of the shards, with what their schema says of them.
fn parquet(samples: &Samples, file: File, out: &Path) -> Result<Exported, Error> {
    let layout = Layout::of(samples.reader.manifest(), out)?;
    let failed = encoded(out);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(4 * BATCH))
        .build();
    let mut writer =
        ArrowWriter::try_new(file, layout.schema(), Some(properties)).map_err(|error| failed(error.into()))?;
    let exported = samples.groups(|group| {
        for batch in layout.batches(&group.iter().collect::<Vec<_>>()) {
            let written = batch.map_err(|error| error.into()).and_then(|batch| Ok(writer.write(&batch)?));
            written.map_err(&failed)?;
        }
        Ok(())
    })?;
    writer.close().map_err(|error| failed(error.into()))?;
    Ok(exported)
}

/// The same columns as lines of JSON.
fn json_lines(samples: &Samples, file: File, out: &Path) -> Result<Exported, Error> {
    let layout = Layout::of(samples.reader.manifest(), out)?;
    let failed = encoded(out);
    let mut writer = LineDelimitedWriter::new(BufWriter::new(file));
    let exported = samples.groups(|group| {
        for batch in layout.batches(&group.iter().collect::<Vec<_>>()) {
            let written = batch.and_then(|batch| writer.write(&batch));
            written.map_err(|error| failed(error.into()))?;
        }
        Ok(())
    })?;
    writer.finish().map_err(|error| failed(error.into()))?;
    writer.into_inner().flush().map_err(|source| io(out, source))?;
    Ok(exported)
}

/// A row for each sample.
fn rows(samples: &Samples, format: Format, think: Think, file: File, out: &Path) -> Result<Exported, Error> {
    let mut lines = JsonLines { file: BufWriter::new(file), out };
    let mut exported = Exported::default();
    for sample in samples.iter() {
        let sample = sample?;
        let row = match format {
            Format::Sharegpt => shapes::sharegpt(&sample, think),
            Format::PromptCompletion => shapes::prompt_completion(&sample, think),
            Format::AxolotlKd => {
                let dir = samples.reader.dir();
                shapes::axolotl_kd(&sample, think).ok_or_else(|| Error::NoTopK { path: dir.into() })?
            }
            _ => shapes::messages(&sample, think),
        };
        lines.write(&row)?;
        exported.samples += 1;
    }
    lines.file.flush().map_err(|source| io(out, source))?;
    exported.rows = exported.samples;
    Ok(exported)
}

/// A row for each problem, as soon as all of its samples came by.
fn openr1(samples: &Samples, think: Think, file: File, out: &Path) -> Result<Exported, Error> {
    let mut missing: HashMap<String, usize> = HashMap::new();
    for sample in samples.iter() {
        *missing.entry(sample?.uuid).or_default() += 1;
    }
    let mut lines = JsonLines { file: BufWriter::new(file), out };
    let mut held: HashMap<String, Vec<Sample>> = HashMap::new();
    let mut exported = Exported::default();
    for sample in samples.iter() {
        let sample = sample?;
        exported.samples += 1;
        // A run may have gone on since they were counted; the rest of a problem's samples then has a row of its own.
        let expected = missing.get(&sample.uuid).copied().unwrap_or(1);
        let uuid = sample.uuid.clone();
        let group = held.entry(uuid.clone()).or_default();
        group.push(sample);
        if group.len() >= expected {
            lines.write(&shapes::openr1(group, think))?;
            held.remove(&uuid);
            exported.rows += 1;
        }
    }
    lines.file.flush().map_err(|source| io(out, source))?;
    Ok(exported)
}

/// A file of JSON, one value a line.
struct JsonLines<'a> {
    file: BufWriter<File>,
    out: &'a Path,
}

impl JsonLines<'_> {
    fn write(&mut self, row: &Value) -> Result<(), Error> {
        writeln!(self.file, "{row}").map_err(|source| io(self.out, source))
    }
}
