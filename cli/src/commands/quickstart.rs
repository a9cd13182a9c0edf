//! `retort quickstart`: the pipeline, read from top to bottom.

use super::datagen::AskingRecipe;
use super::distill::{self, DistillRecipe, Inputs};
use super::{INTERRUPTED, evals};
use crate::args::Quickstart;
use crate::open::{Embedded, ModelFiles};
use crate::output::say;
use crate::progress::Progress;
use crate::recipe;
use anyhow::{Context as _, Result, bail};
use retort_datagen::gym::Split;
use retort_datagen::sample::Sample;
use retort_datagen::sources::Selection;
use retort_datagen::store::TraceReader;
use retort_distill::sft::Target;
use retort_evals::benchmark::Benchmark;
use retort_evals::{Context, Runs, Stems, compare, table};
use retort_model::checkpoint::write_bytes;
use retort_model::files::{parse_json, read_text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

const RECIPE: &str = include_str!("../../recipes/quickstart.toml");

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuickstartRecipe {
    problems: String,
    traces: Traces,
    control: Control,
}

/// Everything that a quickstart was run with, as it is written to `recipe.toml`.
#[derive(Serialize)]
struct Resolved<'a> {
    seed: u64,
    problems: &'a str,
    traces: &'a Traces,
    control: &'a Control,
    student: &'a DistillRecipe,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Traces {
    limit: usize,
    asking: AskingRecipe,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Control {
    learning_rates: Vec<f64>,
    /// Looks at the validation problems without a lower loss after which a run stops.
    patience: u32,
}

/// Wall-clock seconds of each stage; kept on disk, so that a continued run reports all of them.
struct Stopwatch {
    path: PathBuf,
    seconds: BTreeMap<String, f64>,
}

impl Stopwatch {
    fn open(out: &Path) -> Result<Self> {
        let path = out.join("seconds.json");
        let seconds = if path.is_file() { parse_json(&read_text(&path)?, &path)? } else { BTreeMap::new() };
        Ok(Self { path, seconds })
    }

    /// Runs a stage and adds its time.
    fn time<R>(&mut self, stage: &str, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let begin = Instant::now();
        let result = work()?;
        *self.seconds.entry(stage.into()).or_default() += begin.elapsed().as_secs_f64();
        write_bytes(&self.path, serde_json::to_string_pretty(&self.seconds)?.as_bytes())?;
        Ok(result)
    }
}

pub fn run(args: &Quickstart) -> Result<ExitCode> {
    if let Some(set) = args.set.iter().find(|set| set.split('=').next().is_some_and(|key| key.ends_with("seed"))) {
        bail!("`--set {set}`: all seeds of a quickstart follow from `--seed`");
    }
    if let Some(set) = args.set.iter().find(|set| set.starts_with("student.benchmark.problems=")) {
        bail!("`--set {set}`: a quickstart scores on the held-out side of its own problems; set `problems` instead");
    }
    // `student.` leads into the recipe of `distill run`, which stands in a file of its own.
    let (own, student): (Vec<_>, Vec<_>) = args.set.iter().cloned().partition(|set| !set.starts_with("student."));
    let student: Vec<String> = student.iter().map(|set| set["student.".len()..].into()).collect();
    let mut recipe: QuickstartRecipe =
        recipe::parse(RECIPE, &own).context("`--set` does not fit the quickstart's recipe")?;
    recipe.traces.asking.seed = args.seed;
    let mut student_recipe: DistillRecipe =
        recipe::parse(distill::DEFAULT, &student).context("`--set student.` does not fit the student's recipe")?;
    student_recipe.seed = args.seed;
    student_recipe.benchmark.asking.seed = args.seed.wrapping_add(1);
    let out = |name: &str| args.out.join(name);
    student_recipe.benchmark.problems = recipe.problems.clone();
    student_recipe.check()?;
    if student_recipe.validation_share == 0.0 || recipe.traces.limit == 0 || recipe.control.learning_rates.is_empty() {
        bail!("a quickstart needs traces, some of them for validation, and a learning rate for the control");
    }
    let QuickstartRecipe { problems: source, traces: Traces { limit, asking }, control } = &recipe;
    let resolved =
        Resolved { seed: args.seed, problems: source, traces: &recipe.traces, control, student: &student_recipe };
    let device = args.on.open()?;
    recipe::claim(&args.out, &resolved)?;
    let mut watch = Stopwatch::open(&args.out)?;
    let observer = Progress::new();
    let interrupted = || Ok(ExitCode::from(INTERRUPTED));
    let open = |name: &str, role| anyhow::Ok(ModelFiles::open(name, role)?.on(&device));

    // 1. The teacher works through problems; every answer is verified.
    let teacher = open("embedded", Embedded::Teacher)?.chat_engine()?;
    let traces = out("traces");
    let summary = watch.time("traces", || {
        let problems = asking.problems(source, Split::Train, args.seed, Selection::default(), Some(*limit))?;
        Ok(retort_datagen::run::run(&teacher, &problems, &asking.plan(source)?, &traces, &observer)?)
    })?;
    if summary.interrupted {
        return interrupted();
    }

    // 2. The student learns from the kept traces.
    let base = open("embedded", Embedded::Student)?;
    let samples = TraceReader::open(&traces)?.read_all()?;
    let student = out("student");
    if !finished(&student) {
        let trained = watch.time("student", || {
            distill::finetune(inputs(&student_recipe, &base, &samples, &traces), &student, || Ok(()))
        })?;
        if trained.is_none() {
            return interrupted();
        }
    }

    // 3. The control: the same start, problems and steps, answers alone, the best of several learning rates.
    let mut best: Option<(f64, PathBuf)> = None;
    for rate in &recipe.control.learning_rates {
        let folder = out("control").join(format!("rate-{rate:e}"));
        let look = folder.join("validation.json");
        if !look.is_file() {
            let control = DistillRecipe {
                target: Target::Answer,
                learning_rate: *rate,
                patience: Some(recipe.control.patience),
                checkpoint_every: 0,
                ..student_recipe.clone()
            };
            let trained = watch.time("control", || {
                distill::finetune(inputs(&control, &base, &samples, &traces), &folder, || Ok(()))
            })?;
            let Some(outcome) = trained else { return interrupted() };
            write_bytes(&look, serde_json::to_string(&outcome)?.as_bytes())?;
        }
        let outcome: serde_json::Value = parse_json(&read_text(&look)?, &look)?;
        let loss = outcome["validation"]["loss"].as_f64().context("the control has no validation loss")?;
        if best.as_ref().is_none_or(|(lowest, _)| loss < *lowest) {
            best = Some((loss, folder));
        }
    }
    let (_, control) = best.context("the recipe names no learning rate for the control")?;

    // 4. All four are scored on the same held-out problems.
    let benchmark = &student_recipe.benchmark;
    let (problems, plan) = (benchmark.problems()?, benchmark.plan()?);
    let student = open(&student.to_string_lossy(), Embedded::Student)?.chat_engine()?;
    let control = open(&control.to_string_lossy(), Embedded::Student)?.chat_engine()?;
    let models = [("teacher", &teacher), ("base", &base.chat_engine()?), ("control", &control), ("student", &student)];
    for (role, engine) in models {
        let summary = watch.time("scores", || evals::evaluate(engine, &problems, &plan, &out("scores").join(role)))?;
        if summary.interrupted {
            return interrupted();
        }
    }

    // 5. The report.
    let scores = |role: &str| evals::samples(&out("scores").join(role));
    let (teacher, base, control, student) =
        (scores("teacher")?, scores("base")?, scores("control")?, scores("student")?);
    let stems = Stems::default();
    let runs = Runs { teacher: &teacher, student: &student, base: Some(&base), control: Some(&control), stems: &stems };
    let context = Context {
        benchmark: Some(Benchmark::new(benchmark.problems.as_str(), problems, plan.n, plan.sampling)?.card()),
        seconds: watch.seconds.into_iter().collect(),
        commands: vec![command(args)],
        ..Context::default()
    };
    let report = compare(&runs, context)?;
    report.write(&args.out)?;
    say!("{}\nreport: {}", table::render(&report), out("report.html").display());
    Ok(ExitCode::SUCCESS)
}

/// A run on text alone.
fn inputs<'a>(recipe: &'a DistillRecipe, student: &'a ModelFiles, samples: &[Sample], traces: &'a Path) -> Inputs<'a> {
    Inputs { recipe, student, teacher: None, samples: samples.to_vec(), traces }
}

/// The command that gives the same report.
fn command(args: &Quickstart) -> String {
    let set: String = args.set.iter().map(|set| format!(" --set {set}")).collect();
    format!("retort quickstart --out {} --seed {}{set}", args.out.display(), args.seed)
}

/// A folder with weights is complete: they are written last.
fn finished(folder: &Path) -> bool {
    folder.join("model.safetensors").is_file()
}
