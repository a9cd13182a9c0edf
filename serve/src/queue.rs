//! Between the sockets and the engine: a queue that never ends, and tokens back to whoever asked.
//!
//! The engine's loop runs on a thread of its own and takes what is queued whenever it has a slot, so requests that come
//! while others run join them (continuous batching). A request whose client is gone gives its slot back.

use crate::metrics::Metrics;
use retort_model::capture::{Capture, Targets};
use retort_model::generate::{Completion, JobError, Jobs, Request};
use retort_model::sampling::{NoiseKey, Sampling};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What comes back for a completion that was asked for.
#[derive(Debug)]
pub(crate) enum Event {
    /// The tokens after those told before, and what was captured of them.
    Tokens(Vec<u32>, Targets),
    Done(Box<Completion>),
    /// The model failed; why.
    Failed(String),
}

/// One completion asked for.
struct Work {
    prompt: Arc<[u32]>,
    sampling: Sampling,
    noise: NoiseKey,
    capture: Option<Capture>,
    events: UnboundedSender<Event>,
    /// Tokens told so far.
    told: usize,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    closed: bool,
}

/// The queue as the sockets see it.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
    most: usize,
    pub metrics: Arc<Metrics>,
    /// Everything is to end at once.
    abandoned: AtomicBool,
}

impl Queue {
    pub(crate) fn new(most: usize, metrics: Arc<Metrics>) -> Self {
        let (waiting, more, abandoned) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        Self { waiting, more, most, metrics, abandoned }
    }

    /// Queues a completion; `None` where too many wait already.
    pub(crate) fn submit(
        &self,
        prompt: Arc<[u32]>,
        sampling: Sampling,
        noise: NoiseKey,
        capture: Option<Capture>,
    ) -> Option<UnboundedReceiver<Event>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.closed || waiting.work.len() >= self.most {
            return None;
        }
        let (events, receiver) = unbounded_channel();
        waiting.work.push_back(Work { prompt, sampling, noise, capture, events, told: 0 });
        self.metrics.queued.store(waiting.work.len() as u64, Ordering::Relaxed);
        self.more.notify_one();
        Some(receiver)
    }

    /// Takes no more work; what is queued is still done, unless `abandon`.
    pub(crate) fn close(&self, abandon: bool) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.abandoned.fetch_or(abandon, Ordering::SeqCst);
        self.more.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    /// The next work that somebody waits for. `idle`: wait until there is some, or the queue closes.
    fn take(&self, idle: bool) -> Option<Work> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            while let Some(work) = waiting.work.pop_front() {
                self.metrics.queued.store(waiting.work.len() as u64, Ordering::Relaxed);
                if !work.events.is_closed() {
                    return Some(work);
                }
                self.metrics.abandoned.fetch_add(1, Ordering::Relaxed);
            }
            if !idle || waiting.closed {
                return None;
            }
            const NAP: Duration = Duration::from_millis(500);
            waiting = self.more.wait_timeout(waiting, NAP).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The queue as the engine sees it.
pub(crate) struct Feed<'a> {
    queue: &'a Queue,
    running: HashMap<u64, Work>,
    next: u64,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(queue: &'a Queue) -> Self {
        Self { queue, running: HashMap::new(), next: 0 }
    }

    /// Tells everybody who waits that the model failed.
    pub(crate) fn fail(&mut self, reason: &str) {
        for (_, work) in self.running.drain() {
            let _ = work.events.send(Event::Failed(reason.into()));
        }
        self.count();
    }

    fn count(&self) {
        self.queue.metrics.running.store(self.running.len() as u64, Ordering::Relaxed);
    }
}

impl Jobs for Feed<'_> {
    fn next(&mut self) -> Option<Request> {
        let work = self.queue.take(self.running.is_empty())?;
        self.next += 1;
        let (sampling, noise) = (work.sampling.clone(), work.noise);
        let request = Request { id: self.next, messages: vec![], sampling, noise, capture: work.capture };
        self.running.insert(self.next, work);
        self.count();
        Some(request)
    }

    fn prompt(&mut self, id: u64) -> Option<Vec<u32>> {
        self.running.get(&id).map(|work| work.prompt.to_vec())
    }

    fn is_wanted(&self, id: u64) -> bool {
        self.running.get(&id).is_some_and(|work| !work.events.is_closed())
    }

    fn abandoned(&mut self, id: u64) {
        self.running.remove(&id);
        self.queue.metrics.abandoned.fetch_add(1, Ordering::Relaxed);
        self.count();
    }

    fn advanced(&mut self, id: u64, tokens: &[u32], captured: &Targets) -> Result<(), JobError> {
        if let Some(work) = self.running.get_mut(&id)
            && let Some(new) = tokens.get(work.told..).filter(|new| !new.is_empty())
        {
            let captured = captured.since(work.told);
            work.told = tokens.len();
            // Whoever asked may be gone; the engine learns of it from `is_wanted`.
            let _ = work.events.send(Event::Tokens(new.to_vec(), captured));
        }
        Ok(())
    }

    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError> {
        if let Some(work) = self.running.remove(&id) {
            let metrics = &self.queue.metrics;
            metrics.completions.fetch_add(1, Ordering::Relaxed);
            metrics.completion_tokens.fetch_add(completion.completion_tokens as u64, Ordering::Relaxed);
            let _ = work.events.send(Event::Done(Box::new(completion)));
        }
        self.count();
        Ok(())
    }

    fn cancelled(&self) -> bool {
        self.queue.abandoned.load(Ordering::SeqCst)
    }
}
