//! `retort evals regrade`: a run with the verdicts of this version's verifiers, and what changed.

use super::benchmark::{self, DEFINITION};
use super::print;
use crate::args::Regrade;
use crate::output::say;
use anyhow::Result;
use retort_datagen::store::{TraceReader, regrade};
use retort_evals::{Scored, Stems, metrics};
use retort_model::checkpoint::write_bytes;
use std::process::ExitCode;

/// Every change, one JSON object to a line.
const CHANGES: &str = "changes.jsonl";

/// Changes that are printed.
const SHOWN: usize = 20;

pub(super) fn run(args: &Regrade) -> Result<ExitCode> {
    let reader = TraceReader::open(&args.run)?;
    let definition = args.run.join(DEFINITION);
    let definition = if definition.is_file() { Some(benchmark::read(&definition)?) } else { None };
    let regraded = regrade(&reader, None, &args.out)?;
    let mut lines = String::new();
    for change in &regraded.changes {
        lines.push_str(&serde_json::to_string(change)?);
        lines.push('\n');
    }
    write_bytes(&args.out.join(CHANGES), lines.as_bytes())?;
    let header = reader.run()?;
    let stems = Stems::read(&args.run)?;
    stems.write(&args.out)?;
    let mut scored = Scored::from_samples(&header.generator.name, &regraded.samples, &stems)?;
    if let (Some(id), Some(definition)) = (&header.benchmark, &definition) {
        let filters = definition.generation.iter().flat_map(|generation| generation.filters.clone());
        let metrics = metrics::by_filter(&filters.collect::<Vec<_>>(), &regraded.samples)?;
        scored = scored.of_benchmark(id.clone(), metrics);
        write_bytes(&args.out.join(DEFINITION), definition.text.as_bytes())?;
    }
    if !args.json {
        let [was, is] = regraded.versions;
        let (changed, samples) = (regraded.changes.len(), regraded.samples.len());
        say!("{changed} of {samples} verdicts changed (rules of version {was}, now {is}); all are in {CHANGES}");
        for change in regraded.changes.iter().take(SHOWN) {
            let (was, is) = (change.was.as_str(), change.is.as_str());
            say!("  {} sample {}: {was} -> {is} ({})", change.uuid, change.sample, change.reason);
        }
    }
    print(&scored, &args.out, args.json)
}
