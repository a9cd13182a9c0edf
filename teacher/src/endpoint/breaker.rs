//! Stops a run of which most comes to nothing: the model, its profile or its template cannot be right.
//!
//! A server that is restarted, or a network that is lost, breaks off every answer that is under way. That is one failure,
//! however many answers it hits: those that break off are held back until it is clear whether all did that were under way
//! when the first one did. One of them that comes to a good end shows that the others failed by themselves.

use std::collections::VecDeque;
use std::time::Instant;

/// Attempts that are looked at ...
const WINDOW: usize = 200;
/// ... once there are so many.
const EARLY: usize = 20;

/// The latest attempts.
#[derive(Debug)]
pub(super) struct Breaker {
    latest: VecDeque<bool>,
    /// The share of them that may come to nothing.
    most: f64,
    storm: Option<Storm>,
}

/// Answers that broke off and may have done so together.
#[derive(Debug, Clone, Copy)]
struct Storm {
    /// When the first one did.
    since: Instant,
    broken: usize,
}

impl Breaker {
    pub(super) fn new(most: f64) -> Self {
        Self { latest: VecDeque::new(), most, storm: None }
    }

    /// Counts an attempt, sent at `sent`, that gave a sample.
    pub(super) fn worked(&mut self, sent: Instant) {
        if let Some(storm) = self.storm.take_if(|storm| sent < storm.since) {
            (0..storm.broken).for_each(|_| self.count(false));
        }
        self.count(true);
    }

    /// Takes note of an answer that broke off at `now`; how many of how many attempts failed, where that is too much.
    pub(super) fn broke(&mut self, sent: Instant, now: Instant) -> Option<(usize, usize)> {
        match &mut self.storm {
            Some(storm) if sent < storm.since => storm.broken += 1,
            Some(_) => return self.failed(),
            None => self.storm = Some(Storm { since: now, broken: 1 }),
        }
        None
    }

    /// Looks whether a storm is over, `open` being when the attempts in flight were sent: then it counts once.
    pub(super) fn look(&mut self, mut open: impl Iterator<Item = Instant>) -> Option<(usize, usize)> {
        self.storm.take_if(|storm| open.all(|sent| sent >= storm.since)).and_then(|_| self.failed())
    }

    /// Counts one that did not; how many of how many failed, where that is too much.
    pub(super) fn failed(&mut self) -> Option<(usize, usize)> {
        self.count(false);
        let (of, failed) = (self.latest.len(), self.latest.iter().filter(|worked| !**worked).count());
        (of >= EARLY && failed as f64 > self.most * of as f64).then_some((failed, of))
    }

    fn count(&mut self, worked: bool) {
        self.latest.push_back(worked);
        if self.latest.len() > WINDOW {
            self.latest.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bad_beginning_and_a_bad_turn_are_seen_and_a_bad_day_is_not() {
        let mut breaker = Breaker::new(0.5);
        let first = (1..).find(|_| breaker.failed().is_some());
        assert_eq!(first, Some(EARLY));

        let mut breaker = Breaker::new(0.5);
        (0..1000).for_each(|_| breaker.worked(Instant::now()));
        let turn = (1..).find(|_| breaker.failed().is_some());
        assert_eq!(turn, Some(WINDOW / 2 + 1), "what is long past does not count");

        let mut breaker = Breaker::new(0.5);
        for _ in 0..1000 {
            breaker.worked(Instant::now());
            assert_eq!(breaker.failed(), None);
        }
    }

    #[test]
    fn what_breaks_off_at_once_fails_once_and_what_breaks_off_by_itself_each_time() {
        let before = Instant::now();
        let at = |seconds: u64| before + Duration::from_secs(seconds);
        let mut breaker = Breaker::new(0.5);
        (0..30).for_each(|_| breaker.worked(before));
        // A hundred in flight, all of which a restart hits; those sent after it do not matter.
        for left in (0..100).rev() {
            assert_eq!(breaker.broke(before, at(1)), None);
            assert_eq!(breaker.look((0..left).map(|_| before).chain([at(2)])), None);
        }
        assert_eq!(breaker.latest.iter().filter(|worked| !**worked).count(), 1);

        // The same, but one ends well.
        for _ in 0..99 {
            assert_eq!(breaker.broke(at(2), at(3)), None);
            assert_eq!(breaker.look([at(2)].into_iter()), None);
        }
        breaker.worked(at(2));
        assert_eq!(breaker.failed(), Some((101, 132)));

        // One request at a time.
        let mut breaker = Breaker::new(0.5);
        let failures = (1..).find(|&second| {
            let _ = breaker.broke(at(second), at(second + 1));
            breaker.look(std::iter::empty()).is_some()
        });
        assert_eq!(failures, Some(EARLY as u64));
    }
}
