//! A run by reward from what a user named: opens the model that learns, student or mixture of experts, draws its problems,
//! trains, writes the model folder with the rollouts beside it, and says what came of them.

use super::DistillRecipe;
use super::finetune::{TextSide, describe_interruption, duration, say_memory, settings, write, writer};
use crate::architecture::Architecture;
use crate::memory;
use crate::open::{self, ModelFiles};
use crate::output::say;
use crate::progress::Progress;
use anyhow::{Result, bail};
use retort_datagen::gym::Split;
use retort_datagen::problem::Problem;
use retort_datagen::run::Plan;
use retort_datagen::sources::Selection;
use retort_datagen::store::DEFAULT_ROWS_PER_SHARD;
use retort_distill::objective::{Objective, Teacher};
use retort_distill::reward::{Review, RewardSettings, Rollouts, Time};
use retort_distill::trainer::{Outcome, TrainSettings, rehearse, train};
use retort_model::decoder::Trainable;
use retort_model::observe::Observer;
use retort_model::score::Scorer;
use retort_student::lora::LoraConfig;
use retort_teacher::train::Pretraining;
use retort_teacher::weights::Published;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Everything that a run by reward reads.
pub struct Inputs<'a> {
    pub recipe: &'a DistillRecipe,
    pub reward: &'a RewardSettings,
    /// The model that learns.
    pub student: &'a ModelFiles,
    pub problems: Vec<Problem>,
    pub plan: Plan,
}

/// What the balance of experts takes where the recipe says nothing: no prediction further ahead, since what a policy wrote
/// is no text to imitate, and DeepSeek-V3's small balance loss.
const BALANCE: Pretraining = Pretraining { mtp_weight: 0.0, balance_weight: 1e-4, bias_step: 1e-4, bias_until: 1.0 };

/// The folder of the rollouts inside that of the run.
pub fn rollouts_of(out: &Path) -> PathBuf {
    out.join("rollouts")
}

/// The problems named by `source` and how they are put.
pub fn problems(
    recipe: &DistillRecipe,
    source: &str,
    selection: Selection,
    limit: Option<usize>,
) -> Result<(Vec<Problem>, Plan)> {
    let asking = recipe.asking.clone().unwrap_or_default();
    let problems = asking.problems(source, Split::Train, recipe.seed, selection, limit)?;
    let mut distinct = std::collections::HashSet::new();
    let problems: Vec<Problem> = problems.into_iter().filter(|problem| distinct.insert(problem.uuid.clone())).collect();
    let plan = Plan { seed: recipe.seed, rows_per_shard: DEFAULT_ROWS_PER_SHARD, ..asking.plan(source)? };
    Ok((problems, plan))
}

/// A model of any family with variables in place of weights, and the settings of its adapter where that is what is trained.
fn trainee(files: &ModelFiles, recipe: &DistillRecipe) -> Result<(Box<dyn Trainable>, Option<LoraConfig>)> {
    match &files.architecture {
        Architecture::Dense(_) => {
            let trainee = files.trainee(recipe.lora.as_ref(), recipe.seed)?;
            if recipe.pretraining.is_some() {
                bail!("`[pretraining]` balances experts, and `{}` has none", files.name);
            }
            let lora = trainee.lora().cloned();
            Ok((Box::new(if recipe.recompute { trainee.recomputing() } else { trainee }), lora))
        }
        Architecture::DeepSeek(config) => {
            if recipe.lora.is_some() || recipe.recompute {
                bail!("`lora` and `recompute` are for students, and `{}` is a mixture of experts", files.name);
            }
            let source = Box::new(Published(files.checkpoint()?));
            let balance = recipe.pretraining.unwrap_or(BALANCE);
            let trainee =
                retort_teacher::train::Trainee::new(config.as_ref().clone(), source, balance, files.device())?;
            Ok((Box::new(trainee), None))
        }
    }
}

/// What is done with a run that is ready.
struct Ready<'a> {
    model: &'a dyn Trainable,
    lora: Option<&'a LoraConfig>,
    rollouts: Rollouts<'a>,
    objective: &'a Objective<'a>,
    settings: &'a TrainSettings,
}

