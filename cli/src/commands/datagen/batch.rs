//! `retort datagen batch write` and `read`: a run whose requests are answered elsewhere, by files.

use crate::args::{BatchRead, BatchRun, BatchWrite};
use crate::commands::INTERRUPTED;
use crate::output::say;
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use retort_datagen::Error;
use retort_datagen::gym::Split;
use retort_datagen::problem::Problem;
use retort_datagen::run::{self, Plan};
use retort_datagen::sample::Verdict;
use retort_datagen::store::TraceReader;
use retort_model::durable;
use retort_teacher::endpoint::{Batch, Report};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;

use super::AskingRecipe;

/// Problems, plan and model of the run that both commands mean.
fn resolved(args: &BatchRun) -> Result<(Vec<Problem>, Plan, Batch)> {
    let recipe = AskingRecipe::read(&args.asking)?;
    let given = [("--memory", args.asking.place.memory.is_some()), ("--device", args.asking.place.on.device.is_some())];
    if let Some((flag, _)) = given.into_iter().find(|(_, given)| *given) {
        bail!("`{flag}` is for a model that runs here, and a batch is answered elsewhere");
    }
    let (selection, limit) = (args.asking.part.selection(), args.asking.limit.map(NonZeroUsize::get));
    let problems = recipe.problems(&args.problems, Split::Train, recipe.seed, selection, limit)?;
    let batch = Batch::new(&args.teacher_model, recipe.endpoint.clone().unwrap_or_default())?;
    Ok((problems, recipe.plan(&args.problems)?, batch))
}

pub fn write(args: &BatchWrite) -> Result<ExitCode> {
    let (problems, plan, batch) = resolved(&args.run)?;
    if args.out.exists() {
        return Err(Error::OutputTaken { path: args.out.clone() }.into());
    }
    let mut count = 0u64;
    let mut failure = None;
    let written = durable::replace_with(&args.out, |temporary| {
        let mut file = BufWriter::new(File::create(temporary)?);
        let mut all = || -> Result<()> {
            for (name, request) in run::requests(&problems, &plan)? {
                writeln!(file, "{}", batch.line(&name, &request)?)?;
                count += 1;
            }
            Ok(file.flush()?)
        };
        all().map_err(|error| {
            failure = Some(error);
            std::io::Error::other("the requests could not be written")
        })
    });
    match failure {
        Some(error) => return Err(error),
        None => written.with_context(|| format!("`{}` could not be written", args.out.display()))?,
    }
    say!("{count} requests in `{}`", args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// The first names of a list.
fn names(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown =
        names.iter().take(SHOWN).map(|name| format!("`{}`", name.escape_debug())).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

/// Names by what is said of them.
fn by_reason(said: &[(String, String)]) -> BTreeMap<&str, Vec<String>> {
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, reason) in said {
        by_reason.entry(reason).or_default().push(name.clone());
    }
    by_reason
}

pub fn read(args: &BatchRead) -> Result<ExitCode> {
    let (problems, plan, batch) = resolved(&args.run)?;
    let keys = run::requests(&problems, &plan)?.map(|(name, _)| name).collect();
    let results = batch.results(&args.results, keys)?;
    let done = run::run(&results, &problems, &plan, &args.out, &Progress::new());
    let Report { unknown, repeated, implausible, failed, missing } = results.report();
    if !unknown.is_empty() {
        say!("{} results belong to no request of this run: {}", unknown.len(), names(&unknown));
    }
    if !repeated.is_empty() {
        say!("{} results repeat a request, whose first whole result counts: {}", repeated.len(), names(&repeated));
    }
    for (stated, some) in by_reason(&implausible) {
        say!(
            "{} results say that they used {stated}, which is implausible and not counted: {}",
            some.len(),
            names(&some)
        );
    }
    for (reason, some) in by_reason(&failed) {
        say!("{} results make no sample: {reason}: {}", some.len(), names(&some));
    }
    let complete = match done {
        Ok(summary) => summary.is_complete(),
        // What the file has no answer to is asked for again by whoever sends the rest.
        Err(Error::Unanswered { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    let samples = TraceReader::open(&args.out)?;
    let right = samples.samples().filter(|sample| sample.as_ref().is_ok_and(|sample| sample.verdict == Verdict::Right));
    let (right, planned) = (right.count(), samples.manifest().samples());
    say!("{} of {planned} samples in `{}`, {right} right", samples.rows(), args.out.display());
    if !complete {
        say!("{} requests failed and {missing} have no result; more results continue the dataset", failed.len());
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(INTERRUPTED) })
}
