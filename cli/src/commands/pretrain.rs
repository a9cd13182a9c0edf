//! `retort teacher train` and `retort student train`: a model from scratch on the gym, by recipe.

use super::INTERRUPTED;
use crate::args::Pretrain;
use crate::memory;
use crate::progress::Progress;
use crate::recipe;
use anyhow::{Context, Result};
use retort_datagen::gym::{Selection, exercises};
use retort_distill::objective::Objective;
use retort_distill::pretrain::{GymMixture, GymStream};
use retort_distill::trainer::{TrainSettings, train};
use retort_model::checkpoint::{NumberFormat, Stored};
use retort_model::decoder::Trainable;
use retort_model::house;
use retort_model::observe::Observer;
use retort_model::params::Fresh;
use retort_model::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::ExitCode;

/// How the vocabulary is made: byte-level BPE over gym text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vocabulary {
    size: usize,
    /// Exercises per family and level whose text it is trained on.
    exercises_per_cell: usize,
    seed: u64,
}

/// A pretraining recipe; `C` is the model's `config.json` and `E` what the architecture adds to the loss.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PretrainRecipe<C, E> {
    seed: u64,
    vocabulary: Vocabulary,
    gym: GymMixture,
    train: TrainSettings,
    #[serde(default = "Option::default")]
    pretraining: Option<E>,
    model: C,
}

/// Students add nothing to the plain loss.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub fn teacher(args: &Pretrain) -> Result<ExitCode> {
    let recipe: PretrainRecipe<retort_teacher::Config, retort_teacher::train::Pretraining> =
        recipe::read(&args.recipe, &args.set)?;
    let pretraining = recipe.pretraining.context("the recipe has no `[pretraining]` section")?;
    let mut config = recipe.model.clone();
    config.check(&args.recipe)?;
    config.quantization_config = NumberFormat::Fp8.quantization_config();
    let (source, device) = (Box::new(Fresh { seed: recipe.seed }), args.on.open()?);
    let model = retort_teacher::train::Trainee::new(config.clone(), source, pretraining, &device)?;
    run(args, &recipe, &model, serde_json::to_string_pretty(&config)?, |name| NumberFormat::Fp8.stored(name))
}

pub fn student(args: &Pretrain) -> Result<ExitCode> {
    let recipe: PretrainRecipe<retort_student::Config, Nothing> = recipe::read(&args.recipe, &args.set)?;
    let config = recipe.model.clone();
    config.check(&args.recipe)?;
    let (source, device) = (Box::new(Fresh { seed: recipe.seed }), args.on.open()?);
    let model = retort_student::Trainee::new(config.clone(), source, &device)?;
    run(args, &recipe, &model, serde_json::to_string_pretty(&config)?, |_| Stored::Bf16)
}

fn run<C: Serialize, E: Serialize>(
    args: &Pretrain,
    recipe: &PretrainRecipe<C, E>,
    model: &dyn Trainable,
    config: String,
    stored: impl Fn(&str) -> Stored,
) -> Result<ExitCode> {
    memory::keep_freed_pages();
    let observer = Progress::new();
    recipe::claim(&args.out, recipe)?;
    let tokenizer = vocabulary(&recipe.vocabulary)?;
    let files = house::folder(config, &tokenizer, recipe.gym.always_thinks())?;
    let template = files.template()?;
    let eos = tokenizer.id(house::SPECIAL_TOKENS[1]).context("the vocabulary has no end-of-turn token")?;
    let stream = GymStream::new(recipe.gym.clone(), recipe.seed, &tokenizer, &template, eos)?;
    let outcome = train(model, &stream, &Objective::cross_entropy(), &recipe.train, None, &args.out, &observer)?;
    if outcome.interrupted {
        observer.remark("interrupted; run the same command again to continue");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    files.write(&args.out, &model.state()?, stored)?;
    observer.remark(&format!("model written to `{}`", Path::display(&args.out)));
    Ok(ExitCode::SUCCESS)
}

/// The same settings give the same vocabulary, so that teacher and student share one without sharing a file.
fn vocabulary(settings: &Vocabulary) -> Result<Tokenizer> {
    let selection = Selection { seed: settings.seed, ..Selection::default() };
    let mut texts = Vec::new();
    for exercise in exercises(&selection, settings.exercises_per_cell)? {
        texts.push(exercise.problem.problem.clone());
        texts.push(exercise.worked(exercise.style()));
        texts.push(exercise.response());
    }
    Ok(Tokenizer::train(&texts, settings.size, &house::SPECIAL_TOKENS)?)
}
