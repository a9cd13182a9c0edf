//! A run: every problem asked `n` times, every completion judged and stored. The same folder continues where it stopped.
//!
//! A sample's randomness is keyed by (seed, problem, sample), so which samples a run finds already stored changes nothing
//! about the others.

mod queue;

#[cfg(test)]
mod tests;

use crate::Error;
use crate::problem::Problem;
use crate::spend::{Budget, Spend};
use crate::store::{DEFAULT_ROWS_PER_SHARD, GeneratorId, Keep, ProblemSet, RunHeader, TraceStore};
use crate::tally::Tally;
use crate::verify;
use queue::Queue;
use retort_model::capture::Capture;
use retort_model::generate::{Generate, GenerateError};
use retort_model::observe::Observer;
use retort_model::sampling::Sampling;
use std::collections::HashSet;
use std::path::Path;

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
    /// Which samples training may use.
    pub keep: Keep,
    /// What to write down of the generator's distribution, if anything.
    pub capture: Option<Capture>,
    /// Rows that share a shard of the dataset.
    pub rows_per_shard: u32,
    /// What a generator that costs money may take of it; no part of what the run is.
    pub budget: Budget,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            n: 1,
            sampling: Sampling::default(),
            seed: 0,
            prompt_suffix: String::new(),
            keep: Keep::Right,
            capture: None,
            rows_per_shard: DEFAULT_ROWS_PER_SHARD,
            budget: Budget::default(),
        }
    }
}

impl Plan {
    /// The user's message for `problem`.
    pub fn prompt(&self, problem: &Problem) -> String {
        match self.prompt_suffix.as_str() {
            "" => problem.problem.clone(),
            suffix => format!("{}\n{suffix}", problem.problem),
        }
    }

    fn header(&self, generator: &dyn Generate, problems: &[&Problem]) -> RunHeader {
        RunHeader {
            generator: GeneratorId { name: generator.name().into(), fingerprint: generator.fingerprint().into() },
            sampling: self.sampling.clone(),
            seed: self.seed,
            n: self.n,
            prompt_suffix: self.prompt_suffix.clone(),
            keep: self.keep,
            capture: self.capture,
            verifier: verify::VERSION,
            problem_set: ProblemSet::of(problems.iter().copied()),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |setting, found: String, expected| Err(Error::Setting { setting, found, expected });
        if self.n == 0 {
            return refuse("n", self.n.to_string(), "at least 1");
        }
        let captured = || self.capture.and_then(|capture| capture.fault());
        if let Some((setting, found, expected)) = self.sampling.fault().or_else(captured) {
            return refuse(setting, found, expected);
        }
        Ok(())
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub run_id: String,
    /// Samples of the complete run.
    pub planned: u64,
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
/// Samples that the folder holds already are not asked for again. When the observer cancels, what is in flight is
/// abandoned (it is asked for again next time) and what was finished stays stored.
pub fn run(
    generator: &dyn Generate,
    problems: &[Problem],
    plan: &Plan,
    dir: &Path,
    observer: &dyn Observer,
) -> Result<Summary, Error> {
    plan.check()?;
    let problems = distinct(problems, observer);
    let mut store = TraceStore::open(dir, &plan.header(generator, &problems), &problems, plan.rows_per_shard)?;
    let resumed = store.resumed();
    if resumed.torn_bytes > 0 {
        observer.remark(&format!("{} bytes of an unfinished write were cut off the journal", resumed.torn_bytes));
    }
    let mut spend = Spend::open(dir, &plan.budget, generator.name())?;
    if spend.torn_bytes() > 0 {
        observer.remark(&format!("{} bytes of an unfinished write were cut off the ledger", spend.torn_bytes()));
    }
    let planned = store.manifest().samples();
    if resumed.samples > 0 {
        observer.remark(&format!("{} of {planned} samples are stored already", resumed.samples));
    }
    observer.started("traces", Some(planned), "samples");
    let mut queue = Queue::new(generator, &problems, plan, &mut store, &mut spend, observer);
    let generated = generator.generate(&mut queue);
    let unanswered = queue.unanswered();
    let cost = queue.cost();
    // Whatever stopped the generator: what it finished is made durable first.
    store.seal()?;
    spend.close()?;
    let name = || generator.name().to_owned();
    match generated {
        Err(GenerateError::Job(source)) => match source.downcast::<Error>() {
            Ok(error) => return Err(*error),
            Err(source) => return Err(Error::Generation { generator: name(), source: GenerateError::Job(source) }),
        },
        Err(source) => return Err(Error::Generation { generator: name(), source }),
        Ok(()) => {}
    }
    let tally = store.tally().clone();
    let interrupted = tally.samples() < planned && observer.cancelled();
    if tally.samples() < planned && !interrupted {
        return Err(Error::Unanswered { generator: name(), missing: unanswered.max(planned - tally.samples()) });
    }
    let summary = Summary {
        run_id: store.manifest().run_id.clone(),
        planned,
        resumed: resumed.samples,
        generated: tally.samples() - resumed.samples,
        tally,
        cost,
        interrupted,
    };
    observer.finished(&queue::progress_note(&summary.tally, &summary.cost));
    Ok(summary)
}

/// The problems without repetitions, each where it came first.
fn distinct<'a>(problems: &'a [Problem], observer: &dyn Observer) -> Vec<&'a Problem> {
    let mut seen = HashSet::new();
    let distinct: Vec<&Problem> = problems.iter().filter(|problem| seen.insert(problem.uuid.as_str())).collect();
    match problems.len() - distinct.len() {
        0 => {}
        repeated => observer.remark(&format!("{repeated} problems repeat earlier ones and are worked through once")),
    }
    distinct
}
