//! The table: every objective with its formula in f64, written from the distributions alone.

use super::stage::{D_TEACHER, V};
use crate::objective::{Rows, Term};

/// One predicted token, as an oracle sees it.
pub(super) struct Place {
    /// The student's logits, and those before anything was shifted to find a difference.
    pub z: Vec<f64>,
    pub unshifted: Vec<f64>,
    pub teacher_z: Vec<f64>,
    /// W h and h'.
    pub projected: Vec<f64>,
    pub teacher_h: Vec<f64>,
    pub next: usize,
    /// Outcome, log-probability, count.
    pub captured: Vec<(usize, f64, f64)>,
    /// Advantage, and the log-probability when it was written.
    pub earned: (f64, f64),
}

pub(super) fn softmax(z: &[f64], temperature: f64) -> Vec<f64> {
    let e: Vec<f64> = z.iter().map(|z| (z / temperature).exp()).collect();
    let total: f64 = e.iter().sum();
    e.into_iter().map(|e| e / total).collect()
}

pub(super) fn kl(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| if *a > 0.0 { a * (a / b).ln() } else { 0.0 }).sum()
}

pub(super) fn mix(share: f64, a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| share * a + (1.0 - share) * b).collect()
}

/// The outcomes in `ids`, and all others as one.
pub(super) fn lumped(p: &[f64], ids: &[usize]) -> Vec<f64> {
    let mut lumped: Vec<f64> = ids.iter().map(|&id| p[id]).collect();
    lumped.push(p.iter().enumerate().filter(|(id, _)| !ids.contains(id)).map(|(_, p)| p).sum());
    lumped
}

pub(super) fn top(q: &[f64], k: usize) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..q.len()).collect();
    ids.sort_by(|&a, &b| q[b].total_cmp(&q[a]));
    ids.truncate(k);
    ids
}

pub(super) type Oracle = Box<dyn Fn(&Place) -> f64>;

/// A divergence D(p, q) of a place at a temperature.
pub(super) fn dense(t: f64, d: fn(&[f64], &[f64]) -> f64) -> Oracle {
    Box::new(move |place| t * t * d(&softmax(&place.z, t), &softmax(&place.teacher_z, t)))
}

pub(super) fn top_k(k: usize, d: fn(&[f64], &[f64]) -> f64) -> Oracle {
    Box::new(move |place| {
        let (p, q) = (softmax(&place.z, 1.0), softmax(&place.teacher_z, 1.0));
        let ids = top(&q, k);
        d(&lumped(&p, &ids), &lumped(&q, &ids))
    })
}

/// PPO's clipped surrogate.
fn surrogate(place: &Place, low: f64, high: f64) -> f64 {
    let (advantage, old) = place.earned;
    let ratio = (softmax(&place.z, 1.0)[place.next].ln() - old).exp();
    -(ratio * advantage).min(ratio.clamp(1.0 - low, 1.0 + high) * advantage)
}

/// Where a row of the table has its targets from.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Origin {
    Tokens,
    Online,
    /// The likeliest so many, with the traces.
    Likeliest(usize),
    Draws,
    /// Tokens that earned something, before the weights moved or after.
    Earned {
        is_stale: bool,
    },
}

