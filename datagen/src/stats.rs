//! Statistics of a trace dataset, counted by polars over the columns they need, one part of the dataset at a time.

mod histogram;

#[cfg(test)]
mod tests;

pub use histogram::{Histogram, Quantiles};

use crate::Error;
use crate::columns::{Columns, failed};
use crate::curate::pass_rate;
use crate::sample::Verdict;
use crate::spend::{self, Spent};
use crate::store::TraceReader;
use crate::verify;
use polars::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;

/// In the order of the schema, as the reader of projections asks.
const COLUMNS: [&str; 10] = [
    "run_id",
    "uuid",
    "sample",
    "domain",
    "difficulty",
    "verdict",
    "kept",
    "drop_reason",
    "prompt_tokens",
    "completion_tokens",
];

/// What a dataset adds up to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TraceStats {
    pub samples: u64,
    /// Samples that the complete run would hold; at most so many where a quota ends problems.
    pub planned: u64,
    pub has_quota: bool,
    pub kept: u64,
    /// Different problems, in each run by itself.
    pub problems: u64,
    /// Problems with a kept sample.
    pub kept_problems: u64,
    /// Every verdict that occurs, in the order of [`Verdict::ALL`].
    pub verdicts: Vec<(Verdict, u64)>,
    /// By domain and difficulty, sorted.
    pub groups: Vec<Group>,
    /// Causes of dropping, the most frequent first.
    pub drop_causes: Vec<(String, u64)>,
    /// Problems by the share of their samples that is right, one number for each of [`PASS_RATES`].
    pub pass_rates: [u64; PASS_RATES.len()],
    pub prompt_tokens: Lengths,
    pub completion_tokens: Lengths,
    /// Completion tokens of kept samples.
    pub kept_tokens: u64,
    /// What the run's ledger says, where there is one.
    pub spent: Option<Spent>,
}

/// Classes of pass rates in percent; the ends, where a problem teaches nothing new or nothing at all, by themselves.
pub const PASS_RATES: [&str; 7] = ["0", "to 20", "to 40", "to 60", "to 80", "<100", "100"];

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

/// Lengths in tokens.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lengths {
    pub total: u64,
    pub quantiles: Quantiles,
    pub histogram: Histogram,
}

impl Lengths {
    fn of(mut lengths: Vec<u32>) -> Self {
        lengths.sort_unstable();
        let total = lengths.iter().map(|&length| u64::from(length)).sum();
        Self { total, quantiles: Quantiles::of(&lengths), histogram: Histogram::of(&lengths) }
    }
}

/// Counts so far, while parts are read.
#[derive(Default)]
struct Counts {
    verdicts: [u64; Verdict::ALL.len()],
    groups: BTreeMap<(String, String), Group>,
    causes: BTreeMap<String, u64>,
    /// (name of run and problem, sample, right, kept).
    outcomes: Vec<([u8; 16], u32, bool, bool)>,
    /// The quotas of runs that had one, and of their problems by the names above.
    quotas: BTreeMap<String, u32>,
    quota_of: HashMap<[u8; 16], NonZeroU32>,
    prompt_tokens: Vec<u32>,
    completion_tokens: Vec<u32>,
    kept_tokens: u64,
}

/// Computes the statistics of every sample in the dataset, sealed or not; sealed shards are verified first.
pub fn trace_stats(reader: &TraceReader) -> Result<TraceStats, Error> {
    let mut counts = Counts { quotas: reader.manifest().quotas(), ..Counts::default() };
    for part in 0..reader.parts() {
        counts.add(reader, Columns::read(reader, part, &COLUMNS)?)?;
    }
    let Counts { verdicts, groups, causes, mut outcomes, quotas, quota_of, .. } = counts;
    let Counts { prompt_tokens, completion_tokens, kept_tokens, .. } = counts;
    let mut drop_causes: Vec<(String, u64)> = causes.into_iter().collect();
    drop_causes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let samples = outcomes.len() as u64;
    let kept = outcomes.iter().filter(|&&(.., kept)| kept).count() as u64;
    outcomes.sort_unstable();
    // A mix may hold a row more than once, which is no second sample.
    outcomes.dedup_by(|next, first| {
        let same = (next.0, next.1) == (first.0, first.1);
        first.3 |= same && next.3;
        same
    });
    let (mut problems, mut kept_problems, mut pass_rates) = (0, 0, [0; PASS_RATES.len()]);
    for group in outcomes.chunk_by(|a, b| a.0 == b.0) {
        problems += 1;
        kept_problems += u64::from(group.iter().any(|&(.., kept)| kept));
        if let Some(rate) =
            pass_rate::estimate(group.iter().map(|&(_, _, right, _)| right), quota_of.get(&group[0].0).copied())
        {
            pass_rates[class(rate)] += 1;
        }
    }
    Ok(TraceStats {
        samples,
        planned: reader.manifest().samples(),
        has_quota: !quotas.is_empty(),
        kept,
        problems,
        kept_problems,
        verdicts: Verdict::ALL.into_iter().zip(verdicts).filter(|&(_, count)| count > 0).collect(),
        groups: groups.into_values().collect(),
        drop_causes,
        pass_rates,
        prompt_tokens: Lengths::of(prompt_tokens),
        completion_tokens: Lengths::of(completion_tokens),
        kept_tokens,
        spent: spend::spent(reader.dir())?,
    })
}

