//! `retort distill run`: traces to a fine-tuned student, scored at the end.

use super::INTERRUPTED;
use super::datagen::AskingRecipe;
use super::evals;
use crate::args::{Distill, DistillRun};
use crate::open::{self, Embedded, ModelFiles};
use crate::output::say;
use crate::progress::Progress;
use crate::recipe;
use anyhow::{Context, Result, bail};
use retort_datagen::gym::Split;
use retort_datagen::problem::Problem;
use retort_datagen::run::Plan;
use retort_datagen::sample::Sample;
use retort_datagen::store::TraceReader;
use retort_distill::chat::Chat;
use retort_distill::data::Epochs;
use retort_distill::schedule::{Decay, Schedule};
use retort_distill::sft::{self, Audit, Target};
use retort_distill::trainer::{OptimiserSettings, Outcome, TrainSettings, Validation, train};
use retort_model::chat::ChatTemplate;
use retort_model::checkpoint::Stored;
use retort_model::decoder::{Decoder, Trainable};
use retort_model::observe::Observer;
use retort_model::tokenizer::Tokenizer;
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
    pub target: Target,
    pub epochs: f64,
    /// Traces per optimiser step.
    pub per_step: usize,
    pub micro_batch_tokens: usize,
    pub learning_rate: f64,
    /// Share of the steps that the warm-up takes.
    pub warmup_share: f64,
    pub decay: Decay,
    /// Share of the problems that is scored instead of trained on.
    pub validation_share: f64,
    /// Early stopping: ends after this many looks at those without a lower loss, with the weights that did best.
    #[serde(default)]
    pub patience: Option<u32>,
    pub checkpoint_every: u64,
    #[serde(default)]
    pub optimiser: OptimiserSettings,
    pub benchmark: Benchmark,
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
        Ok(())
    }
}

/// Everything that a fine-tuning run was started with, as it is written to `recipe.toml`.
#[derive(Serialize)]
struct Resolved<'a> {
    /// Fingerprint of the student before training.
    student: String,
    /// Name of the dataset's run.
    traces: String,
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
        open::problems(&self.problems, Split::HeldOut, self.asking.seed, Some(self.limit))
    }

    pub fn plan(&self) -> Plan {
        self.asking.plan(&self.problems)
    }
}

/// Looks at the validation examples this many times in a run.
const LOOKS: u64 = 10;

pub fn run(command: Distill) -> Result<ExitCode> {
    let Distill::Run(args) = command;
    let recipe: DistillRecipe = match &args.recipe {
        Some(path) => recipe::read(path, &args.set)?,
        None => recipe::parse(DEFAULT, &args.set).context("`--set` does not fit the recipe")?,
    };
    recipe.check()?;
    for (flag, folder) in [("--student", Path::new(&args.student)), ("--traces", &args.traces)] {
        if folder.canonicalize().is_ok_and(|folder| args.out.canonicalize().is_ok_and(|out| out == folder)) {
            bail!("`--out` is the folder of `{flag}`, which training would overwrite; name another");
        }
    }
    let student = ModelFiles::open(&args.student, Embedded::Student)?;
    let reader = TraceReader::open(&args.traces)?;
    let samples = reader.read_all()?;
    if args.dry_run {
        return dry_run(&args, &recipe, &student, samples);
    }
    // What the end needs is opened before the long work begins.
    let problems = if args.no_eval { Vec::new() } else { recipe.benchmark.problems()? };
    let start = student.fingerprint(&student.checkpoint()?)?;
    recipe::claim(&args.out, &Resolved { student: start, traces: reader.manifest().run_id.clone(), recipe: &recipe })?;
    let Some(outcome) = finetune(&recipe, &student, samples, &args.traces, &args.out)? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    say!("student written to `{}` after {} steps", args.out.display(), outcome.steps);
    if args.no_eval { Ok(ExitCode::SUCCESS) } else { score(&args, &recipe.benchmark, &problems) }
}

/// What turns traces into a student's tokens.
struct TextSide {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    eos: u32,
}

