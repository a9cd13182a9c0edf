//! `retort bench experts`: generation with experts on disk, with nothing of the files in the system's cache and with what a
//! first run left there.

use super::quality::Answers;
use crate::args::BenchExperts;
use crate::commands::INTERRUPTED;
use crate::memory;
use crate::open::{self, Embedded, ModelFiles};
use crate::output::say;
use anyhow::{Context, Result, bail};
use retort_datagen::gym::Split;
use retort_datagen::sources::Reading;
use retort_model::generate::Generate;
use serde_json::json;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

pub fn run(args: &BenchExperts) -> Result<ExitCode> {
    let model = ModelFiles::open(&args.model, Embedded::Teacher)?.within(Some(args.memory));
    let problems = open::problems(&args.problems, Split::HeldOut, 0, &Reading::default(), Some(args.batch.get()))?;
    let problems: Vec<String> = problems.into_iter().map(|problem| problem.problem).collect();
    let checkpoint = model.checkpoint()?;
    let (mut engine, streamed) = model.engine_and_stream(model.files.template()?)?;
    let Some(experts) = streamed else {
        bail!("`{}` fits into {} with all its experts: lower `--memory`", model.name, memory::mib(args.memory));
    };
    engine.slots = args.batch.get();
    for cache in ["cold", "warm"] {
        if cache == "cold" {
            checkpoint.files().try_for_each(forget)?;
        }
        let before = experts.bytes();
        let mut jobs = Answers::new(problems.clone(), args.new.get());
        let begin = Instant::now();
        engine.generate(&mut jobs)?;
        if crate::progress::cancelled() {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let tokens = jobs.tokens().len();
        say!(
            "{}",
            json!({
                "model": model.name, "cache": cache, "file_bytes": checkpoint.bytes(), "memory": args.memory,
                "batch": args.batch, "tokens": tokens, "tokens_per_second": tokens as f64 / begin.elapsed().as_secs_f64(),
                "expert_bytes_read": experts.bytes() - before, "peak_rss": memory::peak_resident(),
            })
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the system to drop what it has cached of a file; pages that are mapped and in use stay.
#[cfg(target_os = "linux")]
fn forget(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("`{}` could not be opened", path.display()))?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
        .with_context(|| format!("`{}` could not be dropped from the system's cache", path.display()))
}

#[cfg(not(target_os = "linux"))]
fn forget(path: &Path) -> Result<()> {
    bail!("there is no way here to drop `{}` from the system's cache", path.display())
}
