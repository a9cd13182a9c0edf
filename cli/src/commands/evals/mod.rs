//! `retort evals ...`: score models, compare their scores, grade answers.

mod benchmark;
mod regrade;

use super::INTERRUPTED;
use super::datagen::AskingRecipe;
use crate::args::{Compare, Evals, EvalsRun};
use crate::output::say;
use crate::progress::Progress;
use anyhow::{Result, bail};
use retort_datagen::gym::Split;
use retort_datagen::problem::Problem;
use retort_datagen::run::{Plan, Summary};
use retort_datagen::sample::Sample;
use retort_evals::learning::Learning;
use retort_evals::{Context, EvalRun, Role, Runs, Scored, Stems, budget, compare, same_settings, table};
use retort_model::generate::Generate;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

pub fn run(command: Evals) -> Result<ExitCode> {
    match command {
        Evals::Run(args) => match benchmark::find(&args.benchmark)? {
            Some(definition) => match args.shots {
                Some(shots) => benchmark::run(&args, &definition.with_shots(shots)?),
                None => benchmark::run(&args, &definition),
            },
            None => score(&args),
        },
        Evals::Benchmarks { name } => benchmark::show(name.as_deref()),
        Evals::Regrade(args) => regrade::run(&args),
        Evals::Compare(args) => compare_runs(&args),
        Evals::Grade { file } => grade(&file),
    }
}

/// An eval run is a datagen run over a benchmark's problems.
pub fn evaluate(generator: &dyn Generate, problems: &[Problem], plan: &Plan, out: &Path) -> Result<Summary> {
    Ok(retort_datagen::run::run(generator, problems, plan, out, &Progress::new())?)
}

/// The samples of a finished run.
pub fn samples(run: &Path) -> Result<Vec<Sample>> {
    Ok(EvalRun::read(run)?.samples)
}

fn score(args: &EvalsRun) -> Result<ExitCode> {
    if args.data.is_some() || args.bos || args.shots.is_some() || args.harness_out.is_some() {
        bail!(
            "`--data`, `--bos`, `--shots` and `--harness-out` are for benchmarks with a definition, and `{}` is data",
            args.benchmark
        );
    }
    let recipe = AskingRecipe::read(&args.asking)?;
    if recipe.quota.is_some() {
        bail!("`quota` is for traces: a score needs every sample");
    }
    let (selection, limit) = (args.asking.part.selection(), args.asking.limit.map(NonZeroUsize::get));
    let problems = recipe.problems(&args.benchmark, Split::HeldOut, recipe.seed, selection, limit)?;
    let progress = Progress::new();
    let model = args.endpoint.open(&args.model, recipe.endpoint.as_ref(), args.asking.here(), &progress)?;
    let (grace, budget) = (Duration::from_secs(args.asking.grace), args.endpoint.budget()?);
    let plan = Plan { grace, budget, ..recipe.plan(&args.benchmark)? };
    print_score(&*model, &problems, &plan, &args.out, args.json)
}

/// Runs `engine` over `problems`, writes `score.json` into the run's folder and prints the score.
pub fn print_score(
    engine: &dyn Generate,
    problems: &[Problem],
    plan: &Plan,
    out: &Path,
    json: bool,
) -> Result<ExitCode> {
    if evaluate(engine, problems, plan, out)?.interrupted {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    print(&Scored::from_samples(engine.name(), &samples(out)?, &Stems::default())?, out, json)
}

/// Writes `score.json` into the run's folder and prints the score.
fn print(scored: &Scored, out: &Path, json: bool) -> Result<ExitCode> {
    let document = serde_json::to_string_pretty(scored)?;
    retort_model::checkpoint::write_bytes(&out.join("score.json"), document.as_bytes())?;
    if json {
        say!("{document}");
    } else {
        say!("{}", table::score(scored).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn compare_runs(args: &Compare) -> Result<ExitCode> {
    let read = |role: Role, run: &Path| EvalRun::read(run)?.finished(role.as_str());
    let teacher = read(Role::Teacher, &args.teacher)?;
    let other = |role, run: &Path| {
        let run = read(role, run)?;
        same_settings((Role::Teacher, &teacher), (role, &run))?;
        Ok::<_, retort_evals::Error>(run)
    };
    let student = other(Role::Student, &args.student)?;
    let base = args.base.as_deref().map(|run| other(Role::Base, run)).transpose()?;
    let control = args.control.as_deref().map(|run| other(Role::Control, run)).transpose()?;
    let runs = Runs {
        teacher: &teacher.samples,
        student: &student.samples,
        base: base.as_ref().map(|run| run.samples.as_slice()),
        control: control.as_ref().map(|run| run.samples.as_slice()),
        stems: &teacher.stems,
    };
    let models = [
        (Role::Teacher, Some(&teacher)),
        (Role::Base, base.as_ref()),
        (Role::Control, control.as_ref()),
        (Role::Student, Some(&student)),
    ];
    let models: Vec<(Role, &EvalRun)> = models.into_iter().filter_map(|(role, run)| Some((role, run?))).collect();
    let mut report = compare(&runs, Context { facts: teacher.facts(), ..Context::default() })?;
    let others = args.budget.iter().map(|run| EvalRun::read(run)?.finished(&format!("`{}`", run.display())));
    report.budgets = budget::sweep(&models, &others.collect::<Result<Vec<_>, _>>()?)?;
    report.learning = args.curves.iter().map(|run| Learning::read(run)).collect::<Result<_, _>>()?;
    report.write(&args.out)?;
    if args.json {
        say!("{}", report.to_json()?.trim_end());
    } else {
        say!("{}\nreport: {}", table::render(&report), args.out.join("report.html").display());
    }
    Ok(ExitCode::SUCCESS)
}

/// One JSON line out per line in, as soon as it is graded.
fn grade(file: &Path) -> Result<ExitCode> {
    for grade in retort_datagen::verify::grade_file(file)? {
        let grade = grade?;
        say!("{}", serde_json::json!({ "verdict": grade.verdict.as_str(), "reason": grade.reason }));
    }
    Ok(ExitCode::SUCCESS)
}