/// Opens everything, refuses what does not fit, and hands over what is ready to run.
fn prepare<R>(inputs: Inputs, then: impl FnOnce(Ready) -> Result<R>) -> Result<R> {
    let Inputs { recipe, reward, student, problems, plan } = inputs;
    let text = TextSide::open(&student.files, &student.name)?;
    let (model, lora) = trainee(student, recipe)?;
    let groups = (recipe.per_step / reward.group_size).max(1);
    let batches = (problems.len() as f64 * recipe.epochs / groups as f64).ceil().max(1.0) as u64;
    let steps = batches * reward.iterations;
    let reference = (reward.kl_weight > 0.0).then(|| student.decoder()).transpose()?;
    let workers = student.workers()?;
    let fingerprint = student.fingerprint(&student.checkpoint()?)?;
    let name = format!("{}@{fingerprint}", student.name);
    let scorer = reference.as_ref().map(|decoder| Scorer { decoder, workers: &workers, model: name });
    let source = scorer.as_ref().map_or(Teacher::None, |scorer| Teacher::Online(scorer));
    let objective = Objective::new(reward.objective(), source, None)?;
    let mut writer = writer(student, &text, model.decoder())?;
    writer.fingerprint = fingerprint;
    let rollouts = Rollouts::new(reward.clone(), plan, &writer, &problems, recipe.per_step, steps)?;
    let settings = TrainSettings { report_every: 1, ..settings(recipe, steps) };
    then(Ready { model: &*model, lora: lora.as_ref(), rollouts, objective: &objective, settings: &settings })
}

/// Trains on what the model's own completions earn and writes the model folder, or the adapter's; `None` when interrupted.
///
/// `claim` is called when all that can be refused was not, before anything is written.
pub fn learn(inputs: Inputs, out: &Path, claim: impl FnOnce() -> Result<()>) -> Result<Option<Outcome>> {
    memory::keep_freed_pages();
    let observer = Progress::new();
    let student = inputs.student;
    let (problems, reward) = (inputs.problems.len(), inputs.reward.clone());
    let per_step = inputs.recipe.per_step;
    prepare(inputs, |Ready { model, lora, rollouts, objective, settings }| {
        observer.remark(&format!(
            "{problems} problems, {} steps of {per_step} completions in groups of {}, at most {} updates old",
            settings.steps,
            reward.group_size,
            reward.iterations - 1
        ));
        claim()?;
        let rollouts = rollouts.recorded(&rollouts_of(out))?;
        let trained = train(model, &rollouts, objective, settings, None, out, &observer);
        // Whatever ended the training, what was written is there to be read.
        let closed = rollouts.close();
        let outcome = trained?;
        closed?;
        if outcome.interrupted {
            observer.remark(describe_interruption(settings));
            return Ok(None);
        }
        write(student, lora, model, out)?;
        let review = Review::read(&rollouts_of(out))?;
        if review.batches > 0 {
            review.lines().iter().for_each(|line| observer.remark(line));
        } else {
            observer.remark("no rollouts stand beside this run any more, so there is nothing to say of them");
        }
        observer.remark(&shares(rollouts.time()));
        Ok(Some(outcome))
    })
}

/// `time: 71% rollouts, 1% scoring, 28% updates`
fn shares(time: Time) -> String {
    let Time { rollout, scoring, update } = time;
    let total = (rollout + scoring + update).as_secs_f64().max(f64::MIN_POSITIVE);
    let share = |part: std::time::Duration| 100.0 * part.as_secs_f64() / total;
    format!("time: {:.0}% rollouts, {:.1}% scoring, {:.0}% updates", share(rollout), share(scoring), share(update))
}

/// Says what would be learnt from, and what it would take.
pub fn dry_run(inputs: Inputs) -> Result<ExitCode> {
    let (problems, per_step, group) = (inputs.problems.len(), inputs.recipe.per_step, inputs.reward.group_size);
    prepare(inputs, |Ready { model, rollouts, objective, settings, .. }| {
        say!("{problems} problems, {} steps of {per_step} completions in groups of {group}", settings.steps);
        let cost = rehearse(model, &rollouts, objective, settings)?;
        say!("the first rollouts: {}", rollouts.described());
        say!("about {}, as long as completions keep their length", duration(cost.seconds * settings.steps as f64));
        say_memory(&cost)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Whether `recipe` and the flags are of a run by reward; refuses halves of one.
pub fn wanted(recipe: &DistillRecipe, problems: Option<&str>) -> Result<bool> {
    match (&recipe.reward, problems) {
        (Some(_), Some(_)) => Ok(true),
        (None, None) => Ok(false),
        (Some(_), None) => {
            bail!("`[reward]` learns from the student's own completions: name `--problems`, not `--traces`")
        }
        (None, Some(problems)) => {
            let gym = if open::is_gym(problems) { "generated problems" } else { "problems" };
            bail!("`--problems {problems}` names {gym}, and the recipe has no `[reward]` that learns from any")
        }
    }
}
