//! Stops a run of which most comes to nothing: the model, its profile or its template cannot be right.

use std::collections::VecDeque;

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
}

impl Breaker {
    pub(super) fn new(most: f64) -> Self {
        Self { latest: VecDeque::new(), most }
    }

    /// Counts an attempt that gave a sample.
    pub(super) fn worked(&mut self) {
        self.count(true);
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

    #[test]
    fn a_bad_beginning_and_a_bad_turn_are_seen_and_a_bad_day_is_not() {
        let mut breaker = Breaker::new(0.5);
        let first = (1..).find(|_| breaker.failed().is_some());
        assert_eq!(first, Some(EARLY));

        let mut breaker = Breaker::new(0.5);
        (0..1000).for_each(|_| breaker.worked());
        let turn = (1..).find(|_| breaker.failed().is_some());
        assert_eq!(turn, Some(WINDOW / 2 + 1), "what is long past does not count");

        let mut breaker = Breaker::new(0.5);
        for _ in 0..1000 {
            breaker.worked();
            assert_eq!(breaker.failed(), None);
        }
    }
}
