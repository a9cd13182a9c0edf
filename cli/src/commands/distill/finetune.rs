//! A fine-tuning run from what a user named: opens student and teacher, holds them against each other and the traces,
//! trains, writes the model folder.

use super::DistillRecipe;
use super::trainee::trainee;
use crate::architecture::Architecture;
use crate::commands::convert;
use crate::endpoint::Scoring;
use crate::memory;
use crate::open::ModelFiles;
use crate::output::say;
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use retort_datagen::sample::Sample;
use retort_distill::chat::Chat;
use retort_distill::data::{Epochs, Example, Stream};
use retort_distill::objective::{CapturedForm, Objective, Projected, Teacher, Term};
use retort_distill::on_policy::OnPolicy;
use retort_distill::schedule::Schedule;
use retort_distill::sft::{self, Audit, Reading};
use retort_distill::trainer::{Outcome, Rehearsal, TrainSettings, Validation, rehearse, train};
use retort_distill::translation::Translator;
use retort_model::chat::ChatTemplate;
use retort_model::checkpoint::{NumberFormat, Stored};
use retort_model::decoder::{Decoder, Trainable};
use retort_model::engine::{CacheSettings, Engine};
use retort_model::folder::FolderFiles;
use retort_model::observe::Observer;
use retort_model::score::Score;
use retort_model::tokenizer::Tokenizer;
use retort_student::lora::{Adapter, LoraConfig};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

/// Everything that a run reads.
pub struct Inputs<'a> {
    pub recipe: &'a DistillRecipe,
    pub student: &'a ModelFiles,
    /// The model that is asked while training.
    pub teacher: Option<&'a Scoring<'a>>,
    pub samples: Vec<Sample>,
    /// Where the samples come from.
    pub traces: &'a Path,
}

/// Looks at the validation examples this many times in a run.
const LOOKS: u64 = 10;

/// Completions that the student writes side by side.
const SLOTS: usize = 64;

/// What turns text into a model's tokens.
pub(super) struct TextSide {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    eos: u32,
}

impl TextSide {
    /// From the files of the model called `name`.
    pub(super) fn open(files: &FolderFiles, name: &str) -> Result<Self> {
        let (tokenizer, template) = (files.tokenizer()?, files.template()?);
        let own = template.eos().and_then(|token| tokenizer.id(token));
        let eos =
            own.with_context(|| format!("the `tokenizer_config.json` of `{name}` names no `eos_token` it has"))?;
        Ok(Self { tokenizer, template, eos })
    }

    fn chat(&self) -> Chat<'_> {
        Chat { tokenizer: &self.tokenizer, template: &self.template, eos: self.eos }
    }
}

/// A teacher that is asked while training.
struct Asked<'a> {
    model: &'a (dyn Score + Sync),
    text: TextSide,
    /// Whether it cuts text as the student does.
    same_tokens: bool,
}

impl<'a> Asked<'a> {
    fn open(teacher: &'a Scoring, student: &ModelFiles, text: &TextSide, recipe: &DistillRecipe) -> Result<Self> {
        if recipe.objective.is_plain() {
            bail!("`--teacher` is given, but no term of the recipe's `[objective]` asks it anything");
        }
        let own = TextSide::open(&teacher.files, &teacher.name)?;
        let same_tokens = own.tokenizer.to_json()? == text.tokenizer.to_json()?;
        if let (false, Some(term)) = (same_tokens, recipe.objective.shares_tokenizer()) {
            bail!(
                "`{}` and `{}` have different tokenizers, and the loss `{}` compares them token by token; `sorted` \
                 compares any two",
                student.name,
                teacher.name,
                term.name()
            );
        }
        Ok(Self { model: &*teacher.model, text: own, same_tokens })
    }

    /// The opening of a thinking block in the student's tokens, where this teacher has it in its prompt and the student
    /// has not.
    fn opening(&self, student: &TextSide) -> Result<Vec<u32>> {
        let missing = self.text.chat().opens("")? && !student.chat().opens("")?;
        Ok(if missing { student.chat().opening()? } else { vec![] })
    }

    /// What brings the student's examples into this teacher's tokens, where those differ.
    fn translator<'t>(&'t self, student: &'t TextSide) -> Option<Translator<'t>> {
        (!self.same_tokens).then(|| Translator {
            student: &student.tokenizer,
            student_template: &student.template,
            teacher: &self.text.tokenizer,
            teacher_template: &self.text.template,
            eos: (student.eos, self.text.eos),
            context: self.model.context(),
        })
    }
}

/// What is done with a run that is ready.
struct Ready<'a> {
    model: &'a dyn Trainable,
    /// The settings of the adapter, where it is one that is trained.
    lora: Option<&'a LoraConfig>,
    stream: &'a dyn Stream,
    objective: &'a Objective<'a>,
    settings: &'a TrainSettings,
    looks: Option<Validation<'a>>,
    text: &'a TextSide,
    /// What was kept of the traces, and one of them.
    audit: Audit,
    example: Example,
}

