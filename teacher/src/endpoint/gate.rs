//! How many requests may be in flight: found by trying, as TCP finds how much a path carries.
//!
//! The limit doubles with every window of answers until the server first says that it is busy; from then on it halves
//! with every such window and grows by one with every window of answers. A request that is sent again needs a token of
//! the retry budget, which answers earn; without one, a single request at a time finds out whether the server is back.

use std::time::{Duration, Instant};

/// Where the limit begins.
const START: f64 = 8.0;
/// The first pause after the server was busy; each further one is twice as long, up to what the settings allow.
const PAUSE: Duration = Duration::from_millis(500);
/// Retries that an answer earns; a power of two, so that they add up to whole ones ...
const EARNED: f64 = 0.125;
/// ... and the most that can be saved up.
const SAVED: f64 = 20.0;

/// The gate before one endpoint.
#[derive(Debug)]
pub(super) struct Gate {
    limit: f64,
    most: f64,
    in_flight: usize,
    /// Until the server was busy for the first time.
    doubling: bool,
    /// Requests sent before the last cut; what they meet was caused before it.
    cut: Instant,
    paused_until: Instant,
    /// Times in a row that the server was busy.
    busy: u32,
    budget: f64,
    /// The longest pause.
    longest: Duration,
}

impl Gate {
    pub(super) fn new(most: usize, longest: Duration, now: Instant) -> Self {
        let most = most as f64;
        Self {
            limit: START.min(most),
            most,
            in_flight: 0,
            doubling: true,
            cut: now,
            paused_until: now,
            busy: 0,
            budget: SAVED,
            longest,
        }
    }

    /// Whether a request may be sent now. `again`: it was sent before.
    pub(super) fn is_open(&self, again: bool, now: Instant) -> bool {
        let room = (self.in_flight as f64) < self.limit.floor().max(1.0);
        let budget = !again || self.budget >= 1.0 || self.in_flight == 0;
        now >= self.paused_until && room && budget
    }

    pub(super) fn sent(&mut self, again: bool) {
        self.in_flight += 1;
        if again {
            self.budget = (self.budget - 1.0).max(0.0);
        }
    }

    /// When the gate opens at the earliest.
    pub(super) fn opens(&self) -> Instant {
        self.paused_until
    }

    /// An attempt ended, and the endpoint works.
    pub(super) fn worked(&mut self) {
        self.in_flight -= 1;
        self.busy = 0;
        self.budget = (self.budget + EARNED).min(SAVED);
        let step = if self.doubling { 1.0 } else { 1.0 / self.limit };
        self.limit = (self.limit + step).min(self.most);
    }

    /// An attempt ended without saying anything about how much the endpoint takes.
    pub(super) fn ended(&mut self) {
        self.in_flight -= 1;
    }

    /// The endpoint was too busy for a request that was sent at `sent`, or out of reach. The pause, where there is a
    /// new one. `jitter` is from [0, 1).
    pub(super) fn was_busy(
        &mut self,
        sent: Instant,
        wait: Option<Duration>,
        jitter: f64,
        now: Instant,
    ) -> Option<Duration> {
        self.in_flight -= 1;
        self.doubling = false;
        let asked = wait.map(|wait| wait.min(self.longest));
        if sent < self.cut && asked.is_none() {
            return None;
        }
        if sent >= self.cut {
            self.limit = (self.limit / 2.0).max(1.0);
            self.busy = self.busy.saturating_add(1);
            self.cut = now;
        }
        let own = PAUSE.saturating_mul(1 << self.busy.saturating_sub(1).min(16)).min(self.longest);
        // Those who were turned away together do not come back together.
        let pause = asked.unwrap_or_default().max(own.mul_f64(0.5)) + own.mul_f64(0.5 * jitter);
        let until = now + pause;
        (until > self.paused_until).then(|| {
            self.paused_until = until;
            pause
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(most: usize) -> (Gate, Instant) {
        let now = Instant::now();
        (Gate::new(most, Duration::from_secs(60), now), now)
    }

    fn fill(gate: &mut Gate, now: Instant) -> usize {
        let before = gate.in_flight;
        while gate.is_open(false, now) {
            gate.sent(false);
        }
        gate.in_flight - before
    }

    #[test]
    fn a_server_that_answers_gets_more_and_no_more_than_allowed() {
        let (mut gate, now) = gate(100);
        assert_eq!(fill(&mut gate, now), 8);
        for expected in [16, 32, 64, 100, 100] {
            (0..gate.in_flight).for_each(|_| gate.worked());
            assert_eq!(fill(&mut gate, now), expected);
        }
    }

    #[test]
    fn a_busy_server_is_asked_half_as_much_once_for_each_window() {
        let (mut gate, start) = gate(64);
        for _ in 0..3 {
            fill(&mut gate, start);
            (0..gate.in_flight).for_each(|_| gate.worked());
        }
        assert_eq!(fill(&mut gate, start), 64);
        let now = start + Duration::from_secs(1);
        let pauses = (0..64).filter(|_| gate.was_busy(start, None, 0.5, now).is_some()).count();
        assert_eq!(pauses, 1, "they were sent together");
        assert!(!gate.is_open(false, now), "the server is left alone");
        let later = now + Duration::from_secs(1);
        assert_eq!(fill(&mut gate, later), 32);
        (0..32).for_each(|_| gate.worked());
        assert_eq!(fill(&mut gate, later), 32, "from now on it grows by one");
        (0..32).for_each(|_| gate.worked());
        assert_eq!(fill(&mut gate, later), 33);
    }

    #[test]
    fn a_storm_is_met_by_ever_fewer_requests_and_survived() {
        let (mut gate, start) = gate(256);
        let (mut now, mut sent) = (start, 0);
        // An hour of nothing but refusals.
        while now < start + Duration::from_secs(3600) {
            let again = sent > 8;
            if gate.is_open(again, now) {
                gate.sent(again);
                sent += 1;
                gate.was_busy(now, None, 0.0, now);
            }
            now += Duration::from_millis(100);
        }
        assert!(sent < 150, "{sent} requests in an hour");
        // Then one answer is enough to go on.
        now += Duration::from_secs(60);
        assert!(gate.is_open(true, now));
        gate.sent(true);
        gate.worked();
        assert!(gate.is_open(false, now));
    }

    #[test]
    fn what_the_server_asks_for_is_heeded_up_to_a_limit() {
        let (mut gate, now) = gate(8);
        gate.sent(false);
        gate.was_busy(now, Some(Duration::from_secs(30)), 0.0, now);
        assert!(!gate.is_open(false, now + Duration::from_secs(29)));
        assert!(gate.is_open(false, now + Duration::from_secs(31)));
        gate.sent(false);
        let later = now + Duration::from_secs(31);
        gate.was_busy(later, Some(Duration::from_secs(1_000_000)), 0.0, later);
        assert!(gate.is_open(false, later + Duration::from_secs(61)));
    }

    #[test]
    fn retries_are_paid_for_by_answers() {
        let (mut gate, now) = gate(100);
        gate.limit = 100.0;
        let mut retries = 0;
        while gate.is_open(true, now) {
            gate.sent(true);
            retries += 1;
        }
        assert_eq!(retries, 20);
        assert!(gate.is_open(false, now), "the first try needs no budget");
        (0..8).for_each(|_| gate.worked());
        assert!(gate.is_open(true, now), "eight answers earn one");
    }
}
