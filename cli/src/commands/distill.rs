//! `retort distill run`: traces to a fine-tuned student, or problems to one that learns from reward; scored at the end.

mod finetune;
mod reward;
mod trainee;

pub use finetune::{Inputs, finetune};

use super::INTERRUPTED;
use super::datagen::AskingRecipe;
use super::evals;
use crate::args::{Distill, DistillRun};
use crate::endpoint::Here;
use crate::open::{Embedded, ModelFiles};
use crate::output::say;
use crate::progress::Progress;
use crate::recipe;
use anyhow::{Context, Result, bail};
use retort_datagen::gym::Split;
use retort_datagen::problem::Problem;
use retort_datagen::run::Plan;
use retort_datagen::sources::Selection;
use retort_datagen::store::TraceReader;
use retort_distill::objective::ObjectiveSettings;
use retort_distill::on_policy::OnPolicySettings;
use retort_distill::reward::RewardSettings;
use retort_distill::schedule::Decay;
use retort_distill::sft::Target;
use retort_distill::trainer::{OptimiserSettings, Precision};
use retort_student::lora::LoraSettings;
use retort_teacher::train::Pretraining;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::ExitCode;

/// The recipe of the quickstart, and of `distill run` where none is given.
pub const DEFAULT: &str = include_str!("../../../distill/recipes/sft.toml");

/// Settings of a fine-tuning run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillRecipe {
    pub seed: u64,
    #[serde(default)]
    pub target: Target,
    /// Whether traces written in other tokens than the student's may be learnt from as text.
    #[serde(default)]
    pub retokenise: bool,
    pub epochs: f64,
    /// Traces per optimiser step; with `[reward]`, completions.
    pub per_step: usize,
    pub micro_batch_tokens: usize,
    pub learning_rate: f64,
    /// Share of the steps that the warm-up takes.
    pub warmup_share: f64,
    pub decay: Decay,
    /// Share of the problems that is scored instead of trained on.
    #[serde(default)]
    pub validation_share: f64,
    /// Early stopping: ends after this many looks at those without a lower loss, with the weights that did best.
    #[serde(default)]
    pub patience: Option<u32>,
    pub checkpoint_every: u64,
    /// Steps between lines of `metrics.jsonl`, each with the mean loss since the last.
    #[serde(default = "ten")]
    pub report_every: u64,
    /// What the products of training are computed in; the master weights are f32 either way.
    #[serde(default)]
    pub precision: Precision,
    /// Whether layers are computed again on the way back (gradient checkpointing), in less memory and more time; the result
    /// has the same bits.
    #[serde(default)]
    pub recompute: bool,
    /// Decay of a running mean of the weights, with which the run ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<f64>,
    /// A loss so many times the mean of the last 50 steps stops the run; `inf` lets everything pass.
    #[serde(default = "ten_times")]
    pub divergence: f64,
    #[serde(default)]
    pub optimiser: OptimiserSettings,
    /// Trains low-rank updates beside the student's weights, and writes them as an adapter.
    #[serde(default)]
    pub lora: Option<LoraSettings>,
    /// What is minimised; cross-entropy with the traces' tokens where nothing is said.
    #[serde(default)]
    pub objective: ObjectiveSettings,
    /// Lets the student write examples of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_policy: Option<OnPolicySettings>,
    /// Learns from what the student's own completions earn, in place of traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<RewardSettings>,
    /// How problems are put to it for that, and which answers are right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asking: Option<AskingRecipe>,
    /// How experts are balanced where it is a mixture of them that learns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretraining: Option<Pretraining>,
    pub benchmark: Benchmark,
}

fn ten() -> u64 {
    10
}

fn ten_times() -> f64 {
    10.0
}

