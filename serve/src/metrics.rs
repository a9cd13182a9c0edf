//! Counts of what the endpoint does, in Prometheus's text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    answers: Mutex<BTreeMap<u16, u64>>,
    pub prompt_tokens: AtomicU64,
    pub completion_tokens: AtomicU64,
    pub completions: AtomicU64,
    /// Completions that nobody waited for any more.
    pub abandoned: AtomicU64,
    pub queued: AtomicU64,
    pub running: AtomicU64,
}

impl Metrics {
    pub(crate) fn answered(&self, status: u16) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }

    pub(crate) fn render(&self) -> String {
        let mut text = String::from("# TYPE retort_http_responses_total counter\n");
        for (status, count) in &*self.answers.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(text, "retort_http_responses_total{{status=\"{status}\"}} {count}");
        }
        for (name, kind, value) in [
            ("prompt_tokens_total", "counter", &self.prompt_tokens),
            ("completion_tokens_total", "counter", &self.completion_tokens),
            ("completions_total", "counter", &self.completions),
            ("abandoned_completions_total", "counter", &self.abandoned),
            ("queued_completions", "gauge", &self.queued),
            ("running_completions", "gauge", &self.running),
        ] {
            let value = value.load(Ordering::Relaxed);
            let _ = writeln!(text, "# TYPE retort_{name} {kind}\nretort_{name} {value}");
        }
        text
    }
}
