//! Works through a queue of requests: as many at once as the gate lets through, each sent until it is answered.
//!
//! The caller's thread decides everything (what is sent, what is stored, what is charged); the attempts themselves run on
//! the endpoint's own runtime and report here. A request leaves only after its attempt was admitted and made durable.

use super::answer::Reply;
use super::attempt::{Flight, Report, Ticket, fly};
use super::breaker::Breaker;
use super::failure::{Class, Failure, shown};
use super::gate::Gate;
use super::prompt::{Form, prepare, unsupported};
use super::{Endpoint, Error, echo};
use retort_model::attempts::{Admission, AttemptId, Charge, Estimate, Settlement};
use retort_model::chat::Thought;
use retort_model::generate::{Completion, FinishReason, GenerateError, Jobs, Request};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The longest sleep between two looks at whether the caller has had enough.
const NAP: Duration = Duration::from_millis(100);
/// And the shortest.
const SHORTEST_NAP: Duration = Duration::from_millis(2);
/// The first wait of a request that failed; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Time between two remarks about a busy server.
const QUIET: Duration = Duration::from_secs(10);

pub(super) struct Pump<'a> {
    endpoint: &'a Endpoint<'a>,
    jobs: &'a mut dyn Jobs,
    gate: Gate,
    flying: HashMap<AttemptId, Flight>,
    /// Requests to be sent again, by the time for it.
    waiting: BTreeMap<(Instant, u64), Ticket>,
    /// Counts tickets that wait and attempts that nobody counts.
    counter: u64,
    tasks: JoinSet<()>,
    reports: (Sender<Report>, Receiver<Report>),
    /// The queue has no more.
    exhausted: bool,
    /// Why nothing is sent any more.
    stopped: Option<Error>,
    breaker: Breaker,
    /// Whether the server answered once; until then, what it refuses is held back.
    has_answered: bool,
    /// Requests that it refused before, and why.
    held: Vec<(u64, String)>,
    /// Requests that were given up.
    given_up: u64,
    spoke: Option<Instant>,
    fingerprint: Option<String>,
    told_usage: bool,
    random: RandomState,
}