impl DistillRecipe {
    /// Refuses what no run could follow, before anything is written.
    pub fn check(&self) -> Result<()> {
        let rate = self.learning_rate;
        let numbers = [
            ("epochs", self.epochs, "above 0", self.epochs > 0.0 && self.epochs <= 10_000.0),
            ("learning_rate", rate, "above 0 and at most 1", rate > 0.0 && rate <= 1.0),
            ("warmup_share", self.warmup_share, "from 0 to 1", (0.0..=1.0).contains(&self.warmup_share)),
            (
                "validation_share",
                self.validation_share,
                "from 0 to below 1",
                (0.0..1.0).contains(&self.validation_share),
            ),
        ];
        if let Some((field, value, allowed, _)) = numbers.into_iter().find(|(.., fine)| !fine) {
            bail!("`{field}` is {value}; it takes a number {allowed}");
        }
        let counts = [
            ("per_step", self.per_step),
            ("micro_batch_tokens", self.micro_batch_tokens),
            ("benchmark.limit", self.benchmark.limit),
        ];
        if let Some((field, _)) = counts.into_iter().find(|&(_, count)| count == 0) {
            bail!("`{field}` is 0; it takes at least 1");
        }
        self.objective.check()?;
        if self.objective.needs_rewards() {
            bail!("the loss `policy_gradient` learns from rewards, which a section `[reward]` sets up by itself");
        }
        match &self.reward {
            Some(reward) => self.check_reward(reward)?,
            None if self.asking.is_some() => bail!("`[asking]` is for recipes with `[reward]`, and there is none"),
            None => {}
        }
        if let Some(on_policy) = &self.on_policy {
            on_policy.check()?;
            if self.target == Target::Answer {
                bail!("`on_policy` lets the student write whole completions, which `target = \"answer\"` is not for");
            }
        }
        Ok(())
    }

    /// Refuses what a run by reward could not follow, or would not heed.
    fn check_reward(&self, reward: &RewardSettings) -> Result<()> {
        let asking = self.asking.clone().unwrap_or_default();
        reward.check(&asking.sampling)?;
        let unheeded = [
            ("target", self.target != Target::Trace),
            ("retokenise", self.retokenise),
            ("validation_share", self.validation_share > 0.0),
            ("patience", self.patience.is_some()),
            ("objective", self.objective != ObjectiveSettings::default()),
            ("on_policy", self.on_policy.is_some()),
            ("asking.n", asking.n != 1),
            ("asking.seed", asking.seed != 0),
            ("asking.quota", asking.quota.is_some()),
            ("asking.capture", asking.capture.is_some()),
            ("asking.endpoint", asking.endpoint.is_some()),
            ("asking.rows_per_shard", asking.rows_per_shard.is_some()),
        ];
        match unheeded.into_iter().find(|(_, set)| *set) {
            Some((field, _)) => bail!("`{field}` says nothing to a recipe with `[reward]`: leave it out"),
            None => Ok(()),
        }
    }
}

/// Everything that a fine-tuning run was started with, as it is written to `recipe.toml`.
#[derive(Serialize)]
struct Resolved<'a> {
    /// Fingerprint of the student before training.
    student: String,
    /// Name of the dataset's run.
    #[serde(skip_serializing_if = "Option::is_none")]
    traces: Option<String>,
    /// What problems were named.
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<&'a str>,
    /// How many of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    /// Name and fingerprint of the model that is asked while training.
    #[serde(skip_serializing_if = "Option::is_none")]
    teacher: Option<String>,
    #[serde(flatten)]
    recipe: &'a DistillRecipe,
}

/// What a student is scored on when its training ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Benchmark {
    pub problems: String,
    pub limit: usize,
    pub asking: AskingRecipe,
}

impl Benchmark {
    /// The held-out problems.
    pub fn problems(&self) -> Result<Vec<Problem>> {
        let Self { problems, limit, asking } = self;
        asking.problems(problems, Split::HeldOut, asking.seed, Selection::default(), Some(*limit))
    }

    pub fn plan(&self) -> Result<Plan> {
        self.asking.plan(&self.problems)
    }
}

