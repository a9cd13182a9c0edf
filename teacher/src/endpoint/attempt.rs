//! A request on its way to an answer, and one attempt at it on the endpoint's runtime.

use super::Way;
use super::answer::{Expected, Reply};
use super::failure::{Class, Failure};
use super::prompt::Prepared;
use retort_model::attempts::AttemptId;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

/// A request and what became of it so far.
pub(super) struct Ticket {
    pub id: u64,
    pub prepared: Arc<Prepared>,
    /// Times that it was sent.
    pub sent: u32,
    /// Times that the failure was its own.
    pub failed: u32,
}

/// A request that was sent.
pub(super) struct Flight {
    pub ticket: Ticket,
    pub sent: Instant,
}

/// What an attempt came to.
pub(super) struct Report {
    pub attempt: AttemptId,
    pub result: Result<Reply, Failure>,
}

/// Reports on every way out of an attempt, a panic included: nothing waits for an attempt that is gone.
struct Reporter {
    attempt: AttemptId,
    result: Option<Result<Reply, Failure>>,
    reports: Sender<Report>,
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let lost = || Err(Failure::new(Class::Broken, "the attempt was abandoned"));
        let result = self.result.take().unwrap_or_else(lost);
        // Nobody listens any more where the run is over.
        let _ = self.reports.send(Report { attempt: self.attempt, result });
    }
}

/// Makes one attempt and reports.
pub(super) fn fly(
    way: Arc<Way>,
    prepared: Arc<Prepared>,
    attempt: AttemptId,
    reports: Sender<Report>,
) -> impl Future<Output = ()> + Send + 'static {
    let reporter = Reporter { attempt, result: None, reports };
    async move {
        // All of the reporter moves in here, so that it is dropped with the attempt, wherever that ends.
        let mut reporter = reporter;
        let Way { transport, profile, model, answers_as, .. } = &*way;
        let &Prepared { form, ref prompt, captured, route, estimate, .. } = &*prepared;
        let most = estimate.completion_tokens;
        let expected = Expected { profile, model, answers_as, form, prompt, captured, most };
        reporter.result = Some(transport.complete(route, &prepared, expected).await);
    }
}
