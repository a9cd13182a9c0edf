//! `retort datagen ...`: traces in, traces looked at.

use super::INTERRUPTED;
use crate::args::{Asking, Datagen, DatagenRun};
use crate::open;
use crate::output::say;
use crate::progress::Progress;
use crate::recipe;
use anyhow::{Context, Result, bail};
use retort_datagen::gym::Split;
use retort_datagen::run::{BOXED_SUFFIX, Plan};
use retort_datagen::sample::Verdict;
use retort_datagen::show;
use retort_datagen::stats::{Quantiles, TraceStats, trace_stats};
use retort_datagen::store::TraceReader;
use retort_model::capture::Capture;
use retort_model::sampling::Sampling;
use retort_teacher::endpoint::Settings;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
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
    /// What to store of the teacher's distribution: `capture.top_k = 32`, `capture.draws = 50` or `capture = "sampled"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// Appended to every problem; without it, R1's directive for files and nothing for the gym.
    pub prompt_suffix: Option<String>,
    /// How an endpoint is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Settings>,
}

impl Default for AskingRecipe {
    fn default() -> Self {
        Self { n: 1, seed: 0, sampling: Sampling::default(), capture: None, prompt_suffix: None, endpoint: None }
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
    pub fn plan(&self, source: &str) -> Plan {
        let default = if open::is_gym(source) { "" } else { BOXED_SUFFIX };
        let prompt_suffix = self.prompt_suffix.clone().unwrap_or_else(|| default.into());
        Plan {
            n: self.n,
            sampling: self.sampling.clone(),
            capture: self.capture,
            seed: self.seed,
            prompt_suffix,
            ..Plan::default()
        }
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
    let problems = open::problems(&args.problems, Split::Train, recipe.seed, args.asking.limit.map(NonZeroUsize::get))?;
    let progress = Progress::new();
    let plan = Plan { budget: args.endpoint.budget()?, ..recipe.plan(&args.problems) };
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
        say!("interrupted; run the same command again to continue");
    }
    Ok(if summary.interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn print_stats(dir: &Path, json: bool) -> Result<ExitCode> {
    let stats = trace_stats(&TraceReader::open(dir)?)?;
    if json {
        say!("{:#}", stats_json(&stats));
    } else {
        say!("{}", stats_text(&stats).trim_end());
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
    let samples = TraceReader::open(dir)?.read_all()?;
    let mut found = samples.iter().filter(|sample| wanted.is_none_or(|verdict| sample.verdict == verdict)).peekable();
    if found.peek().is_none() {
        say!("no such trace among {}", samples.len());
    }
    for sample in found.take(limit) {
        say!("{}", show::show(sample));
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(dir: &Path) -> Result<ExitCode> {
    let reader = TraceReader::open(dir)?;
    let samples = reader.read_all()?;
    let shards = reader.manifest().shards.len();
    if reader.torn_bytes() > 0 {
        let torn = reader.torn_bytes();
        let dir = dir.display();
        bail!(
            "{} samples of `{dir}` are sound, but {torn} bytes at the end of its journal are not: a write that was cut \
             short, or damage; the next `datagen run` on the folder cuts them off and asks for those samples again",
            samples.len()
        );
    }
    say!("{} samples in {shards} shards, every checksum right", samples.len());
    Ok(ExitCode::SUCCESS)
}

/// Counts, pass rates and lengths as text for a terminal.
fn stats_text(stats: &TraceStats) -> String {
    let share = |part: u64| 100.0 * part as f64 / stats.samples.max(1) as f64;
    let mut lines = vec![format!(
        "{} of {} samples, {} kept ({:.1}%)",
        stats.samples,
        stats.planned,
        stats.kept,
        share(stats.kept)
    )];
    lines.push("\nverdict".into());
    lines.extend(
        stats.verdicts.iter().map(|&(v, count)| format!("  {:<14}{count:>8}{:>8.1}%", v.as_str(), share(count))),
    );
    lines.push("\ndomain         level samples   right".into());
    lines.extend(
        stats
            .groups
            .iter()
            .map(|g| format!("  {:<14}{:>4}{:>8}{:>7.1}%", g.domain, g.difficulty, g.samples, 100.0 * g.pass_rate())),
    );
    if !stats.drop_causes.is_empty() {
        lines.push("\ndropped because".into());
        lines.extend(stats.drop_causes.iter().map(|(cause, count)| format!("  {count:>8}  {cause}")));
    }
    lines.push("\ntokens          mean     min     p10     p50     p90     p99     max".into());
    for (name, q) in [("prompt", &stats.prompt_tokens), ("completion", &stats.completion_tokens)] {
        let cells = [q.mean, q.min, q.p10, q.p50, q.p90, q.p99, q.max].map(|value| format!("{value:>8.0}"));
        lines.push(format!("  {name:<10}{}", cells.concat()));
    }
    lines.join("\n") + "\n"
}

fn stats_json(stats: &TraceStats) -> serde_json::Value {
    let lengths = |q: &Quantiles| {
        serde_json::json!({
            "mean": q.mean, "min": q.min, "p10": q.p10, "p50": q.p50, "p90": q.p90, "p99": q.p99, "max": q.max
        })
    };
    let groups = stats.groups.iter().map(|g| {
        serde_json::json!({ "domain": g.domain, "difficulty": g.difficulty, "samples": g.samples, "right": g.right })
    });
    let named =
        |pairs: Vec<(String, u64)>| pairs.into_iter().map(|(k, v)| (k, v.into())).collect::<serde_json::Map<_, _>>();
    serde_json::json!({
        "samples": stats.samples,
        "planned": stats.planned,
        "kept": stats.kept,
        "verdicts": named(stats.verdicts.iter().map(|(v, n)| (v.as_str().to_string(), *n)).collect()),
        "drop_causes": named(stats.drop_causes.clone()),
        "groups": groups.collect::<Vec<_>>(),
        "prompt_tokens": lengths(&stats.prompt_tokens),
        "completion_tokens": lengths(&stats.completion_tokens),
    })
}
