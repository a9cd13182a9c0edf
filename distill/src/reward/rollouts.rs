//! The stream that a trainer learns from by reward: batches of completions by the model as its weights stand.

use super::advantage::{Batch, advantages};
use super::record::Record;
use super::score::Rewards;
use super::settings::RewardSettings;
use super::walk::{Asked, Walk};
use crate::Error;
use crate::data::{Earned, Example, Served, Stream};
use crate::flops::Written;
use crate::writing::written;
use retort_datagen::problem::Problem;
use retort_datagen::rollout::Rollout;
use retort_datagen::run::Plan;
use retort_datagen::sample::{Made, Sample, Verdict};
use retort_datagen::store::RunHeader;
use retort_datagen::verify::Judgement;
use retort_model::capture::Capture;
use retort_model::generate::{Completion, Generate, Request};
use retort_model::observe::{Observer, Silent};
use retort_model::sampling::NoiseKey;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the time of a run by reward went.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Time {
    pub rollout: Duration,
    pub scoring: Duration,
    pub update: Duration,
}

/// Groups of completions with what they earned.
pub struct Rollouts<'a> {
    settings: RewardSettings,
    /// How problems are put; `n` counts all completions of a problem in the run.
    plan: Plan,
    /// The model that is trained.
    writer: &'a dyn Generate,
    walk: Walk,
    /// Groups of a batch.
    groups: usize,
    rewards: Rewards,
    observer: &'a dyn Observer,
    record: RefCell<Option<Record>>,
    batch: RefCell<Option<Harvest>>,
    time: Cell<Time>,
}

/// A batch, as long as updates learn from it.
struct Harvest {
    /// The step before which it was written.
    step: u64,
    /// What there is to learn.
    examples: Vec<(Example, Earned)>,
    /// Of all completions, also of those that nothing is learnt from.
    lengths: Vec<Written>,
    told: Vec<(String, f64)>,
    /// Updates since.
    age: Cell<u64>,
}

/// One completion of a batch on its way to becoming an example and a row.
struct Turn<'p> {
    problem: &'p Problem,
    /// Its number among the problem's completions.
    sample: u32,
    completion: Completion,
    judgement: Judgement,
    rollout: Rollout,
}

/// The completions of one problem that are held against each other.
struct Group<'p> {
    turns: Vec<Turn<'p>>,
    /// Whether they were rewarded differently.
    has_signal: bool,
}

impl Turn<'_> {
    fn written(&self) -> Written {
        let Completion { prompt_token_ids, token_ids, .. } = &self.completion;
        Written { prompt: prompt_token_ids.len(), completion: token_ids.len() }
    }

    /// Whether the program that drew said how likely each token was.
    fn has_log_probs(&self) -> bool {
        let told = self.completion.targets.as_ref().map_or(0, |targets| targets.token_logprobs.len());
        told == self.completion.token_ids.len()
    }
}

impl<'a> Rollouts<'a> {
    /// A run of at most `steps` updates over `problems`, gone through in epochs, with `per_step` completions by `writer` in
    /// each batch. `plan` says how problems are put, drawn and judged; its `n` and `capture` are set here.
    pub fn new(
        settings: RewardSettings,
        plan: Plan,
        writer: &'a dyn Generate,
        problems: &[Problem],
        per_step: usize,
        steps: u64,
    ) -> Result<Self, Error> {
        settings.check(&plan.sampling)?;
        let rewards = Rewards::new(&settings, &plan.verify, plan.sampling.max_tokens)?;
        if per_step == 0 || !per_step.is_multiple_of(settings.group_size) {
            let allowed = "a multiple of `reward.group_size`: it counts the completions of a step";
            return Err(Error::Setting { field: "per_step", value: per_step.to_string(), allowed });
        }
        let groups = per_step / settings.group_size;
        let walk = Walk::new(problems, plan.seed, &settings, groups, steps.div_ceil(settings.iterations))?;
        let plan = Plan { n: walk.completions(), capture: Some(Capture::Sampled), ..plan };
        let (record, batch, time) = (RefCell::new(None), RefCell::new(None), Cell::default());
        Ok(Self { settings, plan, writer, walk, groups, rewards, observer: &Silent, record, batch, time })
    }

