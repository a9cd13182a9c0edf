//! Statistics of a trace dataset, computed by polars over the columns they need.

use crate::Error;
use crate::sample::Verdict;
use crate::store::TraceReader;
use crate::verify;
use polars::prelude::*;
use std::collections::BTreeMap;
use std::io::Cursor;

#[cfg(test)]
mod tests;

/// In the order of the schema, as the reader of projections asks.
const COLUMNS: [&str; 7] =
    ["domain", "difficulty", "verdict", "kept", "drop_reason", "prompt_tokens", "completion_tokens"];

/// What a dataset adds up to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TraceStats {
    pub samples: u64,
    /// Samples that the complete run would hold.
    pub planned: u64,
    pub kept: u64,
    /// Every verdict that occurs, in the order of [`Verdict::ALL`].
    pub verdicts: Vec<(Verdict, u64)>,
    /// By domain and difficulty, sorted.
    pub groups: Vec<Group>,
    /// Causes of dropping, the most frequent first.
    pub drop_causes: Vec<(String, u64)>,
    pub prompt_tokens: Quantiles,
    pub completion_tokens: Quantiles,
}

/// The samples of one domain and difficulty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub domain: String,
    pub difficulty: String,
    pub samples: u64,
    pub right: u64,
}

impl Group {
    /// In [0, 1]; a group has at least one sample.
    pub fn pass_rate(&self) -> f64 {
        self.right as f64 / self.samples as f64
    }
}

/// Of a length in tokens; quantiles are values that occur (nearest rank).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quantiles {
    pub mean: f64,
    pub min: f64,
    pub p10: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
}

/// Computes the statistics of every sample in the dataset, sealed or not; sealed shards are verified first.
pub fn trace_stats(reader: &TraceReader) -> Result<TraceStats, Error> {
    let mut table: Option<DataFrame> = None;
    for file in reader.ipc_files() {
        let part = project(file?).map_err(|source| failed(reader, source))?;
        table = match table {
            None => Some(part),
            Some(table) => Some(table.vstack(&part).map_err(|source| failed(reader, source))?),
        };
    }
    let planned = reader.manifest().samples();
    match table {
        Some(table) => summarise(&table, planned).map_err(|source| failed(reader, source)),
        None => Ok(TraceStats { planned, ..TraceStats::default() }),
    }
}

fn failed(reader: &TraceReader, source: PolarsError) -> Error {
    Error::Statistics { path: reader.dir().into(), source: source.into() }
}

fn project(file: Vec<u8>) -> PolarsResult<DataFrame> {
    let columns = COLUMNS.iter().map(|&column| column.to_owned()).collect();
    IpcReader::new(Cursor::new(file)).with_columns(Some(columns)).finish()
}

fn summarise(table: &DataFrame, planned: u64) -> PolarsResult<TraceStats> {
    let mut verdicts = [0; Verdict::ALL.len()];
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    let outcomes = table.group_by(["domain", "difficulty", "verdict"])?.select(["kept"]).count()?;
    let names = texts(&outcomes, "domain")?.zip(texts(&outcomes, "difficulty")?).zip(texts(&outcomes, "verdict")?);
    for (((domain, difficulty), verdict), count) in names.zip(counts(&outcomes)?) {
        // The shards' writer knows no other verdicts; a foreign one still counts as a sample.
        let verdict = Verdict::parse(verdict);
        if let Some(verdict) = verdict {
            verdicts[verdict as usize] += count;
        }
        let (domain, difficulty) = (domain.to_owned(), difficulty.to_owned());
        let key = (domain.clone(), difficulty.clone());
        let group = groups.entry(key).or_insert(Group { domain, difficulty, samples: 0, right: 0 });
        group.samples += count;
        group.right += if verdict == Some(Verdict::Right) { count } else { 0 };
    }

    let kept = table.column("kept")?.bool()?;
    let dropped = table.filter(&!kept)?;
    let reasons = dropped.group_by(["drop_reason"])?.select(["kept"]).count()?;
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in texts(&reasons, "drop_reason")?.zip(counts(&reasons)?) {
        *causes.entry(verify::cause(reason)).or_default() += count;
    }
    let mut drop_causes: Vec<(String, u64)> = causes.iter().map(|(&cause, &count)| (cause.to_owned(), count)).collect();
    drop_causes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));

    Ok(TraceStats {
        samples: table.height() as u64,
        planned,
        kept: (table.height() - dropped.height()) as u64,
        verdicts: Verdict::ALL.into_iter().zip(verdicts).filter(|&(_, count)| count > 0).collect(),
        groups: groups.into_values().collect(),
        drop_causes,
        prompt_tokens: quantiles(table, "prompt_tokens")?,
        completion_tokens: quantiles(table, "completion_tokens")?,
    })
}

fn quantiles(table: &DataFrame, column: &str) -> PolarsResult<Quantiles> {
    let lengths = table.column(column)?.u32()?;
    let at = |share| Ok::<_, PolarsError>(lengths.quantile(share, QuantileMethod::Nearest)?.unwrap_or_default());
    Ok(Quantiles {
        mean: lengths.mean().unwrap_or_default(),
        min: at(0.0)?,
        p10: at(0.1)?,
        p50: at(0.5)?,
        p90: at(0.9)?,
        p99: at(0.99)?,
        max: at(1.0)?,
    })
}

fn texts<'a>(table: &'a DataFrame, column: &str) -> PolarsResult<impl Iterator<Item = &'a str>> {
    Ok(table.column(column)?.str()?.iter().map(Option::unwrap_or_default))
}

/// The sizes of groups, which polars names after the column that it counted.
fn counts(table: &DataFrame) -> PolarsResult<impl Iterator<Item = u64>> {
    Ok(table.column("kept_count")?.u32()?.iter().map(|count| u64::from(count.unwrap_or_default())))
}