/// Opens everything, refuses what does not fit, and hands over what is ready to run.
fn prepare<R>(inputs: Inputs, then: impl FnOnce(Ready) -> Result<R>) -> Result<R> {
    let Inputs { recipe, student, teacher, samples, traces } = inputs;
    if recipe.on_policy.is_some() && teacher.is_none() {
        bail!("`[on_policy]` lets the student write, and no teacher is there to judge it: name one with `--teacher`");
    }
    let text = TextSide::open(&student.files, &student.name)?;
    let asked = teacher.map(|teacher| Asked::open(teacher, student, &text, recipe)).transpose()?;
    let translator = asked.as_ref().and_then(|asked| asked.translator(&text));
    let opening = asked.as_ref().map_or(Ok(vec![]), |asked| asked.opening(&text))?;
    let (trainee, lora) = trainee(student, recipe)?;
    let matches_hidden = recipe.objective.terms.iter().any(|term| matches!(term, Term::Hidden { .. }));
    let width = asked.as_ref().filter(|_| matches_hidden).and_then(|asked| asked.model.offer().hidden);
    let model = Projected::new(&*trainee, width, recipe.seed)?;

    let (training, validation) = sft::split(samples, recipe.validation_share);
    let own_context = model.decoder().context_length();
    let context = match &asked {
        Some(asked) if asked.same_tokens => own_context.min(asked.model.context()),
        _ => own_context,
    };
    // What was captured is of the tokens that were written, and of no others.
    let captured = asked.is_none() && !recipe.objective.is_plain();
    let reading = Reading {
        target: recipe.target,
        chat: text.chat(),
        translator: translator.as_ref(),
        retokenise: recipe.retokenise && !captured,
        opening: &opening,
        captured,
        context,
    };
    let (examples, audit) = reading.examples(&training, traces)?;
    let held_out = if validation.iter().any(|sample| sample.kept) {
        reading.examples(&validation, traces).map_or(Vec::new(), |(examples, _)| examples)
    } else {
        Vec::new()
    };
    let source = match (&asked, CapturedForm::of(&examples)) {
        (Some(asked), _) => Teacher::Online(asked.model),
        (None, Some(form)) => Teacher::Captured(form),
        (None, None) => Teacher::None,
    };
    let objective = Objective::new(recipe.objective.clone(), source, model.projection().cloned())?.seeded(recipe.seed);

    let example = examples[0].clone();
    let steps = Epochs::new(examples.clone(), recipe.per_step, recipe.seed).steps(recipe.epochs).max(1);
    let writer = recipe.on_policy.as_ref().map(|_| writer(student, &text, model.decoder())).transpose()?;
    let stream: Box<dyn Stream + '_> = match (recipe.on_policy.clone(), &writer) {
        (Some(on_policy), Some(writer)) => {
            let questions: BTreeSet<&str> = training.iter().map(|sample| &*sample.problem).collect();
            let questions = questions.into_iter().map(String::from).collect();
            let (per_step, seed) = (recipe.per_step, recipe.seed);
            let own = OnPolicy::new(on_policy, writer, questions, examples, per_step, seed, translator.as_ref())?;
            Box::new(own.opened(opening.clone()))
        }
        _ => Box::new(Epochs::new(examples, recipe.per_step, recipe.seed)),
    };
    let settings = settings(recipe, steps);
    let looks = Validation { examples: &held_out, every: (steps / LOOKS).max(1), patience: recipe.patience };
    then(Ready {
        model: &model,
        lora: lora.as_ref(),
        stream: &*stream,
        objective: &objective,
        settings: &settings,
        looks: (!held_out.is_empty() && recipe.objective.of_own_tokens().is_none()).then_some(looks),
        text: &text,
        audit,
        example,
    })
}

/// Trains on the kept traces and writes the model folder, or the adapter's; `None` when interrupted.
///
/// `claim` is called when all that can be refused was not, before anything is written.
pub fn finetune(inputs: Inputs, out: &Path, claim: impl FnOnce() -> Result<()>) -> Result<Option<Outcome>> {
    memory::keep_freed_pages();
    let observer = Progress::new();
    let (student, recipe) = (inputs.student, inputs.recipe);
    prepare(inputs, |Ready { model, lora, stream, objective, settings, looks, audit, .. }| {
        observer.remark(&describe(&audit));
        if let Some(term) = recipe.objective.of_own_tokens().filter(|_| recipe.validation_share > 0.0) {
            let term = term.name();
            observer.remark(&format!("no look at the validation problems: `{term}` tells nothing of tokens of others"));
        }
        claim()?;
        let outcome = train(model, stream, objective, settings, looks, out, &observer)?;
        if outcome.interrupted {
            observer.remark(describe_interruption(settings));
            return Ok(None);
        }
        write(student, lora, model, out)?;
        Ok(Some(outcome))
    })
}