    /// Stops in the middle of a batch where `observer` asks for it; nothing of that batch is stored or learnt.
    pub fn heeding(self, observer: &'a dyn Observer) -> Self {
        Self { observer, ..self }
    }

    /// Writes every rollout to the dataset in `dir` from now on.
    pub fn recorded(self, dir: &Path) -> Result<Self, Error> {
        self.record.replace(Some(Record::open(dir, &self.header(), self.walk.problems())?));
        Ok(self)
    }

    /// Ends the dataset, where there is one, so that other programs read all of it.
    pub fn close(&self) -> Result<(), Error> {
        self.record.borrow_mut().as_mut().map_or(Ok(()), Record::seal)
    }

    /// Where the time went so far.
    pub fn time(&self) -> Time {
        self.time.get()
    }

    /// The last batch for a person to read.
    pub fn described(&self) -> String {
        let batch = self.batch.borrow();
        let told = batch.iter().flat_map(|written| &written.told);
        told.map(|(name, value)| format!("{name} {value:.3}")).collect::<Vec<_>>().join(", ")
    }

    fn header(&self) -> RunHeader {
        let problems: Vec<&Problem> = self.walk.problems().iter().collect();
        // Structs of numbers and names always serialise.
        let reward = serde_json::to_value(&self.settings).unwrap_or_default();
        RunHeader { reward: Some(reward), ..self.plan.header(self.writer, &problems) }
    }

    /// Refuses to go on beside a dataset that the batch before this one does not stand in.
    fn check_record(&self, step: u64) -> Result<(), Error> {
        let (record, before) = (self.record.borrow(), step.checked_sub(self.settings.iterations));
        let (Some(record), Some(before)) = (&*record, before) else { return Ok(()) };
        let groups = self.walk.groups(before / self.settings.iterations);
        let stands =
            |Asked { problem, samples }: Asked| samples.into_iter().any(|sample| record.has(&problem.uuid, sample));
        match groups.into_iter().any(stands) {
            true => Ok(()),
            false => Err(Error::NoRollouts { step }),
        }
    }

    /// Lets the model write the batch before `step`, rewards it and records it.
    fn write(&self, step: u64) -> Result<Harvest, Error> {
        self.check_record(step)?;
        let (before, number) = (self.time.get(), step / self.settings.iterations);
        let mut groups = self.drawn(step, 0, self.walk.groups(number))?;
        let telling = |groups: &[Group]| groups.iter().filter(|group| group.has_signal).count();
        let share = |count: usize| count as f64 / self.groups as f64;
        let mut told = described(groups.iter().flat_map(|group| &group.turns));
        told.push(("skipped_groups".into(), share(self.groups - telling(&groups))));
        // Dynamic sampling (DAPO, section 3.2).
        let mut spare = self.walk.spare(number).into_iter();
        loop {
            let others: Vec<Asked> = spare.by_ref().take(self.groups - telling(&groups)).collect();
            if others.is_empty() {
                break;
            }
            groups.extend(self.drawn(step, groups.len() as u32, others)?);
        }
        told.push(("redrawn_groups".into(), share(groups.len() - self.groups)));
        told.push(("learnt_groups".into(), share(telling(&groups))));

        let begun = Instant::now();
        let examples = self.learnt(&groups)?;
        let lengths = groups.iter().flat_map(|group| &group.turns).map(Turn::written).collect();
        if let Some(record) = &mut *self.record.borrow_mut() {
            let run_id = record.run_id();
            let turns = groups.into_iter().flat_map(|group| group.turns);
            record.add(turns.map(|turn| self.sample(&run_id, turn)).collect())?;
        }
        let time = self.time.get();
        let time = Time { scoring: time.scoring + begun.elapsed(), ..time };
        self.time.set(time);
        told.push(("seconds_rollout".into(), (time.rollout - before.rollout).as_secs_f64()));
        told.push(("seconds_scoring".into(), (time.scoring - before.scoring).as_secs_f64()));
        Ok(Harvest { step, examples, lengths, told, age: Cell::new(0) })
    }