impl<'a> Pump<'a> {
    pub(super) fn new(endpoint: &'a Endpoint<'a>, jobs: &'a mut dyn Jobs) -> Self {
        let longest = Duration::from_secs_f64(endpoint.settings.max_pause_seconds);
        Self {
            gate: Gate::new(endpoint.settings.max_in_flight, longest, Instant::now()),
            endpoint,
            jobs,
            flying: HashMap::new(),
            waiting: BTreeMap::new(),
            counter: 0,
            tasks: JoinSet::new(),
            reports: channel(),
            exhausted: false,
            stopped: None,
            breaker: Breaker::new(endpoint.settings.max_failures),
            has_answered: endpoint.settings.max_failures >= 1.0,
            held: Vec::new(),
            given_up: 0,
            spoke: None,
            fingerprint: None,
            told_usage: false,
            random: RandomState::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<(), GenerateError> {
        let worked = self.work();
        // Whatever is still in flight is charged in full: nobody will know what became of it.
        self.tasks.abort_all();
        let open: Vec<AttemptId> = self.flying.keys().copied().collect();
        let abandoned = || Settlement { outcome: "abandoned", charge: Charge::Unknown, detail: String::new() };
        let settled = open.into_iter().try_for_each(|attempt| self.settle(attempt, &abandoned()));
        worked.and(settled)?;
        if self.given_up > 0 {
            let times = self.endpoint.settings.attempts;
            self.endpoint
                .observer
                .remark(&format!("{} requests were given up after {times} attempts each", self.given_up));
        }
        if let Some((_, reason)) = self.held.pop().filter(|_| self.stopped.is_none() && !self.jobs.cancelled()) {
            let address = self.endpoint.way.transport.address().to_string();
            self.stopped = Some(Error::AllRefused { address, refused: self.held.len() + 1, reason });
        }
        match self.stopped {
            Some(error) => Err(GenerateError::Remote(error.into())),
            None => Ok(()),
        }
    }

    fn work(&mut self) -> Result<(), GenerateError> {
        // Whoever cancels has waited for what is in flight as long as he wanted to.
        while !self.jobs.cancelled() {
            if self.stopped.is_none() {
                self.launch()?;
            }
            let is_over = self.stopped.is_some() || self.exhausted && self.waiting.is_empty();
            if self.flying.is_empty() && is_over {
                break;
            }
            match self.reports.1.recv_timeout(self.nap()) {
                Ok(report) => {
                    self.land(report)?;
                    while let Ok(report) = self.reports.1.try_recv() {
                        self.land(report)?;
                    }
                }
                // This end holds a sender too, so it cannot be disconnected.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            while self.tasks.try_join_next().is_some() {}
        }
        Ok(())
    }

    /// Until the next request may be due.
    fn nap(&self) -> Duration {
        let now = Instant::now();
        let due = self.waiting.keys().next().map(|(due, _)| (*due).max(self.gate.opens()));
        due.map_or(NAP, |due| due.saturating_duration_since(now)).clamp(SHORTEST_NAP, NAP)
    }

    /// Sends what the gate lets through.
    fn launch(&mut self) -> Result<(), GenerateError> {
        let mut admitted = Vec::new();
        let now = Instant::now();
        while let Some(ticket) = self.next_ticket(now)? {
            let admission = match self.jobs.attempts() {
                Some(attempts) => attempts.admit(&ticket.prepared.estimate).map_err(GenerateError::Job)?,
                None => {
                    self.counter += 1;
                    Admission::Granted(AttemptId(self.counter))
                }
            };
            match admission {
                Admission::Granted(attempt) => {
                    self.gate.sent(ticket.sent > 0);
                    admitted.push((attempt, ticket));
                }
                Admission::Refused(reason) => {
                    self.wait(ticket, now + NAP);
                    // What is in flight may turn out cheaper than it could have been.
                    if self.flying.is_empty() && admitted.is_empty() {
                        self.stopped = Some(Error::Money { reason });
                    }
                    break;
                }
            }
        }
        if admitted.is_empty() {
            return Ok(());
        }
        if let Some(attempts) = self.jobs.attempts() {
            attempts.commit().map_err(GenerateError::Job)?;
        }
        admitted.into_iter().for_each(|(attempt, ticket)| self.send(attempt, ticket, now));
        Ok(())
    }

    /// A request that may be sent now: one that waited long enough, or a new one.
    fn next_ticket(&mut self, now: Instant) -> Result<Option<Ticket>, GenerateError> {
        if let Some(entry) = self.waiting.first_entry()
            && entry.key().0 <= now
            && self.gate.is_open(entry.get().sent > 0, now)
        {
            return Ok(Some(entry.remove()));
        }
        if self.exhausted || !self.gate.is_open(false, now) {
            return Ok(None);
        }
        let Some(request) = self.jobs.next() else {
            self.exhausted = true;
            return Ok(None);
        };
        Ok(Some(self.ticket(&request)?))
    }

    /// Makes a request ready; one whose prompt the caller has as token ids is about those.
    fn ticket(&mut self, request: &Request) -> Result<Ticket, GenerateError> {
        let Endpoint { way, settings, renderer, .. } = self.endpoint;
        let ticket = |prepared| Ticket { id: request.id, prepared: Arc::new(prepared), sent: 0, failed: 0 };
        if let Some(prompt) = self.jobs.prompt(request.id) {
            return Ok(ticket(echo::prepare(self.endpoint, request, prompt)));
        }
        if let Some((setting, found, expected)) = unsupported(request, way.api, &way.profile) {
            let model = way.model.clone();
            return Err(GenerateError::Setting { model, setting, found, expected });
        }
        let prepared = prepare(request, &way.model, way.api, settings, &way.profile, renderer.as_ref());
        Ok(ticket(prepared.map_err(|error| GenerateError::Remote(error.into()))?))
    }

    fn send(&mut self, attempt: AttemptId, mut ticket: Ticket, now: Instant) {
        ticket.sent += 1;
        let attempt_at = fly(self.endpoint.way.clone(), ticket.prepared.clone(), attempt, self.reports.0.clone());
        self.tasks.spawn_on(attempt_at, self.endpoint.runtime());
        self.flying.insert(attempt, Flight { ticket, sent: now });
    }

    /// Takes what became of an attempt.
    fn land(&mut self, report: Report) -> Result<(), GenerateError> {
        let Some(flight) = self.flying.remove(&report.attempt) else { return Ok(()) };
        match report.result {
            Ok(reply) => self.answered(report.attempt, flight, reply),
            Err(failure) => {
                let Failure { class, detail, .. } = &failure;
                let settlement = Settlement { outcome: class.name(), charge: class.charge(), detail: detail.clone() };
                self.settle(report.attempt, &settlement)?;
                let reason = detail.clone();
                self.failed(flight, failure)?;
                let verdict = self.breaker.look(self.flying.values().map(|flight| flight.sent));
                self.stop_where(verdict, &reason);
                Ok(())
            }
        }
    }

    fn answered(&mut self, attempt: AttemptId, flight: Flight, reply: Reply) -> Result<(), GenerateError> {
        let Flight { ticket, sent } = flight;
        self.gate.worked();
        self.breaker.worked(sent);
        if reply.fingerprint.is_some() && reply.fingerprint != self.fingerprint {
            if let (Some(before), Some(now)) = (&self.fingerprint, &reply.fingerprint) {
                self.endpoint.observer.remark(&format!(
                    "the server's system_fingerprint changed from `{}` to `{}`",
                    shown(before),
                    shown(now)
                ));
            }
            self.fingerprint = reply.fingerprint;
        }
        let detail = reply.implausible.map_or(String::new(), |stated| {
            let Estimate { prompt_tokens, completion_tokens, .. } = ticket.prepared.estimate;
            let rows = reply.completion.completion_tokens;
            format!(
                "the server says that an answer used {stated}, which is implausible: it is charged as {prompt_tokens} and \
                 {completion_tokens}, the most it can have used, and its row counts {rows} completion tokens"
            )
        });
        if reply.usage.is_none() && !std::mem::replace(&mut self.told_usage, true) {
            let silent = "the server does not say what a request used; each is charged the most it can be";
            self.endpoint.observer.remark(if detail.is_empty() { silent } else { &detail });
        }
        let charge = reply.usage.map_or(Charge::Unknown, Charge::Used);
        let settlement = Settlement { outcome: "answered", charge, detail };
        // The sample first: what is paid for must not be lost, what is stored may be charged in full.
        self.jobs.done(ticket.id, reply.completion).map_err(GenerateError::Job)?;
        self.exhausted = false;
        self.settle(attempt, &settlement)?;
        self.has_answered = true;
        self.believe_refusals()
    }

    /// Takes what the server refused as its answers: it works, so the requests are to blame.
    fn believe_refusals(&mut self) -> Result<(), GenerateError> {
        let held = std::mem::take(&mut self.held);
        held.into_iter().try_for_each(|(id, reason)| self.jobs.done(id, refused(reason))).map_err(GenerateError::Job)
    }

    fn failed(&mut self, flight: Flight, failure: Failure) -> Result<(), GenerateError> {
        let Flight { mut ticket, sent } = flight;
        let (now, address) = (Instant::now(), self.endpoint.way.transport.address().to_string());
        if failure.class.is_endpoints() {
            let jitter = self.jitter();
            if let Some(pause) = self.gate.was_busy(sent, failure.retry_after, jitter, now) {
                self.speak(&format!("{address}: {}; the next request goes out in {pause:.1?}", failure.detail));
            }
            self.wait(ticket, now);
            return Ok(());
        }
        self.gate.ended();
        let reason = failure.detail;
        match failure.class {
            Class::Access => {
                let key = self.endpoint.way.transport.key_place();
                self.stopped = Some(Error::Access { address, reason, key });
            }
            Class::Quota => self.stopped = Some(Error::Quota { address, reason }),
            Class::Redirect => self.stopped = Some(Error::Redirect { address, reason }),
            Class::Unusable => self.stopped = Some(Error::Unusable { address, reason }),
            Class::OtherModel => {
                let expected = self.endpoint.way.model.clone();
                self.stopped = Some(Error::OtherModel { address, expected, found: reason });
            }
            Class::Rejected => {
                self.held.push((ticket.id, reason.clone()));
                // Whoever asks about given text needs every answer.
                if self.has_answered || ticket.prepared.form == Form::Echo {
                    self.believe_refusals()?;
                }
                let verdict = self.breaker.failed();
                self.stop_where(verdict, &reason);
            }
            class => {
                ticket.failed += 1;
                let verdict = match class {
                    Class::Broken => self.breaker.broke(sent, now),
                    _ => self.breaker.failed(),
                };
                self.stop_where(verdict, &reason);
                if ticket.failed < self.endpoint.settings.attempts {
                    let wait = FIRST_WAIT.saturating_mul(1 << (ticket.failed - 1).min(16));
                    let most = Duration::from_secs_f64(self.endpoint.settings.max_wait_seconds);
                    // All of it and none of it are equally likely, so that no two requests keep step.
                    let due = now + wait.min(most).mul_f64(self.jitter());
                    self.wait(ticket, due);
                } else {
                    self.given_up += 1;
                    self.speak(&format!("a request was given up: {reason}"));
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self, ticket: Ticket, due: Instant) {
        self.counter += 1;
        self.waiting.insert((due, self.counter), ticket);
    }

    /// Stops where so many of so many attempts came to nothing, the last one for this reason.
    fn stop_where(&mut self, verdict: Option<(usize, usize)>, reason: &str) {
        if let Some((failed, of)) = verdict.filter(|_| self.stopped.is_none()) {
            let address = self.endpoint.way.transport.address().to_string();
            self.stopped = Some(Error::TooManyFailures { address, failed, of, reason: reason.into() });
        }
    }

    fn settle(&mut self, attempt: AttemptId, settlement: &Settlement) -> Result<(), GenerateError> {
        match self.jobs.attempts() {
            Some(attempts) => attempts.settle(attempt, settlement).map_err(GenerateError::Job),
            None => Ok(()),
        }
    }

    fn speak(&mut self, line: &str) {
        if self.spoke.is_none_or(|last| last.elapsed() >= QUIET) {
            self.spoke = Some(Instant::now());
            self.endpoint.observer.remark(line);
        }
    }

    /// A number from [0, 1) that no other client draws.
    fn jitter(&mut self) -> f64 {
        self.counter += 1;
        (self.random.hash_one(self.counter) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What stands for an answer that the server will not give.
fn refused(reason: String) -> Completion {
    Completion::of(Thought { response: reason, ..Thought::default() }, FinishReason::Refused)
}
