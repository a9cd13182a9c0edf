//! A run by reward from what a user named: opens the model that learns, student or mixture of experts, draws its problems,
//! trains, writes the model folder with the rollouts beside it, and says what came of them.

use super::DistillRecipe;
use super::finetune::{TextSide, describe_interruption, duration, say_memory, settings, write, writer};
use super::trainee::trainee;
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
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Everything that a run by reward reads.
pub struct Inputs<'a> {
    pub recipe: &'a DistillRecipe,
    pub reward: &'a RewardSettings,
    /// The model that learns.
    pub student: &'a ModelFiles,
    pub problems: Vec<Problem>,
    /// How many more were named that are among these already.
    pub repeated: usize,
    pub plan: Plan,
}

/// The folder of the rollouts inside that of the run.
pub fn rollouts_of(out: &Path) -> PathBuf {
    out.join("rollouts")
}

/// A run over the problems named by `source`.
pub fn inputs<'a>(
    (recipe, reward, student): (&'a DistillRecipe, &'a RewardSettings, &'a ModelFiles),
    source: &str,
    selection: Selection,
    limit: Option<usize>,
) -> Result<Inputs<'a>> {
    let asking = recipe.asking.clone().unwrap_or_default();
    let named = asking.problems(source, Split::Train, recipe.seed, selection, limit)?;
    let count = named.len();
    let mut distinct = std::collections::HashSet::new();
    let problems: Vec<Problem> = named.into_iter().filter(|problem| distinct.insert(problem.uuid.clone())).collect();
    let plan = Plan { seed: recipe.seed, rows_per_shard: DEFAULT_ROWS_PER_SHARD, ..asking.plan(source)? };
    if problems.is_empty() {
        bail!("`{source}` gives no problems to answer; `--limit` is at least 1");
    }
    let repeated = count - problems.len();
    Ok(Inputs { recipe, reward, student, problems, repeated, plan })
}

/// What a person may not expect of the problems: that some were named twice, or that a run comes to them again.
fn repetitions(problems: usize, repeated: usize, groups: u64) -> Vec<String> {
    let mut lines = Vec::new();
    if repeated > 0 {
        lines.push(format!("{repeated} of the problems repeat others, and are left out"));
    }
    let times = groups as f64 / problems.max(1) as f64;
    if times > 1.0 {
        lines.push(format!(
            "{problems} problems for {groups} groups: each of them is asked {times:.1} times on average"
        ));
    }
    lines
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
    let Inputs { recipe, reward, student, problems, plan, .. } = inputs;
    let text = TextSide::open(&student.files, &student.name)?;
    let (model, lora) = trainee(student, recipe)?;
    let (context, most) = (model.decoder().context_length(), plan.sampling.max_tokens);
    if most >= context {
        bail!(
            "`asking.sampling.max_tokens` is {most}, and `{}` has a context of {context} tokens, the question's among \
             them: give completions less",
            student.name
        );
    }
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
    let (problems, repeated, reward) = (inputs.problems.len(), inputs.repeated, inputs.reward.clone());
    let per_step = inputs.recipe.per_step;
    prepare(inputs, |Ready { model, lora, rollouts, objective, settings }| {
        observer.remark(&format!(
            "{problems} problems, {} steps of {per_step} completions in groups of {}, at most {} updates old",
            settings.steps,
            reward.group_size,
            reward.iterations - 1
        ));
        let groups = settings.steps / reward.iterations * (per_step / reward.group_size) as u64;
        repetitions(problems, repeated, groups).iter().for_each(|line| observer.remark(line));
        claim()?;
        let rollouts = rollouts.recorded(&rollouts_of(out))?.heeding(&observer);
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

#[cfg(test)]
mod tests {
    use super::repetitions;

    #[test]
    fn problems_that_come_again_are_told_of() {
        assert_eq!(repetitions(100, 0, 100), Vec::<String>::new());
        let lines = repetitions(100, 7, 250).join("\n");
        assert!(lines.contains("7 of the problems repeat") && lines.contains("2.5 times"), "{lines}");
    }
}