/// The place of a rate in [`PASS_RATES`].
fn class(rate: f64) -> usize {
    match rate {
        rate if rate <= 0.0 => 0,
        rate if rate >= 1.0 => PASS_RATES.len() - 1,
        rate => ((5.0 * rate).ceil() as usize).clamp(1, 5),
    }
}

impl Counts {
    fn add(&mut self, reader: &TraceReader, columns: Columns) -> Result<(), Error> {
        let (runs, uuids, verdicts) = (columns.texts("run_id")?, columns.texts("uuid")?, columns.texts("verdict")?);
        let (samples, kept) = (columns.counts("sample")?, columns.flags("kept")?);
        let completion_tokens = columns.counts("completion_tokens")?;
        for at in 0..columns.rows() {
            let right = verdicts[at] == Verdict::Right.as_str();
            let name = name(runs[at], uuids[at]);
            if let Some(quota) = self.quotas.get(runs[at]).copied().and_then(NonZeroU32::new) {
                self.quota_of.insert(name, quota);
            }
            self.outcomes.push((name, samples[at], right, kept[at]));
            self.kept_tokens += if kept[at] { u64::from(completion_tokens[at]) } else { 0 };
        }
        self.prompt_tokens.extend(columns.counts("prompt_tokens")?);
        self.completion_tokens.extend(completion_tokens);
        self.group(&columns.into_table()).map_err(|source| failed(reader, source))
    }

    fn group(&mut self, table: &DataFrame) -> PolarsResult<()> {
        let outcomes = table.group_by(["domain", "difficulty", "verdict"])?.select(["kept"]).count()?;
        let names = texts(&outcomes, "domain")?.zip(texts(&outcomes, "difficulty")?).zip(texts(&outcomes, "verdict")?);
        for (((domain, difficulty), verdict), count) in names.zip(counts(&outcomes)?) {
            // The shards' writer knows no other verdicts; a foreign one still counts as a sample.
            let verdict = Verdict::parse(verdict);
            if let Some(verdict) = verdict {
                self.verdicts[verdict as usize] += count;
            }
            let (domain, difficulty) = (domain.to_owned(), difficulty.to_owned());
            let key = (domain.clone(), difficulty.clone());
            let group = self.groups.entry(key).or_insert(Group { domain, difficulty, samples: 0, right: 0 });
            group.samples += count;
            group.right += if verdict == Some(Verdict::Right) { count } else { 0 };
        }
        let kept = table.column("kept")?.bool()?;
        let dropped = table.filter(&!kept)?;
        let reasons = dropped.group_by(["drop_reason"])?.select(["kept"]).count()?;
        for (reason, count) in texts(&reasons, "drop_reason")?.zip(counts(&reasons)?) {
            *self.causes.entry(verify::cause(reason).to_owned()).or_default() += count;
        }
        Ok(())
    }
}

/// A name of fixed size for a problem in a run.
fn name(run: &str, uuid: &str) -> [u8; 16] {
    let mut name = [0; 16];
    let hash = blake3::Hasher::new().update(run.as_bytes()).update(b" ").update(uuid.as_bytes()).finalize();
    name.copy_from_slice(&hash.as_bytes()[..16]);
    name
}

fn texts<'a>(table: &'a DataFrame, column: &str) -> PolarsResult<impl Iterator<Item = &'a str>> {
    Ok(table.column(column)?.str()?.iter().map(Option::unwrap_or_default))
}

/// The sizes of groups, which polars names after the column that it counted.
fn counts(table: &DataFrame) -> PolarsResult<impl Iterator<Item = u64>> {
    Ok(table.column("kept_count")?.u32()?.iter().map(|count| u64::from(count.unwrap_or_default())))
}
