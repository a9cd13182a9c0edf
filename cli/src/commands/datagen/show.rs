//! `retort datagen show`.

use crate::args::Show;
use crate::output::say;
use anyhow::Result;
use retort_datagen::show::{self, Filter};
use retort_datagen::store::TraceReader;
use std::process::ExitCode;

pub fn run(args: &Show) -> Result<ExitCode> {
    let kept = if args.dropped { Some(false) } else { args.kept.then_some(true) };
    let filter = Filter {
        verdict: args.verdict,
        domain: args.domain.clone(),
        difficulty: args.difficulty.clone(),
        problem: args.problem.clone(),
        sample: args.sample,
        kept,
        reason: args.reason.clone(),
        text: args.text.clone(),
    };
    let reader = TraceReader::open(&args.dir)?;
    let mut shown = 0;
    for sample in reader.samples() {
        if shown == args.limit {
            break;
        }
        let sample = sample?;
        if !filter.lets_through(&sample) {
            continue;
        }
        shown += 1;
        match args.json {
            true => say!("{}", serde_json::to_string(&sample)?),
            false => say!("{}", show::show(&sample)),
        }
    }
    if shown == 0 && args.limit > 0 && !args.json {
        say!("no such trace among {}", reader.rows());
    }
    Ok(ExitCode::SUCCESS)
}
