//! How a curation ends before its end: stopped by whoever watches it, who is asked between any two comparisons and from
//! any thread, or by an error.

use crate::Error;
use retort_model::observe::Observer;

/// Whoever watches a curation.
pub type Watcher<'a> = &'a (dyn Observer + Sync);

/// Why a curation ends early.
#[derive(Debug)]
pub(super) enum Halt {
    Stopped,
    Failed(Box<Error>),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// Goes no further where the watcher asks for a stop.
pub(super) fn go_on(watcher: Watcher) -> Result<(), Halt> {
    if watcher.cancelled() { Err(Halt::Stopped) } else { Ok(()) }
}
