//! A run: every problem asked `n` times, every completion judged and stored. The same folder continues where it stopped.
//!
//! A sample's randomness is keyed by (seed, problem, sample), so which samples a run finds already stored changes nothing
//! about the others.

mod queue;
mod turns;

#[cfg(test)]
mod tests;

use crate::Error;
use crate::problem::Problem;
use crate::prompt::Prompt;
use crate::spend::{Budget, Spend};
use crate::store::{
    BenchmarkId, DEFAULT_ROWS_PER_SHARD, GeneratorId, Keep, Past, ProblemSet, Quota, RunHeader, Slice, TraceStore,
};
use crate::tally::Tally;
use crate::verify::{self, Rule};
use queue::Queue;
use retort_model::capture::Capture;
use retort_model::generate::{Generate, GenerateError, Message, Request};
use retort_model::observe::{Observer, Silent};
use retort_model::sampling::{NoiseKey, Sampling};
use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

/// What the DeepSeek-R1 model card recommends to append to mathematical problems.
pub const BOXED_SUFFIX: &str = "Please reason step by step, and put your final answer within \\boxed{}.";

/// How a run asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Samples per problem.
    pub n: u32,
    pub sampling: Sampling,
    pub seed: u64,
    /// Appended to every problem on a line of its own; empty for the problem as it is.
    pub prompt_suffix: String,
    /// How else problems are put.
    pub prompt: Prompt,
    /// Which samples training may use.
    pub keep: Keep,
    /// Right samples after which a problem has enough, counted in the order of its samples; none for all `n`.
    pub quota: Option<u32>,
    /// Which turns are right.
    pub verify: Rule,
    /// The benchmark that the problems are of, if they are of one.
    pub benchmark: Option<BenchmarkId>,
    /// What to write down of the generator's distribution, if anything.
    pub capture: Option<Capture>,
    /// Rows that share a shard of the dataset.
    pub rows_per_shard: u32,
    /// What a generator that costs money may take of it; no part of what the run is.
    pub budget: Budget,
    /// The part of the run that is done here; all of it without one. It changes no sample.
    pub slice: Option<Slice>,
    /// How long completions in flight may still take once the observer asks to stop.
    pub grace: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            n: 1,
            sampling: Sampling::default(),
            seed: 0,
            prompt_suffix: String::new(),
            prompt: Prompt::default(),
            keep: Keep::Right,
            quota: None,
            verify: Rule::default(),
            benchmark: None,
            capture: None,
            rows_per_shard: DEFAULT_ROWS_PER_SHARD,
            budget: Budget::default(),
            slice: None,
            grace: Duration::from_secs(20),
        }
    }
}

impl Plan {
    /// The chat that asks for `problem`.
    pub fn messages(&self, problem: &Problem) -> Vec<Message> {
        self.prompt.messages(problem, &self.prompt_suffix)
    }

    /// What is asked for a sample of `problem`.
    fn request(&self, id: u64, problem: &Problem, sample: u32) -> Request {
        Request {
            id,
            messages: self.messages(problem),
            sampling: self.sampling.clone(),
            capture: self.capture,
            noise: NoiseKey::new(self.seed, &problem.uuid, sample),
        }
    }

