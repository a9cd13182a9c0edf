//! What a generator that pays for its requests tells the one whose money it is.
//!
//! A request is admitted with the most it can cost before a byte of it leaves, and settled when its outcome is known. An
//! attempt that is never settled (the process died, the connection did) stays charged in full.

use crate::generate::JobError;

/// Names an attempt; each is admitted once and settled at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId(pub u64);

/// The most that one attempt can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// The request that it is an attempt at ([`crate::generate::Request::id`]).
    pub request: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// Whether an attempt may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    Granted(AttemptId),
    /// There is no money for it; why, in words.
    Refused(String),
}

/// What a server says it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// All tokens of the prompt, the cached ones included.
    pub prompt_tokens: u64,
    /// Those of them that were read from a cache.
    pub cached_tokens: u64,
    pub completion_tokens: u64,
}

/// What an attempt is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// It never reached the server, or was refused before any work was done.
    Nothing,
    /// What the server says.
    Used(Usage),
    /// Nobody can tell: everything that was reserved.
    Unknown,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// One word, such as `answered` or `throttled`.
    pub outcome: &'static str,
    pub charge: Charge,
    /// More about a failure; empty for an answer.
    pub detail: String,
}

/// Keeps account of attempts.
pub trait Attempts {
    /// Reserves the most that an attempt can cost, or refuses it.
    fn admit(&mut self, estimate: &Estimate) -> Result<Admission, JobError>;
    /// Makes durable what was admitted; called before any of it leaves.
    fn commit(&mut self) -> Result<(), JobError>;
    /// Replaces the reserve of an attempt by what it cost.
    fn settle(&mut self, attempt: AttemptId, settlement: &Settlement) -> Result<(), JobError>;
}
