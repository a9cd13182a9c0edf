//! The run's side of a generation: hands out what is not stored yet, judges and stores what comes back.

use super::Plan;
use super::turns::Turns;
use crate::Error;
use crate::problem::Problem;
use crate::sample::{Made, Sample, Verdict};
use crate::spend::Spend;
use crate::store::{Keep, TraceStore};
use crate::tally::Tally;
use crate::verify::{self, Verifier};
use retort_model::attempts::Attempts;
use retort_model::capture::Targets;
use retort_model::generate::{Completion, Generate, JobError, Jobs, Request};
use retort_model::observe::Observer;
use std::cell::Cell;
use std::collections::HashSet;
use std::time::Instant;

pub(super) struct Queue<'a> {
    generator: &'a dyn Generate,
    problems: &'a [&'a Problem],
    plan: &'a Plan,
    verifier: &'a dyn Verifier,
    store: &'a mut TraceStore,
    spend: &'a mut Spend,
    observer: &'a dyn Observer,
    turns: Turns,
    /// Requests in flight: `problem * n + sample`.
    open: HashSet<u64>,
    /// Samples that were given up, because their problem had enough before they were done.
    abandoned: u64,
    /// When the observer was first heard to ask for a stop.
    stopped: Cell<Option<Instant>>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(
        generator: &'a dyn Generate,
        problems: &'a [&'a Problem],
        plan: &'a Plan,
        verifier: &'a dyn Verifier,
        store: &'a mut TraceStore,
        spend: &'a mut Spend,
        observer: &'a dyn Observer,
    ) -> Self {
        // What was answered long ago costs no more for being read.
        let quota = plan.quota.filter(|_| !generator.is_recorded());
        let turns = Turns::new(problems.len(), plan.n, quota);
        let (open, stopped) = (HashSet::new(), Cell::new(None));
        let queue =
            Self { generator, problems, plan, verifier, store, spend, observer, turns, open, abandoned: 0, stopped };
        queue.report();
        queue
    }

    /// Ends the run: what was handed out and not answered is not going to be. Gives back how many that are, and how many
    /// samples were left out.
    pub(super) fn close(self) -> (u64, u64) {
        for &id in &self.open {
            if let Some((problem, sample)) = self.key(id) {
                self.store.release(&problem.uuid, sample);
            }
        }
        (self.open.len() as u64, self.abandoned + self.store.left_out())
    }

    /// The problem and the sample's number behind a request; `None` past the end.
    fn key(&self, id: u64) -> Option<(&'a Problem, u32)> {
        let n = u64::from(self.plan.n);
        let problem = self.problems.get(usize::try_from(id / n).ok()?)?;
        // Below `n`, which is a u32.
        Some((problem, (id % n) as u32))
    }

    /// What the run cost so far and is going to cost, in words.
    pub(super) fn cost(&self) -> String {
        let tally = self.store.tally();
        self.spend.note(tally.kept, tally.samples(), tally.samples() + self.store.left())
    }

    fn report(&self) {
        self.observer.advanced(self.store.acknowledged(), &progress_note(self.store.tally(), &self.cost()));
    }

    /// Since when the observer wants this to stop, if it does.
    fn stopped(&self) -> Option<Instant> {
        if self.stopped.get().is_none() && self.observer.cancelled() {
            self.stopped.set(Some(Instant::now()));
            if !self.open.is_empty() && !self.plan.grace.is_zero() {
                let (open, grace) = (self.open.len(), self.plan.grace.as_secs());
                self.observer.remark(&format!("{open} samples are in flight and may end within {grace} s"));
            }
        }
        self.stopped.get()
    }

    fn sample(&self, problem: &Problem, sample: u32, completion: Completion) -> Sample {
        let judgement = verify::classify(problem, &completion, self.verifier);
        let kept = match self.plan.keep {
            Keep::Right => judgement.verdict == Verdict::Right,
            Keep::All => true,
        };
        let made = Made {
            run_id: self.store.manifest().run_id.clone(),
            sample,
            generator: format!("{}@{}", self.generator.name(), self.generator.fingerprint()),
            seed: self.plan.seed,
        };
        Sample::new(made, problem, &self.plan.messages(problem), completion, judgement, kept)
    }
}

impl Jobs for Queue<'_> {
    fn next(&mut self) -> Option<Request> {
        if self.stopped().is_some() {
            return None;
        }
        let (problems, store) = (self.problems, &*self.store);
        let id = self.turns.next(|problem, sample| store.needs(&problems[problem].uuid, sample))?;
        let (problem, sample) = self.key(id)?;
        self.open.insert(id);
        self.store.expect(&problem.uuid, sample);
        Some(self.plan.request(id, problem, sample))
    }

    fn advanced(&mut self, _id: u64, _tokens: &[u32], _: &Targets) -> Result<(), JobError> {
        Ok(self.store.acknowledge_if_due()?)
    }

    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError> {
        let asked = if self.open.remove(&id) { self.key(id) } else { None };
        let Some((problem, sample)) = asked else {
            return Err(Error::UnknownRequest { generator: self.generator.name().into(), id }.into());
        };
        let sample = self.sample(problem, sample, completion);
        self.turns.ended(id, Some(sample.verdict == Verdict::Right));
        self.store.append(sample)?;
        self.report();
        Ok(())
    }

    fn is_wanted(&self, id: u64) -> bool {
        // What is paid for is taken.
        !self.generator.is_reproducible()
            || self.key(id).is_none_or(|(problem, sample)| self.store.needs(&problem.uuid, sample))
    }

    fn abandoned(&mut self, id: u64) {
        if let Some((problem, sample)) = self.key(id).filter(|_| self.open.remove(&id)) {
            self.store.release(&problem.uuid, sample);
            self.turns.ended(id, None);
            self.abandoned += 1;
        }
    }

    fn cancelled(&self) -> bool {
        self.stopped().is_some_and(|since| since.elapsed() >= self.plan.grace)
    }

    fn attempts(&mut self) -> Option<&mut dyn Attempts> {
        Some(self.spend)
    }
}

/// `62.5% right, 1234 tokens`, and the cost behind it where there is one.
pub(super) fn progress_note(tally: &Tally, cost: &str) -> String {
    let share = tally.share_right();
    let outcome = share.map(|share| format!("{:.1}% right, {} tokens", 100.0 * share, tally.completion_tokens));
    let parts: Vec<&str> = outcome.as_deref().into_iter().chain((!cost.is_empty()).then_some(cost)).collect();
    parts.join(", ")
}