pub fn run(command: Distill) -> Result<ExitCode> {
    let Distill::Run(args) = command;
    let recipe: DistillRecipe = match &args.recipe {
        Some(path) => recipe::read(path, &args.set)?,
        None => recipe::parse(DEFAULT, &args.set).context("`--set` does not fit the recipe")?,
    };
    recipe.check()?;
    let by_reward = reward::wanted(&recipe, args.problems.as_deref())?;
    if !by_reward && args.part.selection() != Selection::default() {
        bail!("`--config` and `--split` choose among problems: name those with `--problems`");
    }
    let given = args.traces.as_deref().map(|traces| ("--traces", traces));
    for (flag, folder) in [("--student", Path::new(&args.student))].into_iter().chain(given) {
        if folder.canonicalize().is_ok_and(|folder| args.out.canonicalize().is_ok_and(|out| out == folder)) {
            bail!("`--out` is the folder of `{flag}`, which training would overwrite; name another");
        }
    }
    let device = args.on.open()?;
    // A dry run leaves nothing behind.
    let aside = args.dry_run.then(tempfile::tempdir).transpose()?;
    let student = match args.student.strip_prefix("preset:") {
        Some(name) => {
            // Of its own name and seed, so that other settings find another student there, and are refused.
            let folder = aside.as_ref().map_or(&*args.out, |aside| aside.path());
            let folder = folder.join(format!("initial-{name}-{}", recipe.seed));
            let vocabulary = args.endpoint.teacher_tokenizer.as_ref().or(args.teacher.as_ref());
            super::student::fresh(name, vocabulary.map_or("embedded", String::as_str), recipe.seed, &folder)?
        }
        None => ModelFiles::open(&args.student, Embedded::Student)?,
    };
    let student = student.on(&device);
    if by_reward {
        return learn(&args, &recipe, &student);
    }
    let progress = Progress::new();
    let teacher = match &args.teacher {
        Some(name) => Some(args.endpoint.scoring(name, Here::beside_student(args.on, name), &progress)?),
        None => {
            args.endpoint.refuse(&args.student)?;
            None
        }
    };
    let traces = args.traces.as_deref().context("no `--traces`")?;
    let reader = TraceReader::open(traces)?;
    let samples = reader.read_all()?;
    let inputs = Inputs { recipe: &recipe, student: &student, teacher: teacher.as_ref(), samples, traces };
    if args.dry_run {
        return finetune::dry_run(inputs);
    }
    // What the end needs is opened before the long work begins.
    let problems = if args.no_eval { Vec::new() } else { recipe.benchmark.problems()? };
    let resolved = Resolved {
        student: student.fingerprint(&student.checkpoint()?)?,
        traces: Some(reader.manifest().run_id.clone()),
        problems: None,
        limit: None,
        teacher: teacher.as_ref().map(|teacher| teacher.model.model()),
        recipe: &recipe,
    };
    let Some(outcome) = finetune(inputs, &args.out, || recipe::claim(&args.out, &resolved))? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    say!("student written to `{}` after {} steps", args.out.display(), outcome.steps);
    if args.no_eval { Ok(ExitCode::SUCCESS) } else { score(&args, &recipe.benchmark, &problems) }
}

/// A run by reward.
fn learn(args: &DistillRun, recipe: &DistillRecipe, student: &ModelFiles) -> Result<ExitCode> {
    let (Some(settings), Some(source)) = (&recipe.reward, &args.problems) else {
        bail!("a run by reward needs `[reward]` and `--problems`");
    };
    if args.teacher.is_some() && !args.student.starts_with("preset:") {
        bail!("`--teacher` is given, and `[reward]` asks no teacher anything");
    }
    let inputs = reward::inputs((recipe, settings, student), source, args.part.selection(), args.limit)?;
    if args.dry_run {
        return reward::dry_run(inputs);
    }
    // What the end needs is opened before the long work begins.
    let scored = if args.no_eval { Vec::new() } else { recipe.benchmark.problems()? };
    let fingerprint = student.fingerprint(&student.checkpoint()?)?;
    let limit = Some(inputs.problems.len());
    let resolved =
        Resolved { student: fingerprint, traces: None, problems: Some(source), limit, teacher: None, recipe };
    let Some(outcome) = reward::learn(inputs, &args.out, || recipe::claim(&args.out, &resolved))? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let (out, rollouts) = (args.out.display(), reward::rollouts_of(&args.out));
    say!("model written to `{out}` after {} steps, its rollouts to `{}`", outcome.steps, rollouts.display());
    if args.no_eval { Ok(ExitCode::SUCCESS) } else { score(args, &recipe.benchmark, &scored) }
}

fn score(args: &DistillRun, benchmark: &Benchmark, problems: &[Problem]) -> Result<ExitCode> {
    let device = args.on.open()?;
    let engine = ModelFiles::open(&args.out.to_string_lossy(), Embedded::Student)?.on(&device).chat_engine()?;
    evals::print_score(&engine, problems, &benchmark.plan()?, &args.out.join("eval"), false)
}
