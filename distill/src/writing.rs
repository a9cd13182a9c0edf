//! A batch of completions that a model writes while it is trained, in the order in which they were asked for.

use crate::Error;
use retort_model::generate::{Completion, Generate, JobError, Jobs, Request};

/// What `writer` makes of `requests`; their ids are set here.
pub(crate) fn written(writer: &dyn Generate, requests: Vec<Request>) -> Result<Vec<Option<Completion>>, Error> {
    let written = requests.iter().map(|_| None).collect();
    let numbered = requests.into_iter().enumerate().rev();
    let requests = numbered.map(|(id, request)| Request { id: id as u64, ..request }).collect();
    let mut work = Writing { requests, written };
    writer.generate(&mut work)?;
    Ok(work.written)
}

/// The requests left, last first, and what came of the others.
struct Writing {
    requests: Vec<Request>,
    written: Vec<Option<Completion>>,
}

impl Jobs for Writing {
    fn next(&mut self) -> Option<Request> {
        self.requests.pop()
    }

    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError> {
        self.written[id as usize] = Some(completion);
        Ok(())
    }
}
