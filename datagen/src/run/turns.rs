//! Which sample is asked for next: problem by problem and, where a quota ends a problem, no more of it at once than its
//! rate so far makes likely to be needed.

use std::collections::BTreeMap;

/// Hands out the samples of a run, each once, as `problem * n + sample`.
pub(super) struct Turns {
    problems: usize,
    n: u32,
    quota: Option<u32>,
    /// The first problem of which nothing was handed out.
    fresh: usize,
    /// Problems begun that may have samples to hand out, by their numbers.
    begun: BTreeMap<usize, Begun>,
}

/// What is known in this run of a problem's samples.
#[derive(Default)]
struct Begun {
    /// The first that was not handed out.
    next: u32,
    open: u32,
    done: u32,
    right: u32,
}

impl Begun {
    /// Whether one more at once is likely to be needed: with r of d samples right, (quota - r) (d + 1) / (r + 1) more give
    /// what is missing. At first that is the quota itself, so that a problem that is always solved costs no more than it.
    fn has_room(&self, quota: u32) -> bool {
        let missing = u64::from(quota.saturating_sub(self.right));
        u64::from(self.open) < (missing * u64::from(self.done + 1)).div_ceil(u64::from(self.right + 1))
    }
}

impl Turns {
    /// `n` samples of each problem at most; `quota` right ones end a problem.
    pub(super) fn new(problems: usize, n: u32, quota: Option<u32>) -> Self {
        Self { problems, n, quota, fresh: 0, begun: BTreeMap::new() }
    }

    /// A sample that is still needed; `None` where there is none before another ends.
    pub(super) fn next(&mut self, is_needed: impl Fn(usize, u32) -> bool) -> Option<u64> {
        loop {
            let turn = self.begun.iter_mut().find(|(_, begun)| self.quota.is_none_or(|quota| begun.has_room(quota)));
            let Some((&problem, begun)) = turn else {
                if self.fresh == self.problems {
                    return None;
                }
                self.begun.insert(self.fresh, Begun::default());
                self.fresh += 1;
                continue;
            };
            match (begun.next..self.n).find(|&sample| is_needed(problem, sample)) {
                Some(sample) => {
                    (begun.next, begun.open) = (sample + 1, begun.open + 1);
                    return Some(problem as u64 * u64::from(self.n) + u64::from(sample));
                }
                // What is not needed now never will be.
                None => _ = self.begun.remove(&problem),
            }
        }
    }

    /// Tells of a sample that came, or, with `None`, is not going to.
    pub(super) fn ended(&mut self, id: u64, right: Option<bool>) {
        let Ok(problem) = usize::try_from(id / u64::from(self.n)) else { return };
        let Some(begun) = self.begun.get_mut(&problem) else { return };
        begun.open = begun.open.saturating_sub(1);
        begun.done += u32::from(right.is_some());
        begun.right += u32::from(right == Some(true));
        // All that was handed out came, and is enough: nobody need look at the problem again.
        if begun.open == 0 && self.quota.is_some_and(|quota| begun.right >= quota) {
            self.begun.remove(&problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_quota_samples_come_problem_by_problem() {
        let mut turns = Turns::new(2, 3, None);
        let all: Vec<_> = std::iter::from_fn(|| turns.next(|problem, sample| (problem, sample) != (0, 1))).collect();
        assert_eq!(all, [0, 2, 3, 4, 5]);
    }

    #[test]
    fn a_quota_asks_for_itself_first_and_for_more_where_answers_are_wrong() {
        let mut turns = Turns::new(2, 16, Some(2));
        let mut hand_out = || std::iter::from_fn(|| turns.next(|_, _| true)).collect::<Vec<_>>();
        assert_eq!(hand_out(), [0, 1, 16, 17]);
        assert_eq!(hand_out(), [0; 0]);
        // Two wrong ones: 2 x 3 / 1 at once.
        [16, 17].iter().for_each(|&id| turns.ended(id, Some(false)));
        let more: Vec<_> = std::iter::from_fn(|| turns.next(|_, _| true)).collect();
        assert_eq!(more, (18..24).collect::<Vec<_>>());
        // One right, and 1 x 4 / 2 are in flight already.
        turns.ended(18, Some(true));
        assert_eq!(turns.next(|_, _| true), None);
        // A sample that never comes makes room for another.
        (19..23).for_each(|id| turns.ended(id, None));
        assert_eq!(turns.next(|_, _| true), Some(24));
        assert_eq!(turns.next(|problem, _| problem == 1), None);
        // A problem that has enough is not looked at again.
        [0, 1].iter().for_each(|&id| turns.ended(id, Some(true)));
        assert_eq!(turns.begun.keys().collect::<Vec<_>>(), [&1]);
    }
}