    /// What a run by this plan is.
    pub fn header(&self, generator: &dyn Generate, problems: &[&Problem]) -> RunHeader {
        let past = if generator.is_reproducible() { Past::LeftOut } else { Past::NotKept };
        RunHeader {
            generator: GeneratorId { name: generator.name().into(), fingerprint: generator.fingerprint().into() },
            sampling: self.sampling.clone(),
            seed: self.seed,
            n: self.n,
            prompt_suffix: self.prompt_suffix.clone(),
            prompt: self.prompt.if_any(),
            keep: self.keep,
            quota: self.quota.map(|verified| Quota { verified, past }),
            verify: self.verify.clone(),
            capture: self.capture,
            reward: None,
            verifier: verify::VERSION,
            benchmark: self.benchmark.clone(),
            problem_set: ProblemSet::of(problems.iter().copied()),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |setting, found: String, expected| Err(Error::Setting { setting, found, expected });
        if self.n == 0 {
            return refuse("n", self.n.to_string(), "at least 1");
        }
        if let Some(quota) = self.quota.filter(|quota| !(1..=self.n).contains(quota)) {
            return refuse("quota", quota.to_string(), "at least 1 and no more than `n`");
        }
        let captured = || self.capture.and_then(|capture| capture.fault());
        if let Some((setting, found, expected)) = self.sampling.fault().or_else(captured) {
            return refuse(setting, found, expected);
        }
        Ok(())
    }
}

/// Every request of a run, in the order of their numbers, each with the name of its sample: `uuid:sample`.
pub fn requests(problems: &[Problem], plan: &Plan) -> Result<impl Iterator<Item = (String, Request)>, Error> {
    plan.check()?;
    let problems = distinct(problems, &Silent);
    let samples = problems.into_iter().flat_map(|problem| (0..plan.n).map(move |sample| (problem, sample)));
    let named = samples
        .zip(0..)
        .map(|((problem, sample), id)| (format!("{}:{sample}", problem.uuid), plan.request(id, problem, sample)));
    Ok(named)
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub run_id: String,
    /// Samples of the complete run; fewer than `n` for each problem where some have enough before.
    pub planned: u64,
    /// Samples that this call left out, unfinished or not, because their problem had enough before them.
    pub left_out: u64,
    /// Samples that were there before.
    pub resumed: u64,
    /// Samples made by this call.
    pub generated: u64,
    /// All samples in the folder now.
    pub tally: Tally,
    /// What it cost, in words; empty where nothing has a price.
    pub cost: String,
    /// Whether the observer stopped it; the same call continues.
    pub interrupted: bool,
}

impl Summary {
    pub fn is_complete(&self) -> bool {
        self.tally.samples() == self.planned
    }
}

/// Asks `generator` for `plan.n` samples of each problem and stores them in the dataset at `dir`, judged.
///
/// Samples that the folder holds already are not asked for again. When the observer cancels, nothing more is asked for;
/// what is in flight may end within `plan.grace` and is abandoned after it (the next run asks for it again). However the
/// generator ends, by an error or a panic of its own too, what it finished is made durable first.
pub fn run(
    generator: &dyn Generate,
    problems: &[Problem],
    plan: &Plan,
    dir: &Path,
    observer: &dyn Observer,
) -> Result<Summary, Error> {
    plan.check()?;
    let verifier = plan.verify.verifier()?;
    let problems = distinct(problems, observer);
    let header = plan.header(generator, &problems);
    let mut store = TraceStore::open(dir, &header, plan.slice, &problems, plan.rows_per_shard)?;
    let problems = part(problems, plan.slice);
    let resumed = store.resumed();
    if resumed.torn_bytes > 0 {
        observer.remark(&format!("{} bytes of an unfinished write were cut off the journal", resumed.torn_bytes));
    }
    let mut spend = Spend::open(dir, store.manifest().attempts.as_ref(), &plan.budget, generator.name())?;
    if spend.torn_bytes() > 0 {
        observer.remark(&format!("{} bytes of an unfinished write were cut off the ledger", spend.torn_bytes()));
    }
    if store.left() > 0
        && let Some(expired) = spend.expired()
    {
        observer.remark(&expired);
    }
    let planned = store.tally().samples() + store.left();
    if resumed.samples > 0 {
        observer.remark(&format!("{} of {planned} samples are stored already", resumed.samples));
    }
    observer.started("traces", Some(planned), "samples");
    let mut queue = Queue::new(generator, &problems, plan, &*verifier, &mut store, &mut spend, observer);
    let generated = catch_unwind(AssertUnwindSafe(|| generator.generate(&mut queue)));
    let cost = queue.cost();
    let (unanswered, left_out) = queue.close();
    let sealed = store.seal_all();
    let closed = spend.close().map_err(Error::from).and_then(|mark| store.note_attempts(mark));
    match spend.overcharge().as_str() {
        "" => {}
        overcharge => observer.remark(overcharge),
    }
    // What stopped the generator comes before what that did to the store.
    stopped_by(generated, generator.name())?;
    sealed?;
    closed?;
    let (tally, left) = (store.tally().clone(), store.left());
    let (planned, interrupted) = (tally.samples() + left, left > 0 && observer.cancelled());
    if left > 0 && !interrupted {
        let missing = unanswered.max(left);
        return Err(Error::Unanswered { generator: generator.name().into(), missing });
    }
    let note = queue::progress_note(&tally, &cost);
    observer.advanced(tally.samples(), &note);
    let mut summary = format!("{} of {planned} samples", tally.samples());
    if !note.is_empty() {
        summary += &format!(", {note}");
    }
    observer.finished(&summary);
    Ok(Summary {
        run_id: store.manifest().run_id.clone(),
        planned,
        left_out,
        resumed: resumed.samples,
        // Samples that were stored early may have turned out to be past their quota.
        generated: tally.samples().saturating_sub(resumed.samples),
        tally,
        cost,
        interrupted,
    })
}

/// The error behind the way in which a generation ended, if there is one.
fn stopped_by(generated: Result<Result<(), GenerateError>, Box<dyn Any + Send>>, name: &str) -> Result<(), Error> {
    let generator = name.to_owned();
    let source = match generated {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(source)) => source,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            return Err(Error::Panicked { generator, message });
        }
    };
    match source {
        // What the store or the ledger said on the way is said for itself.
        GenerateError::Job(source) => match source.downcast::<Error>().map_err(|source| source.downcast()) {
            Ok(error) => Err(*error),
            Err(Ok(error)) => Err(Error::Spend(*error)),
            Err(Err(source)) => Err(Error::Generation { generator, source: GenerateError::Job(source) }),
        },
        source => Err(Error::Generation { generator, source }),
    }
}

/// The problems of a slice.
fn part(problems: Vec<&Problem>, slice: Option<Slice>) -> Vec<&Problem> {
    let places = problems.into_iter().zip(0u64..);
    places.filter(|&(_, place)| slice.is_none_or(|slice| slice.holds(place))).map(|(problem, _)| problem).collect()
}

/// The problems without repetitions, each where it came first.
fn distinct<'a>(problems: &'a [Problem], observer: &dyn Observer) -> Vec<&'a Problem> {
    const NAMED: usize = 3;
    let mut places = HashMap::new();
    let (mut distinct, mut repeated, mut named) = (Vec::new(), 0, Vec::new());
    for (problem, place) in problems.iter().zip(1..) {
        match places.entry(problem.uuid.as_str()) {
            Entry::Vacant(first) => {
                first.insert(place);
                distinct.push(problem);
            }
            Entry::Occupied(first) => {
                repeated += 1;
                if named.len() < NAMED {
                    named.push(format!("problem {place} is problem {} again", first.get()));
                }
            }
        }
    }
    if repeated > 0 {
        let (named, more) = (named.join(", "), if repeated > NAMED { ", ..." } else { "" });
        let what = if repeated == 1 {
            "1 problem repeats an earlier one and is"
        } else {
            &format!("{repeated} problems repeat earlier ones and are")
        };
        observer.remark(&format!("{what} worked through once: {named}{more}"));
    }
    distinct
}