impl TextSide {
    fn open(student: &ModelFiles) -> Result<Self> {
        let tokenizer = student.files.tokenizer()?;
        let template = student.files.template()?;
        let own = template.eos().and_then(|token| tokenizer.id(token));
        let eos = own.context("the student's `tokenizer_config.json` names no `eos_token` of its vocabulary")?;
        Ok(Self { tokenizer, template, eos })
    }

    fn chat(&self) -> Chat<'_> {
        Chat { tokenizer: &self.tokenizer, template: &self.template, eos: self.eos }
    }
}

/// Trains on the kept traces and writes the model folder; `None` when interrupted.
pub fn finetune(
    recipe: &DistillRecipe,
    student: &ModelFiles,
    samples: Vec<Sample>,
    traces: &Path,
    out: &Path,
) -> Result<Option<Outcome>> {
    let observer = Progress::new();
    let text = TextSide::open(student)?;
    let chat = text.chat();
    let model = student.trainee()?;
    let (training, validation) = sft::split(samples, recipe.validation_share);
    let context = model.decoder().context_length();
    let (examples, audit) = sft::examples(&training, recipe.target, &chat, context, traces)?;
    observer.remark(&describe(&audit));
    let held_out = if validation.iter().any(|sample| sample.kept) {
        sft::examples(&validation, recipe.target, &chat, context, traces).map_or(Vec::new(), |(examples, _)| examples)
    } else {
        Vec::new()
    };
    let stream = Epochs::new(examples, recipe.per_step, recipe.seed);
    let settings = settings(recipe, stream.steps(recipe.epochs).max(1));
    let looks = Validation { examples: &held_out, every: (settings.steps / LOOKS).max(1), patience: recipe.patience };
    let looks = (!held_out.is_empty()).then_some(looks);
    let outcome = train(&model, &stream, &settings, looks, out, &observer)?;
    if outcome.interrupted {
        observer.remark(match settings.checkpoint_every {
            0 => "interrupted; nothing of this training was saved, since `checkpoint_every` is 0",
            _ => "interrupted; run the same command again to continue",
        });
        return Ok(None);
    }
    student.files.write(out, &model.state()?, |_| Stored::F32)?;
    Ok(Some(outcome))
}

fn settings(recipe: &DistillRecipe, steps: u64) -> TrainSettings {
    TrainSettings {
        steps,
        micro_batch_tokens: recipe.micro_batch_tokens,
        schedule: Schedule {
            learning_rate: recipe.learning_rate,
            warmup_steps: (steps as f64 * recipe.warmup_share) as u64,
            decay: recipe.decay,
            final_share: 0.0,
        },
        optimiser: recipe.optimiser,
        checkpoint_every: recipe.checkpoint_every,
        report_every: 10,
    }
}

fn describe(audit: &Audit) -> String {
    format!(
        "{} rows: {} to learn from ({} tokens, {} of them predicted), {} not kept, {} longer than the context",
        audit.rows, audit.examples, audit.tokens, audit.target_tokens, audit.not_kept, audit.too_long
    )
}

fn dry_run(args: &DistillRun, recipe: &DistillRecipe, student: &ModelFiles, samples: Vec<Sample>) -> Result<ExitCode> {
    let text = TextSide::open(student)?;
    let chat = text.chat();
    let (training, _) = sft::split(samples, recipe.validation_share);
    let context = student.decoder()?.context_length();
    let (examples, audit) = sft::examples(&training, recipe.target, &chat, context, &args.traces)?;
    say!("{}", describe(&audit));
    let steps = Epochs::new(examples.clone(), recipe.per_step, recipe.seed).steps(recipe.epochs);
    say!("{steps} steps of {} traces", recipe.per_step);
    if let Some(example) = examples.first() {
        let (given, predicted) = example.tokens.split_at(example.loss_from);
        let given = console::style(text.tokenizer.decode(given)?).dim();
        say!("\n{given}{}", console::style(text.tokenizer.decode(predicted)?).green());
    }
    Ok(ExitCode::SUCCESS)
}

fn score(args: &DistillRun, benchmark: &Benchmark, problems: &[Problem]) -> Result<ExitCode> {
    let engine = ModelFiles::open(&args.out.to_string_lossy(), Embedded::Student)?.chat_engine()?;
    evals::print_score(&engine, problems, &benchmark.plan(), &args.out.join("eval"), false)
}
