//! Putting the slices of a run together: the result is, byte for byte, the dataset of a run that was never divided.

use super::derive::DerivedWriter;
use super::header::RunHeader;
use super::manifest::{Manifest, Origin, Slice};
use super::quotas::Quotas;
use super::reader::TraceReader;
use crate::Error;
use crate::sample::{Sample, Verdict};
use crate::spend;
use crate::tally::Tally;
use retort_model::observe::Observer;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::path::{Path, PathBuf};

/// A slice that is read row by row.
struct Part<'a> {
    dir: &'a Path,
    run_id: &'a str,
    samples: Peekable<Box<dyn Iterator<Item = Result<Sample, Error>> + 'a>>,
}

impl Part<'_> {
    /// The next row, which must be this sample of the problem that the slice has come to.
    fn next(&mut self, number: u32, problem: &mut Option<String>) -> Result<Sample, Error> {
        let refuse = |found: String| {
            let expected = format!("sample {number} of the next problem");
            Err(Error::Damaged { path: self.dir.into(), part: "the order of its rows", expected, found })
        };
        let Some(sample) = self.samples.next().transpose()? else { return refuse("the end".into()) };
        let uuid = problem.get_or_insert_with(|| sample.uuid.clone());
        if sample.sample != number || sample.uuid != *uuid || sample.run_id != self.run_id {
            return refuse(format!("sample {} of `{}`", sample.sample, sample.uuid));
        }
        Ok(sample)
    }

    /// The next row, where it is another sample of this problem.
    fn another(&mut self, problem: &Option<String>) -> Result<Option<Sample>, Error> {
        let same = |row: &Result<Sample, Error>| row.as_ref().is_ok_and(|row| Some(&row.uuid) == problem.as_ref());
        self.samples.next_if(same).transpose()
    }
}

/// Merges the complete slices in `dirs`, in any order, into a dataset at `out`, and what was spent on them. Every shard is
/// verified on the way.
///
/// # Errors
/// Where the slices are not all of one run, or one of them is missing, twice there or not finished, or the observer stops
/// it.
pub fn merge(dirs: &[PathBuf], out: &Path, observer: &dyn Observer) -> Result<(Manifest, Tally), Error> {
    let readers = dirs.iter().map(|dir| TraceReader::open(dir)).collect::<Result<Vec<_>, _>>()?;
    let (run, slices) = slices(&readers)?;
    let rows_per_shard = readers.first().map_or(1, |reader| reader.manifest().rows_per_shard);
    let mut writer = DerivedWriter::with_manifest(out, Manifest::new(run.clone(), None, rows_per_shard))?;
    if let Some(ledger) = spend::merged(&ledgers(&slices, run.n))? {
        writer.put_ledger(&ledger)?;
    }
    let run_id = run.run_id();
    let samples = |reader| -> Box<dyn Iterator<Item = _>> { Box::new(TraceReader::samples(reader)) };
    let part = |reader| Part { dir: TraceReader::dir(reader), run_id: &run_id, samples: samples(reader).peekable() };
    let mut parts: Vec<Part> = slices.into_iter().map(part).collect();
    let of = parts.len() as u64;
    for place in 0..run.problem_set.problems {
        if observer.cancelled() {
            return Err(Error::Interrupted);
        }
        // Below the number of parts, which are in memory.
        let part = &mut parts[(place % of) as usize];
        let mut push = |sample: Sample| {
            let position = place * u64::from(run.n) + u64::from(sample.sample);
            writer.go_on_with(position / u64::from(rows_per_shard))?;
            writer.push(sample)
        };
        let (mut problem, mut quotas) = (None, Quotas::new(run.quota, run.n, 1));
        for number in 0.. {
            let sample = part.next(number, &mut problem)?;
            let has_enough = quotas.add(0, number, sample.verdict == Verdict::Right);
            push(sample)?;
            if has_enough {
                break;
            }
        }
        // Those past the quota, where they were paid for.
        while let Some(sample) = part.another(&problem)? {
            push(sample)?;
        }
    }
    writer.finish()
}

/// Where the slices, in order, have written what they spent.
fn ledgers<'a>(slices: &[&'a TraceReader], n: u32) -> Vec<spend::Part<'a>> {
    let (n, of) = (u64::from(n), slices.len() as u64);
    let part = |(index, reader): (u64, &&'a TraceReader)| spend::Part {
        folder: reader.dir(),
        mark: reader.manifest().attempts.as_ref(),
        position: Box::new(move |position| (position / n * of + index) * n + position % n),
    };
    (0..).zip(slices).map(part).collect()
}

/// The run that all are slices of, and its slices in order.
fn slices(readers: &[TraceReader]) -> Result<(&RunHeader, Vec<&TraceReader>), Error> {
    let refuse = |reader: &TraceReader, why: String| Err(Error::NotASlice { path: reader.dir().into(), why });
    let mut run: Option<(&RunHeader, u32)> = None;
    let mut slices: BTreeMap<u32, &TraceReader> = BTreeMap::new();
    for reader in readers {
        let Origin::Run { header, slice } = &reader.manifest().origin else {
            return refuse(reader, "it was made from other datasets".into());
        };
        let Slice { index, of } = slice.unwrap_or(Slice { index: 0, of: 1 });
        let (first, expected) = *run.get_or_insert((header, of));
        let differences = first.differences(header);
        if !differences.is_empty() {
            return refuse(
                reader,
                format!("it is of another run than `{}`: {differences}", readers[0].dir().display()),
            );
        }
        if of != expected {
            return refuse(reader, format!("its run was divided by {of} and the first one's by {expected}"));
        }
        if header.quota.is_none() && reader.rows() < reader.manifest().samples() {
            let (found, samples) = (reader.rows(), reader.manifest().samples());
            return refuse(reader, format!("it holds {found} of its {samples} samples; finish its run first"));
        }
        if slices.insert(index, reader).is_some() {
            return refuse(reader, format!("slice {index}/{of} is there twice"));
        }
    }
    let Some((run, of)) = run else { return Err(Error::SlicesMissing { missing: "all".into(), of: 0 }) };
    let missing = (0..of).filter(|index| !slices.contains_key(index)).take(8);
    match missing.map(|index| index.to_string()).collect::<Vec<_>>() {
        missing if missing.is_empty() => Ok((run, slices.into_values().collect())),
        missing => Err(Error::SlicesMissing { missing: missing.join(", "), of }),
    }
}