/// The table.
pub(super) fn table() -> Vec<(Term, Origin, Oracle)> {
    use {Origin::*, Rows::*};
    let forward: fn(&[f64], &[f64]) -> f64 = |p, q| kl(q, p);
    let reverse: fn(&[f64], &[f64]) -> f64 = |p, q| kl(p, q);
    let jensen_shannon: fn(&[f64], &[f64]) -> f64 = |p, q| {
        let m = mix(0.3, q, p);
        0.3 * kl(q, &m) + 0.7 * kl(p, &m)
    };
    let skewed: fn(&[f64], &[f64]) -> f64 = |p, q| kl(q, &mix(0.1, q, p));
    let skewed_reverse: fn(&[f64], &[f64]) -> f64 = |p, q| kl(p, &mix(0.1, p, q));
    let of = |weight: f64, temperature: f64, rows: Rows| (weight, temperature, rows);
    let forward_kl = |(weight, temperature, rows)| Term::ForwardKl { weight, temperature, rows };
    let reverse_kl = |(weight, temperature, rows)| Term::ReverseKl { weight, temperature, rows };
    let jsd = |(weight, temperature, rows)| Term::JensenShannon { weight, beta: 0.3, temperature, rows };
    let skew = |(weight, temperature, rows)| Term::SkewedKl { weight, alpha: 0.1, temperature, rows };
    let skew_reverse = |(weight, temperature, rows)| Term::SkewedReverseKl { weight, alpha: 0.1, temperature, rows };
    let policy = |clip_low, clip_high| Term::PolicyGradient { weight: 1.5, clip_low, clip_high };
    vec![
        (Term::CrossEntropy { weight: 1.0 }, Tokens, Box::new(|place| -softmax(&place.z, 1.0)[place.next].ln())),
        (forward_kl(of(1.0, 1.0, Full)), Online, dense(1.0, forward)),
        (forward_kl(of(0.5, 2.0, Full)), Online, dense(2.0, forward)),
        (reverse_kl(of(1.0, 1.0, Full)), Online, dense(1.0, reverse)),
        (reverse_kl(of(1.0, 0.7, Full)), Online, dense(0.7, reverse)),
        (jsd(of(1.0, 1.5, Full)), Online, dense(1.5, jensen_shannon)),
        (skew(of(1.0, 1.0, Full)), Online, dense(1.0, skewed)),
        (skew_reverse(of(2.0, 1.0, Full)), Online, dense(1.0, skewed_reverse)),
        (forward_kl(of(1.0, 1.0, TopK(4))), Online, top_k(4, forward)),
        (reverse_kl(of(1.0, 1.0, TopK(3))), Online, top_k(3, reverse)),
        (jsd(of(1.0, 1.0, TopK(1))), Online, top_k(1, jensen_shannon)),
        (skew_reverse(of(1.0, 1.0, TopK(5))), Online, top_k(5, skewed_reverse)),
        (forward_kl(of(1.0, 1.0, TopK(3))), Likeliest(5), top_k(3, forward)),
        (skew(of(1.0, 1.0, TopK(5))), Likeliest(5), top_k(5, skewed)),
        (
            Term::Sampled { weight: 1.0, draws: None },
            Draws,
            Box::new(|place| {
                let (p, draws) = (softmax(&place.z, 1.0), place.captured.iter().map(|entry| entry.2).sum::<f64>());
                place.captured.iter().map(|&(id, log_q, count)| count / draws * (log_q - p[id].ln())).sum()
            }),
        ),
        (
            Term::SampledReverseKl { weight: 1.0 },
            Online,
            Box::new(|place| {
                let log = |z: &[f64]| softmax(z, 1.0)[place.next].ln();
                // Its value is the excess; its gradient that of the excess, held fixed, times log p.
                let excess = log(&place.unshifted) - log(&place.teacher_z);
                excess + excess * (log(&place.z) - log(&place.unshifted))
            }),
        ),
        (
            Term::ReferenceKl { weight: 0.7 },
            Online,
            Box::new(|place| {
                let d = softmax(&place.teacher_z, 1.0)[place.next].ln() - softmax(&place.z, 1.0)[place.next].ln();
                d.exp() - d - 1.0
            }),
        ),
        (
            policy(0.2, 0.3),
            Earned { is_stale: false },
            Box::new(|place| {
                let log = |z: &[f64]| softmax(z, 1.0)[place.next].ln();
                -place.earned.0 * (log(&place.z) - log(&place.unshifted)).exp()
            }),
        ),
        (policy(0.2, 0.3), Earned { is_stale: true }, Box::new(|place| surrogate(place, 0.2, 0.3))),
        (policy(0.9, 1e3), Earned { is_stale: true }, Box::new(|place| surrogate(place, 0.9, 1e3))),
        (
            Term::Hidden { weight: 1.0 },
            Online,
            Box::new(|place| {
                let squares = place.projected.iter().zip(&place.teacher_h).map(|(a, b)| (a - b).powi(2));
                squares.sum::<f64>() / D_TEACHER as f64
            }),
        ),
        (
            Term::Sorted { weight: 1.0, temperature: 1.3 },
            Online,
            Box::new(|place| {
                let ranked = |z: &[f64]| {
                    let p = softmax(z, 1.3);
                    top(&p, V).into_iter().map(|id| p[id]).collect::<Vec<f64>>()
                };
                let pairs = ranked(&place.z).into_iter().zip(ranked(&place.teacher_z));
                1.69 * pairs.map(|(p, q)| (p - q).abs()).sum::<f64>()
            }),
        ),
    ]
}
