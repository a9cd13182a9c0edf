//! Whether guessing a token ahead pays: what a token costs with guesses and without, on this machine and for this model.
//!
//! A step that checks guesses reads the experts of two tokens and runs the module behind it. What that costs beside a plain
//! step depends on the model, its format, the cache's length and how many sequences there are, so it is timed, not assumed.
//! Completions are the same either way; only their time is at stake.

use std::time::Duration;

/// How many guesses were made and how many of them were right.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DraftCount {
    pub drafted: u64,
    pub accepted: u64,
}

/// Steps after which it is asked whether guesses pay.
const TRIAL: usize = 64;

/// One step in so many withholds its guesses, so that a plain one's time is known.
const PLAIN_EVERY: usize = 8;

/// The steps since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Trial {
    guessing: Pace,
    plain: Pace,
}

impl Trial {
    /// Whether the next step is to be a plain one.
    pub(super) fn withholds(&self) -> bool {
        self.steps() % PLAIN_EVERY == PLAIN_EVERY - 1
    }

    fn steps(&self) -> usize {
        self.guessing.times.len() + self.plain.times.len()
    }

    /// Takes note of a step in which `sequences` drew `tokens`, and says whether guesses are worth going on with.
    pub(super) fn goes_on(&mut self, withheld: bool, sequences: usize, tokens: usize, time: Duration) -> bool {
        let pace = if withheld { &mut self.plain } else { &mut self.guessing };
        pace.add(sequences, tokens, time);
        if self.steps() < TRIAL {
            return true;
        }
        let Self { guessing, plain } = std::mem::take(self);
        // Whatever the clock says of it, a module of which next to nothing is kept saves nothing.
        let kept = guessing.tokens - guessing.sequences;
        10 * kept >= guessing.sequences && guessing.seconds_per_token() < plain.seconds_per_token()
    }
}

/// Steps of one kind.
#[derive(Debug, Default)]
struct Pace {
    /// Seconds per sequence of each step.
    times: Vec<f64>,
    sequences: usize,
    tokens: usize,
}

impl Pace {
    fn add(&mut self, sequences: usize, tokens: usize, time: Duration) {
        self.times.push(time.as_secs_f64() / sequences as f64);
        self.sequences += sequences;
        self.tokens += tokens;
    }

    /// By the median step, since any may be interrupted.
    fn seconds_per_token(mut self) -> f64 {
        self.times.sort_by(f64::total_cmp);
        let middle = self.times.get(self.times.len() / 2).copied().unwrap_or(f64::INFINITY);
        middle * self.sequences as f64 / self.tokens as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a trial ends well for guesses of which `kept` in a hundred are right and whose steps take `cost` times a
    /// plain one, when every ninth step is interrupted.
    fn pays(kept: usize, cost: u64) -> bool {
        let mut trial = Trial::default();
        (0..TRIAL).all(|step| {
            let withheld = trial.withholds();
            let (tokens, millis) = if withheld { (100, 1000) } else { (100 + kept, 10 * cost) };
            let late = if step % 9 == 0 { 50_000 } else { 0 };
            trial.goes_on(withheld, 100, tokens, Duration::from_millis(millis + late))
        })
    }

    #[test]
    fn guesses_go_on_where_they_save_time() {
        assert!(pays(99, 150) && pays(60, 150));
        assert!(!pays(99, 210) && !pays(40, 150));
        // The step is free, and yet nothing is gained.
        assert!(!pays(9, 1));
    }
}
