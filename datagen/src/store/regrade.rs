//! A run judged anew, without its model: the same samples, the verdicts of this version's verifiers. The run itself stays
//! as it is.

use super::derive::DerivedWriter;
use super::header::{Keep, RunHeader};
use super::manifest::Manifest;
use super::reader::TraceReader;
use crate::Error;
use crate::sample::{Sample, Verdict};
use crate::verify::{self, Judgement, Rule};
use serde::Serialize;
use std::path::Path;

/// A sample whose verdict is another one now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    pub uuid: String,
    pub sample: u32,
    pub gold: String,
    pub was: Verdict,
    pub is: Verdict,
    pub reason_was: String,
    pub reason: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Regraded {
    pub samples: Vec<Sample>,
    pub changes: Vec<Change>,
    /// The versions of the verifiers' rules, then and now.
    pub versions: [u32; 2],
}

/// Judges the complete run in `run` anew and writes it to `out`, which must be new or empty; by another rule where `verify`
/// is one.
pub fn regrade(run: &TraceReader, verify: Option<Rule>, out: &Path) -> Result<Regraded, Error> {
    let before = run.run()?;
    if before.quota.is_some() || run.rows() < run.manifest().samples() {
        let why = format!("{} of its {} samples are there", run.rows(), run.manifest().samples());
        return Err(Error::NotRegraded { path: run.dir().into(), why });
    }
    let header =
        RunHeader { verifier: verify::VERSION, verify: verify.unwrap_or(before.verify.clone()), ..before.clone() };
    let (verifier, run_id) = (header.verify.verifier()?, header.run_id());
    let (keep, rows_per_shard) = (header.keep, run.manifest().rows_per_shard);
    let versions = [before.verifier, header.verifier];
    let mut writer = DerivedWriter::with_manifest(out, Manifest::new(header, None, rows_per_shard))?;
    let mut regraded = Regraded { samples: vec![], changes: vec![], versions };
    for sample in run.samples() {
        let mut sample = sample?;
        let Judgement { verdict, reason } = verify::classify(&sample.as_problem(), &sample.completion(), &*verifier);
        if verdict != sample.verdict {
            regraded.changes.push(Change {
                uuid: sample.uuid.clone(),
                sample: sample.sample,
                gold: sample.answer.clone(),
                was: sample.verdict,
                is: verdict,
                reason_was: sample.verdict_reason.clone(),
                reason: reason.clone(),
            });
        }
        sample.kept = keep == Keep::All || verdict == Verdict::Right;
        sample.drop_reason = if sample.kept { String::new() } else { reason.clone() };
        (sample.run_id, sample.verdict, sample.verdict_reason) = (run_id.clone(), verdict, reason);
        writer.push(sample.clone())?;
        regraded.samples.push(sample);
    }
    writer.finish()?;
    Ok(regraded)
}
