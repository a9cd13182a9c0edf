//! `retort datagen ...`: traces in, traces looked at.

use super::INTERRUPTED;
use crate::args::{Asking, Datagen, DatagenRun};
use crate::open::{self, Embedded, ModelFiles};
use crate::progress::Progress;
use crate::recipe;
use anyhow::{Context, Result, bail};
use retort_datagen::gym::Split;
use retort_datagen::run::{BOXED_SUFFIX, Plan};
use retort_datagen::sample::Verdict;
use retort_datagen::store::{Keep, TraceReader};
use retort_datagen::{show, stats};
use retort_model::sampling::Sampling;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::ExitCode;

/// How problems are asked; shared with `evals run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AskingRecipe {
    /// Samples per problem.
    pub n: u32,
    pub seed: u64,
    pub sampling: Sampling,
    /// Appended to every problem; without it, R1's directive for files and nothing for the gym.
    pub prompt_suffix: Option<String>,
}

impl Default for AskingRecipe {
    fn default() -> Self {
        Self { n: 1, seed: 0, sampling: Sampling::default(), prompt_suffix: None }
    }
}

impl AskingRecipe {
    /// The recipe file, `--set`, then the flags.
    pub fn read(asking: &Asking) -> Result<Self> {
        let mut recipe: Self = match &asking.recipe {
            Some(path) => recipe::read(path, &asking.set)?,
            None => recipe::parse("", &asking.set).context("`--set` does not fit the recipe")?,
        };
        recipe.n = asking.n.unwrap_or(recipe.n);
        recipe.seed = asking.seed.unwrap_or(recipe.seed);
        Ok(recipe)
    }

    /// The plan for problems from `source`.
    pub fn plan(&self, source: &str, keep: Keep) -> Plan {
        let default = if open::is_gym(source) { "" } else { BOXED_SUFFIX };
        let prompt_suffix = self.prompt_suffix.clone().unwrap_or_else(|| default.into());
        Plan { n: self.n, sampling: self.sampling, seed: self.seed, prompt_suffix, keep, ..Plan::default() }
    }
}

pub fn run(command: Datagen) -> Result<ExitCode> {
    match command {
        Datagen::Run(args) => generate(&args),
        Datagen::Stats { dir, json } => print_stats(&dir, json),
        Datagen::Show { dir, limit, verdict } => print_traces(&dir, limit, verdict.as_deref()),
        Datagen::Verify { dir } => verify(&dir),
    }
}

fn generate(args: &DatagenRun) -> Result<ExitCode> {
    let recipe = AskingRecipe::read(&args.asking)?;
    let problems = open::problems(&args.problems, Split::Train, recipe.seed, args.asking.limit)?;
    let engine = ModelFiles::open(&args.teacher, Embedded::Teacher)?.engine()?;
    let plan = recipe.plan(&args.problems, Keep::Right);
    let summary = retort_datagen::run::run(&engine, &problems, &plan, &args.out, &Progress::new())?;
    println!(
        "{} of {} samples in `{}`, {} right",
        summary.tally.samples(),
        summary.planned,
        args.out.display(),
        summary.tally.count(Verdict::Right)
    );
    Ok(if summary.interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn print_stats(dir: &Path, json: bool) -> Result<ExitCode> {
    let stats = stats::trace_stats(&TraceReader::open(dir)?)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&stats)?);
    } else {
        print!("{stats}");
    }
    Ok(ExitCode::SUCCESS)
}

fn print_traces(dir: &Path, limit: usize, verdict: Option<&str>) -> Result<ExitCode> {
    let wanted = match verdict {
        None => None,
        Some(name) => match Verdict::parse(name) {
            Some(verdict) => Some(verdict),
            None => bail!("`{name}` is no verdict; there are {}", Verdict::ALL.map(Verdict::as_str).join(", ")),
        },
    };
    let samples = TraceReader::open(dir)?.samples()?;
    let mut found = samples.iter().filter(|sample| wanted.is_none_or(|verdict| sample.verdict == verdict)).peekable();
    if found.peek().is_none() {
        println!("no such trace among {}", samples.len());
    }
    found.take(limit).for_each(|sample| println!("{}", show::show(sample)));
    Ok(ExitCode::SUCCESS)
}

fn verify(dir: &Path) -> Result<ExitCode> {
    let reader = TraceReader::open(dir)?;
    let samples = reader.samples()?;
    println!("{} samples in {} shards, every checksum right", samples.len(), reader.manifest().shards.len());
    Ok(ExitCode::SUCCESS)
}
