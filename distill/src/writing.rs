//! A batch of completions that a model writes while it is trained, in the order in which they were asked for.

use crate::Error;
use retort_model::generate::{Completion, Generate, JobError, Jobs, Request};
use retort_model::observe::Observer;

/// What `writer` makes of `requests`; their ids are set here. Where `observer` asks to stop before all are written, that is
/// an error, [`Error::is_interruption`].
pub(crate) fn written(
    writer: &dyn Generate,
    requests: Vec<Request>,
    observer: &dyn Observer,
) -> Result<Vec<Option<Completion>>, Error> {
    let written = requests.iter().map(|_| None).collect();
    let numbered = requests.into_iter().enumerate().rev();
    let requests = numbered.map(|(id, request)| Request { id: id as u64, ..request }).collect();
    let mut work = Writing { requests, written, observer };
    writer.generate(&mut work)?;
    // A generator leaves out what it could not write, and all that was left when it was told to stop.
    match observer.cancelled() && work.written.iter().any(Option::is_none) {
        true => Err(retort_model::Error::Interrupted.into()),
        false => Ok(work.written),
    }
}

/// The requests left, last first, and what came of the others.
struct Writing<'a> {
    requests: Vec<Request>,
    written: Vec<Option<Completion>>,
    observer: &'a dyn Observer,
}

impl Jobs for Writing<'_> {
    fn next(&mut self) -> Option<Request> {
        self.requests.pop()
    }

    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError> {
        self.written[id as usize] = Some(completion);
        Ok(())
    }
    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }
}
