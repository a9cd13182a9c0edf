//! How libraries speak: they report to an [`Observer`] and never print, read the environment or exit.

/// Receives progress and remarks from long work. Every method has an empty default.
pub trait Observer {
    /// A stage begins; `total` counts `unit`s where it is known.
    fn started(&self, stage: &str, total: Option<u64>, unit: &str) {
        let _ = (stage, total, unit);
    }
    /// `done` units of the current stage are finished; `note` is a short status such as a loss or a score.
    fn advanced(&self, done: u64, note: &str) {
        let _ = (done, note);
    }
    /// The current stage is over.
    fn finished(&self, summary: &str) {
        let _ = summary;
    }
    /// A remark worth a line of its own.
    fn remark(&self, line: &str) {
        let _ = line;
    }
    /// Asked between units of work; `true` asks the work to stop at the next safe point.
    fn cancelled(&self) -> bool {
        false
    }
}

/// An observer that hears nothing.
pub struct Silent;

impl Observer for Silent {}
