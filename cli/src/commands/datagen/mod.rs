//! `retort datagen ...`: traces made, kept, looked at.

mod asking;
mod batch;
mod export;
mod import;
mod keep;
mod page;
mod select;
mod show;
mod stats;

pub use asking::AskingRecipe;

use super::INTERRUPTED;
use crate::args::{Batch, Datagen, DatagenRun};
use crate::output::say;
use crate::progress::Progress;
use anyhow::Result;
use retort_datagen::gym::Split;
use retort_datagen::run::{Plan, Summary};
use retort_datagen::sample::Verdict;
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::time::Duration;

pub fn run(command: Datagen) -> Result<ExitCode> {
    match command {
        Datagen::Run(args) => generate(&args),
        Datagen::Stats { dir, json } => stats::run(&dir, json),
        Datagen::Show(args) => show::run(&args),
        Datagen::Page(args) => page::run(&args),
        Datagen::Verify { dir } => keep::verify(&dir),
        Datagen::Repair { dir } => keep::repair(&dir),
        Datagen::Merge(args) => keep::merge(&args),
        Datagen::Select(args) => select::run(&args),
        Datagen::Export(args) => export::run(&args),
        Datagen::Import(args) => import::run(&args),
        Datagen::Batch(Batch::Write(args)) => batch::write(&args),
        Datagen::Batch(Batch::Read(args)) => batch::read(&args),
    }
}

fn generate(args: &DatagenRun) -> Result<ExitCode> {
    let recipe = AskingRecipe::read(&args.asking)?;
    let (selection, limit) = (args.asking.part.selection(), args.asking.limit.map(NonZeroUsize::get));
    let problems = recipe.problems(&args.problems, Split::Train, recipe.seed, selection, limit)?;
    let progress = Progress::new();
    let (grace, budget) = (Duration::from_secs(args.asking.grace), args.endpoint.budget()?);
    let quota = args.quota.map(NonZeroU32::get).or(recipe.quota);
    let plan = Plan { slice: args.shard, quota, grace, budget, ..recipe.plan(&args.problems)? };
    let teacher = args.endpoint.open(&args.teacher, recipe.endpoint.as_ref(), args.asking.here(), &progress)?;
    let summary = retort_datagen::run::run(&*teacher, &problems, &plan, &args.out, &progress)?;
    say!(
        "{} of {} samples in `{}`, {} right{}",
        summary.tally.samples(),
        summary.planned,
        args.out.display(),
        summary.tally.count(Verdict::Right),
        if summary.cost.is_empty() { String::new() } else { format!("; {}", summary.cost) }
    );
    if summary.left_out > 0 {
        say!("{} samples in flight were left out: their problems had their quota before them", summary.left_out);
    }
    if summary.interrupted {
        let Summary { generated, resumed, .. } = summary;
        say!("interrupted with {generated} new samples beside {resumed} older ones; the same command continues");
    }
    Ok(if summary.interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}