/// Writes what `student` has become to the folder `out`: the model, or the adapter beside it.
pub(super) fn write(student: &ModelFiles, lora: Option<&LoraConfig>, model: &dyn Trainable, out: &Path) -> Result<()> {
    match (lora, &student.architecture) {
        (Some(lora), _) => Ok(Adapter::write(out, lora, &model.state()?)?),
        (None, Architecture::Dense(_)) => Ok(student.files.write(out, &model.state()?, |_| Stored::F32)?),
        (None, Architecture::DeepSeek(_)) => {
            // In FP8 steps this small would be rounded away.
            let mut files = student.files.clone();
            files.config = convert::config(&files.config, NumberFormat::F32)
                .with_context(|| format!("the `config.json` of `{}` could not be changed", student.name))?;
            Ok(files.write(out, &model.state()?, |_| Stored::F32)?)
        }
    }
}

/// What an interrupted run leaves to be done.
pub(super) fn describe_interruption(settings: &TrainSettings) -> &'static str {
    match settings.checkpoint_every {
        0 => "interrupted; nothing of this training was saved, since `checkpoint_every` is 0",
        _ => "interrupted; run the same command again to continue",
    }
}

/// The student, writing with its weights as they stand.
pub(super) fn writer<'a>(
    student: &ModelFiles,
    text: &TextSide,
    decoder: &'a dyn Decoder,
) -> Result<Engine<&'a dyn Decoder>> {
    Ok(Engine {
        context: decoder.context_length(),
        decoder,
        eos: student.files.eos(&text.tokenizer, &text.template)?,
        tokenizer: student.files.tokenizer()?,
        template: student.files.template()?,
        name: student.name.clone(),
        fingerprint: String::new(),
        slots: SLOTS,
        cache: CacheSettings::default(),
        draft: false,
        draft_count: Default::default(),
        workers: student.workers()?,
    })
}

pub(super) fn settings(recipe: &DistillRecipe, steps: u64) -> TrainSettings {
    TrainSettings {
        steps,
        micro_batch_tokens: recipe.micro_batch_tokens,
        schedule: Schedule {
            learning_rate: recipe.learning_rate,
            warmup_steps: (steps as f64 * recipe.warmup_share) as u64,
            decay: recipe.decay,
            final_share: 0.0,
        },
        optimiser: recipe.optimiser.clone(),
        precision: recipe.precision,
        checkpoint_every: recipe.checkpoint_every,
        report_every: recipe.report_every,
        average: recipe.average,
        divergence: recipe.divergence,
    }
}

fn describe(audit: &Audit) -> String {
    let Audit { rows, examples, tokens, target_tokens, not_kept, too_long, too_long_tokens, .. } = audit;
    let mut text = format!(
        "{rows} rows: {examples} to learn from ({tokens} tokens, {target_tokens} of them predicted), {not_kept} not kept, \
         {too_long} longer than the context"
    );
    if *too_long > 0 {
        text += &format!(" ({too_long_tokens} tokens; none is cut)");
    }
    for (count, what) in [
        (audit.other_tokens, "in other tokens than the student's, learnt from as text"),
        (audit.forced, "left out: which of their tokens were forced cannot be told in the student's tokens"),
        (audit.other_prompt, "written after another prompt than the student's, and learnt after the student's"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}

/// Says what would be trained on, and what it would take.
pub fn dry_run(inputs: Inputs) -> Result<ExitCode> {
    let per_step = inputs.recipe.per_step;
    prepare(inputs, |Ready { model, stream, objective, settings, text, audit, example, .. }| {
        say!("{}", describe(&audit));
        let mean = audit.tokens as f64 / audit.examples as f64;
        say!(
            "{mean:.0} tokens a trace, {} in the longest; {} steps of {per_step} traces",
            audit.longest,
            settings.steps
        );
        say!("\nthe first of them, given (dim) and predicted (green):\n\n{}\n", coloured(&example, &text.tokenizer)?);
        let cost = rehearse(model, stream, objective, settings)?;
        let seconds = cost.seconds * settings.steps as f64;
        say!("{:.0} tokens/s: about {}", cost.tokens as f64 / cost.seconds, duration(seconds));
        say!("a step like the first takes {}", cost.flops);
        say_memory(&cost)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Says how much memory a run takes that was rehearsed just now.
pub(super) fn say_memory(cost: &Rehearsal) -> Result<()> {
    if let Some(peak) = memory::peak_resident() {
        say!("about {} of memory", memory::mib(peak + cost.state_bytes));
    }
    Ok(())
}

/// An example's text, what is given dim and what is predicted green.
fn coloured(example: &Example, tokenizer: &Tokenizer) -> Result<String> {
    let is_given = |place: usize| place < example.loss_from || example.given.contains(&place);
    let places: Vec<usize> = (0..example.tokens.len()).collect();
    let mut text = String::new();
    for run in places.chunk_by(|a, b| is_given(*a) == is_given(*b)) {
        let part = console::style(tokenizer.decode(&example.tokens[run[0]..run[0] + run.len()])?);
        text += &if is_given(run[0]) { part.dim() } else { part.green() }.to_string();
    }
    Ok(text)
}

pub(super) fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).ceil() as u64;
    if minutes < 60 { format!("{minutes} min") } else { format!("{} h {:02} min", minutes / 60, minutes % 60) }
}
