//! Which samples of a run are still needed: a problem has enough once its quota of right ones is reached, and the samples
//! are looked at in their order, so that it does not matter which of them is done first.

use super::header::Quota;

/// What is known of every problem of a run.
#[derive(Debug)]
pub(super) struct Quotas {
    /// Right samples that are enough; more than there can be where there is no quota.
    verified: u32,
    /// Samples of a problem at most.
    n: u32,
    problems: Vec<Progress>,
    /// Samples that are needed still, as far as can be told.
    left: u64,
}

/// One problem's samples.
#[derive(Debug, Clone)]
struct Progress {
    /// Of those looked at, how many there are and how many are right.
    seen: u32,
    right: u32,
    /// Whether it is right, for those that came before their turn.
    early: Vec<(u32, bool)>,
    /// How many samples are enough, once that is known.
    enough: Option<u32>,
}

impl Quotas {
    /// `n` samples at most for each of so many problems.
    pub(super) fn new(quota: Option<Quota>, n: u32, problems: usize) -> Self {
        let fresh = Progress { seen: 0, right: 0, early: vec![], enough: None };
        let verified = quota.map_or(u32::MAX, |quota| quota.verified);
        Self { verified, n, problems: vec![fresh; problems], left: problems as u64 * u64::from(n) }
    }

    /// Samples that are needed still; a problem that is not done counts in full.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// How many samples of a problem are enough, once that is known.
    pub(super) fn enough(&self, problem: u64) -> Option<u32> {
        self.problems.get(usize::try_from(problem).ok()?)?.enough
    }

    /// Tells of a sample, each once. `true` when it is the one by which the problem has enough.
    pub(super) fn add(&mut self, problem: u64, sample: u32, right: bool) -> bool {
        let Some(progress) = usize::try_from(problem).ok().and_then(|at| self.problems.get_mut(at)) else {
            return false;
        };
        if progress.enough.is_some() {
            return false;
        }
        self.left -= 1;
        progress.early.push((sample, right));
        while let Some(at) = progress.early.iter().position(|(sample, _)| *sample == progress.seen) {
            let (_, right) = progress.early.swap_remove(at);
            progress.seen += 1;
            progress.right += u32::from(right);
            if progress.right >= self.verified || progress.seen == self.n {
                progress.enough = Some(progress.seen);
                self.left -= u64::from(self.n - progress.seen) - progress.early.len() as u64;
                progress.early = vec![];
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::Past;
    use super::*;

    #[test]
    fn the_order_of_the_samples_counts_not_that_of_their_coming() {
        let quota = Quota { verified: 2, past: Past::LeftOut };
        // Samples 1 and 3 are right: four samples are enough, whatever comes first.
        let right = [false, true, false, true, true, false];
        for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 4, 0, 5, 1, 2], [1, 3, 4, 2, 5, 0]] {
            let mut quotas = Quotas::new(Some(quota), 6, 2);
            let decided: Vec<u32> =
                order.into_iter().filter(|&sample| quotas.add(1, sample, right[sample as usize])).collect();
            assert_eq!((decided.len(), quotas.enough(1), quotas.enough(0)), (1, Some(4), None), "{order:?}");
            assert_eq!(quotas.left(), 6, "the other problem's");
        }
        let mut all = Quotas::new(None, 3, 1);
        for sample in [2, 0, 1] {
            assert_eq!(all.add(0, sample, true), sample == 1);
        }
        assert_eq!((all.enough(0), all.left()), (Some(3), 0));
    }
}