    /// Lets the model write some groups, numbered from `first` on, and rewards them.
    fn drawn<'s>(&'s self, step: u64, first: u32, asked: Vec<Asked<'s>>) -> Result<Vec<Group<'s>>, Error> {
        let begun = Instant::now();
        let requests = asked.iter().flat_map(|Asked { problem, samples }| {
            samples.clone().map(|sample| Request {
                id: 0,
                messages: self.plan.messages(problem),
                sampling: self.plan.sampling.clone(),
                capture: self.plan.capture,
                noise: NoiseKey::new(self.plan.seed, &problem.uuid, sample),
            })
        });
        let mut completions = written(self.writer, requests.collect(), self.observer)?.into_iter();
        let written = Instant::now();
        let groups = asked.into_iter().zip(first..).map(|(Asked { problem, samples }, group)| {
            let turns = samples.zip(completions.by_ref()).filter_map(|(sample, completion)| {
                let completion = completion?;
                let (judgement, rollout) = self.rewards.of(problem, &completion);
                Some(Turn { problem, sample, completion, judgement, rollout: Rollout { step, group, ..rollout } })
            });
            let mut turns: Vec<Turn> = turns.collect();
            let rewards: Vec<f32> = turns.iter().map(|turn| turn.rollout.reward).collect();
            let advantages = advantages(&rewards, self.settings.normalise);
            let has_signal = advantages.is_some();
            for (turn, advantage) in turns.iter_mut().zip(advantages.into_iter().flatten()) {
                turn.rollout.advantage = advantage;
            }
            Group { turns, has_signal }
        });
        let groups = groups.collect();
        let (rollout, scoring, time) = (written - begun, written.elapsed(), self.time.get());
        self.time.set(Time { rollout: time.rollout + rollout, scoring: time.scoring + scoring, ..time });
        Ok(groups)
    }

    /// What there is to learn from the groups of a batch.
    fn learnt(&self, groups: &[Group]) -> Result<Vec<(Example, Earned)>, Error> {
        let mut turns = groups.iter().flat_map(|group| &group.turns);
        if self.settings.iterations > 1
            && let Some(turn) = turns.find(|turn| !turn.has_log_probs())
        {
            let reason =
                format!("needs log-probabilities of all that was written, and `{}` gave none", turn.problem.uuid);
            return Err(Error::Objective { loss: "policy_gradient", reason });
        }
        // Where a place could not be filled, a group without signal is a zero of the batch's mean.
        let (learnt, silent): (Vec<&Group>, Vec<&Group>) = groups.iter().partition(|group| group.has_signal);
        let counted = learnt.iter().chain(&silent).take(self.groups).flat_map(|group| &group.turns);
        let lengths: Vec<usize> = counted.map(|turn| turn.completion.token_ids.len()).collect();
        let max_tokens = self.plan.sampling.max_tokens;
        let batch = Batch { completions: lengths.len(), tokens: lengths.iter().sum(), max_tokens };
        let turns = learnt.iter().flat_map(|group| &group.turns);
        Ok(turns.filter_map(|turn| self.example(turn, batch)).collect())
    }

    /// What is learnt from a completion; nothing where none was written.
    fn example(&self, turn: &Turn, batch: Batch) -> Option<(Example, Earned)> {
        let Completion { prompt_token_ids, token_ids, targets, .. } = &turn.completion;
        let loss_from = prompt_token_ids.len();
        let log_probs = targets.as_ref().map(|targets| targets.token_logprobs.clone()).unwrap_or_default();
        let share = self.settings.normalise.share(token_ids.len(), batch);
        let earned = Earned { advantage: turn.rollout.advantage, share, log_probs, is_stale: false };
        let example = Example::new([prompt_token_ids.as_slice(), token_ids].concat(), loss_from);
        (!token_ids.is_empty()).then_some((example, earned))
    }

