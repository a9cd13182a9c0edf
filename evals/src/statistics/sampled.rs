//! What a model reaches with several tries: pass@k, all of k, and the majority of k.
//!
//! With c of n samples right, the chance that k of them, drawn without replacement, hold a right one is
//! pass@k = 1 - C(n-c, k) / C(n, k), and that all are right is C(c, k) / C(n, k): both unbiased for any k <= n (Chen et al.,
//! arXiv 2107.03374, section 2.1). Above n there is no estimate.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The chance that at least one of `k` of the `n` samples is right where `c` are; `None` for k = 0 and k > n.
pub fn pass_at_k(n: u32, c: u32, k: u32) -> Option<f64> {
    (k > 0 && k <= n && c <= n).then(|| 1.0 - none_of(n, c, k))
}

/// The chance that all of `k` of the `n` samples are right where `c` are; `None` for k = 0 and k > n.
pub fn all_of_k(n: u32, c: u32, k: u32) -> Option<f64> {
    (k > 0 && k <= n && c <= n).then(|| none_of(n, n - c, k))
}

/// C(n - c, k) / C(n, k): the chance to draw `k` of `n` and none of `c`.
fn none_of(n: u32, c: u32, k: u32) -> f64 {
    if n - c < k {
        return 0.0;
    }
    (n - c + 1..=n).map(|i| 1.0 - f64::from(k) / f64::from(i)).product()
}

/// What one sample voted for: the class of its answer, all equal answers having one, and whether that is right.
///
/// A sample without an answer has no vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    pub class: u32,
    pub right: bool,
}

/// Subsets that are looked at where there are too many to look at all.
const SUBSETS: u32 = 400;

/// The expected score of the majority among `k` of the samples, over subsets drawn without replacement: cons@k.
///
/// A tie between classes counts in proportion, and a subset without any vote is wrong. All subsets are looked at where they
/// are few, else 400 drawn from `seed`. `None` for k = 0 and k > n.
pub fn consensus_at_k(votes: &[Option<Vote>], k: usize, seed: u64) -> Option<f64> {
    let n = votes.len();
    if k == 0 || k > n {
        return None;
    }
    if k == n {
        return Some(majority(votes.iter()));
    }
    if let Some(count) = subsets(n, k) {
        let mut sum = 0.0;
        let mut chosen: Vec<usize> = (0..k).collect();
        loop {
            sum += majority(chosen.iter().map(|&at| &votes[at]));
            // The next subset in lexicographic order.
            let Some(place) = (0..k).rev().find(|&place| chosen[place] < n - k + place) else { break };
            chosen[place] += 1;
            for later in place + 1..k {
                chosen[later] = chosen[later - 1] + 1;
            }
        }
        return Some(sum / f64::from(count));
    }
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut noise = ChaCha8Rng::from_seed(key);
    let mut order: Vec<usize> = (0..n).collect();
    let mut sum = 0.0;
    for _ in 0..SUBSETS {
        for place in 0..k {
            let other = place + ((u64::from(noise.next_u32()) * (n - place) as u64) >> 32) as usize;
            order.swap(place, other);
        }
        sum += majority(order[..k].iter().map(|&at| &votes[at]));
    }
    Some(sum / f64::from(SUBSETS))
}

/// C(n, k), where it is no more than can be looked at.
fn subsets(n: usize, k: usize) -> Option<u32> {
    let mut count: u64 = 1;
    for i in 0..k.min(n - k) {
        count = count * (n - i) as u64 / (i + 1) as u64;
        if count > u64::from(SUBSETS) {
            return None;
        }
    }
    u32::try_from(count).ok()
}

/// The share of right classes among those with the most votes.
fn majority<'a>(votes: impl Iterator<Item = &'a Option<Vote>>) -> f64 {
    let mut counts: Vec<(Vote, u32)> = Vec::new();
    for vote in votes.flatten() {
        match counts.iter_mut().find(|(known, _)| known.class == vote.class) {
            Some((_, count)) => *count += 1,
            None => counts.push((*vote, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let leaders: Vec<_> = counts.iter().filter(|(_, count)| *count == most).collect();
    let right = leaders.iter().filter(|(vote, _)| vote.right).count();
    right as f64 / leaders.len().max(1) as f64
}
