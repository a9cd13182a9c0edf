//! `retort datagen ...`: traces made, kept, looked at.

mod keep;
mod page;
mod select;
mod show;
mod stats;

use super::INTERRUPTED;
use crate::args::{Asking, Datagen, DatagenRun};
use crate::open;
use crate::output::say;
use crate::progress::Progress;
use crate::recipe;
use anyhow::{Context, Result};
use retort_datagen::gym::Split;
use retort_datagen::run::{BOXED_SUFFIX, Plan, Summary};
use retort_datagen::sample::Verdict;
use retort_datagen::store::DEFAULT_ROWS_PER_SHARD;
use retort_datagen::verify::Rule;
use retort_model::capture::Capture;
use retort_model::sampling::Sampling;
use retort_teacher::endpoint::Settings;
use serde::{Deserialize, Serialize};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How problems are asked; shared with `evals run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AskingRecipe {
    /// Samples per problem.
    pub n: u32,
    pub seed: u64,
    pub sampling: Sampling,
    /// Right samples after which a problem has enough; without it every problem gets `n`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<u32>,
    /// Which turns are right: `"math"`, `"choice"`, `{ regex = '...' }`, `{ all = ["math", { format = { ... } }] }`;
    /// without it, what the problem's domain asks for.
    #[serde(skip_serializing_if = "Rule::is_default")]
    pub verify: Rule,
    /// What to store of the teacher's distribution: `capture.top_k = 32`, `capture.draws = 50` or `capture = "sampled"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// Appended to every problem; without it, R1's directive for files and nothing for the gym.
    pub prompt_suffix: Option<String>,
    /// Rows that share a file of the dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_per_shard: Option<NonZeroU32>,
    /// How an endpoint is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Settings>,
}

impl Default for AskingRecipe {
    fn default() -> Self {
        Self {
            n: 1,
            seed: 0,
            sampling: Sampling::default(),
            quota: None,
            verify: Rule::default(),
            capture: None,
            prompt_suffix: None,
            rows_per_shard: None,
            endpoint: None,
        }
    }
}

impl AskingRecipe {
    /// The recipe file, `--set`, then the flags.
    pub fn read(asking: &Asking) -> Result<Self> {
        let mut recipe: Self = match &asking.recipe {
            Some(path) => recipe::read(path, &asking.set)?,
            None => recipe::parse("", &asking.set).context("`--set` does not fit the recipe")?,
        };
        // A schema lies beside the recipe that names it.
        let base = asking.recipe.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        recipe.verify = recipe.verify.with_files(base).map_err(retort_datagen::Error::from)?;
        recipe.n = asking.n.unwrap_or(recipe.n);
        recipe.seed = asking.seed.unwrap_or(recipe.seed);
        Ok(recipe)
    }

    /// The plan for problems from `source`.
    pub fn plan(&self, source: &str) -> Plan {
        let default = if open::is_gym(source) { "" } else { BOXED_SUFFIX };
        let prompt_suffix = self.prompt_suffix.clone().unwrap_or_else(|| default.into());
        let rows_per_shard = self.rows_per_shard.map_or(DEFAULT_ROWS_PER_SHARD, NonZeroU32::get);
        Plan {
            n: self.n,
            sampling: self.sampling.clone(),
            quota: self.quota,
            verify: self.verify.clone(),
            capture: self.capture,
            seed: self.seed,
            prompt_suffix,
            rows_per_shard,
            ..Plan::default()
        }
    }
}

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
    }
}

fn generate(args: &DatagenRun) -> Result<ExitCode> {
    let recipe = AskingRecipe::read(&args.asking)?;
    let problems = open::problems(&args.problems, Split::Train, recipe.seed, args.asking.limit.map(NonZeroUsize::get))?;
    let progress = Progress::new();
    let (grace, budget) = (Duration::from_secs(args.asking.grace), args.endpoint.budget()?);
    let quota = args.quota.map(NonZeroU32::get).or(recipe.quota);
    let plan = Plan { slice: args.shard, quota, grace, budget, ..recipe.plan(&args.problems) };
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
    if summary.left_out > 0 {
        say!("{} samples in flight were left out: their problems had their quota before them", summary.left_out);
    }
    if summary.interrupted {
        let Summary { generated, resumed, .. } = summary;
        say!("interrupted with {generated} new samples beside {resumed} older ones; the same command continues");
    }
    Ok(if summary.interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}
