//! `retort datagen ...`: traces made, kept, looked at.

mod asking;
mod batch;
mod export;
mod import;
mod keep;
mod look;

pub use asking::AskingRecipe;

use super::INTERRUPTED;
use crate::args::{Batch, Datagen, DatagenRun};
use crate::output::say;
use crate::progress::Progress;
use anyhow::Result;
use retort_datagen::gym::Split;
use retort_datagen::run::{Plan, Summary};
use retort_datagen::sample::Verdict;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

pub fn run(command: Datagen) -> Result<ExitCode> {
    match command {
        Datagen::Run(args) => generate(&args),
        Datagen::Stats { dir, json } => look::stats(&dir, json),
        Datagen::Show { dir, limit, verdict } => look::show(&dir, limit, verdict.as_deref()),
        Datagen::Verify { dir } => keep::verify(&dir),
        Datagen::Repair { dir } => keep::repair(&dir),
        Datagen::Merge(args) => keep::merge(&args),
        Datagen::Export(args) => export::run(&args),
        Datagen::Import(args) => import::run(&args),
        Datagen::Batch(Batch::Write(args)) => batch::write(&args),
        Datagen::Batch(Batch::Read(args)) => batch::read(&args),
    }
}

fn generate(args: &DatagenRun) -> Result<ExitCode> {
    let recipe = AskingRecipe::read(&args.asking)?;
    let (selection, limit) = (args.asking.selection(), args.asking.limit.map(NonZeroUsize::get));
    let problems = recipe.problems(&args.problems, Split::Train, recipe.seed, selection, limit)?;
    let progress = Progress::new();
    let (grace, budget) = (Duration::from_secs(args.asking.grace), args.endpoint.budget()?);
    let plan = Plan { slice: args.shard, grace, budget, ..recipe.plan(&args.problems)? };
    let teacher = args.endpoint.open(&args.teacher, recipe.endpoint.as_ref(), args.asking.memory, &progress)?;
    let summary = retort_datagen::run::run(&*teacher, &problems, &plan, &args.out, &progress)?;
    say!(
        "{} of {} samples in `{}`, {} right{}",
        summary.tally.samples(),
        summary.planned,
        args.out.display(),
        summary.tally.count(Verdict::Right),
        if summary.cost.is_empty() { String::new() } else { format!("; {}", summary.cost) }
    );
    if summary.interrupted {
        let Summary { generated, resumed, .. } = summary;
        say!("interrupted with {generated} new samples beside {resumed} older ones; the same command continues");
    }
    Ok(if summary.interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}