    /// A completion as a row of the dataset.
    fn sample(&self, run_id: &str, turn: Turn) -> Sample {
        let Turn { problem, sample, completion, judgement, rollout } = turn;
        let made = Made {
            run_id: run_id.into(),
            sample,
            generator: format!("{}@{} + {} steps", self.writer.name(), self.writer.fingerprint(), rollout.step),
            seed: self.plan.seed,
        };
        let kept = judgement.verdict == Verdict::Right;
        let sample = Sample::new(made, problem, &self.plan.messages(problem), completion, judgement, kept);
        Sample { rollout: Some(rollout), ..sample }
    }
}

/// Means over the completions of a batch that were asked for first, by name: those that were drawn in place of others are of
/// problems that the others chose.
fn described<'t>(turns: impl Iterator<Item = &'t Turn<'t>>) -> Vec<(String, f64)> {
    let turns: Vec<&Turn> = turns.collect();
    let mean = |of: &dyn Fn(&Turn) -> f64| turns.iter().map(|turn| of(turn)).sum::<f64>() / turns.len().max(1) as f64;
    let share = |of: &dyn Fn(&Turn) -> bool| mean(&|turn| f64::from(u8::from(of(turn))));
    let unended = [Verdict::Truncated, Verdict::Unterminated, Verdict::Loop];
    let means = [
        ("reward", mean(&|turn| turn.rollout.reward.into())),
        ("pass_at_1", mean(&|turn| turn.rollout.accuracy.into())),
        ("well_formed", mean(&|turn| turn.rollout.format.into())),
        ("overlong", mean(&|turn| f64::from(-turn.rollout.length))),
        ("completion_tokens", mean(&|turn| turn.completion.completion_tokens as f64)),
        ("unended", share(&|turn| unended.contains(&turn.judgement.verdict))),
        ("right_leniently_only", share(&|turn| turn.rollout.is_right_leniently_only())),
        ("well_formed_only", share(&|turn| turn.rollout.is_well_formed_only())),
    ];
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    let given = turns.iter().map(|turn| turn.rollout.extracted.as_str()).filter(|answer| !answer.is_empty());
    given.for_each(|answer| *answers.entry(answer).or_default() += 1);
    let commonest = answers.values().max().copied().unwrap_or(0) as f64 / turns.len().max(1) as f64;
    let all = means.into_iter().chain([("commonest_answer", commonest)]);
    all.map(|(name, value)| (name.into(), value)).collect()
}

impl Stream for Rollouts<'_> {
    fn serve(&self, step: u64) -> Result<Served, Error> {
        let mut batch = self.batch.borrow_mut();
        let from = step - step % self.settings.iterations;
        let written = match batch.take().filter(|written| written.step == from) {
            Some(written) => batch.insert(written),
            None => batch.insert(self.write(from)?),
        };
        let age = step - from;
        written.age.set(age);
        let examples = written.examples.iter().map(|(example, earned)| {
            let earned = Earned { is_stale: age > 0, ..earned.clone() };
            Example { earned: Some(Arc::new(earned)), ..example.clone() }
        });
        let examples = examples.collect();
        // Written once, for all updates that learn from it.
        Ok(Served { examples, written: if age == 0 { written.lengths.clone() } else { vec![] } })
    }

    fn told(&self, update: Duration) -> Vec<(String, f64)> {
        let time = self.time.get();
        self.time.set(Time { update: time.update + update, ..time });
        let batch = self.batch.borrow();
        let Some(written) = &*batch else { return Vec::new() };
        let mut told = written.told.clone();
        told.push(("seconds_update".into(), update.as_secs_f64()));
        told.push(("staleness".into(), written.age.get() as f64));
        told
    }

    fn begins(&self, step: u64) -> bool {
        step.is_multiple_of(self.settings.iterations)
    }

    fn fingerprint(&self) -> String {
        let header = serde_json::to_string(&self.header()).unwrap_or_default();
        let hash = blake3::hash(format!("{header} {} groups", self.groups).as_bytes());
        hash.to_hex()[..16].to_string()
    }
}
