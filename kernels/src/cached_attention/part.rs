//! What pages give to queries, and how it is put together.

use crate::simd;

/// For each of m queries the largest score, the sum of exp(score - largest), and the values so weighted.
#[derive(Default)]
pub(super) struct Part {
    pub largest: Vec<f32>,
    pub sums: Vec<f32>,
    /// [m, width]
    pub values: Vec<f32>,
}

impl Part {
    /// Query `at`'s.
    pub(super) fn query(&self, at: usize) -> Weighed<'_> {
        let width = self.values.len() / self.sums.len();
        Weighed { largest: self.largest[at], sum: self.sums[at], values: &self.values[at * width..][..width] }
    }

    /// Takes up what later pages gave to the same queries.
    pub(super) fn add(&mut self, later: &Self) {
        let width = self.values.len() / self.sums.len();
        let own = self.largest.iter_mut().zip(&mut self.sums).zip(self.values.chunks_mut(width));
        for (at, ((largest, sum), values)) in own.enumerate() {
            add(largest, sum, values, later.query(at));
        }
    }
}

/// What one query got.
#[derive(Clone, Copy)]
pub(super) struct Weighed<'a> {
    pub largest: f32,
    pub sum: f32,
    pub values: &'a [f32],
}

/// One query's sums over pages, from nothing on.
pub(super) struct Sums {
    largest: f32,
    sum: f32,
    values: Vec<f32>,
}

impl Sums {
    pub(super) fn new(width: usize) -> Self {
        Self { largest: f32::NEG_INFINITY, sum: 0.0, values: vec![0.0; width] }
    }

    pub(super) fn add(&mut self, later: Weighed<'_>) {
        add(&mut self.largest, &mut self.sum, &mut self.values, later);
    }

    pub(super) fn weighed(&self) -> Weighed<'_> {
        Weighed { largest: self.largest, sum: self.sum, values: &self.values }
    }

    /// The mean of the values, weighted.
    pub(super) fn mean(&self, out: &mut [f32]) {
        out.iter_mut().zip(&self.values).for_each(|(out, x)| *out = x / self.sum);
    }
}

/// The softmax over both from the softmax over each (arXiv 2205.14135, section 3.1).
fn add(largest: &mut f32, sum: &mut f32, values: &mut [f32], later: Weighed<'_>) {
    let top = if later.largest > *largest { later.largest } else { *largest };
    let (own, other) = (simd::exp(*largest - top), simd::exp(later.largest - top));
    *largest = top;
    *sum = *sum * own + later.sum * other;
    simd::dispatch(
        #[inline(always)]
        || values.iter_mut().zip(later.values).for_each(|(y, x)| *y = *y * own + x * other),
    );
}
