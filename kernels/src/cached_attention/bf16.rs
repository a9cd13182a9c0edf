//! Attention over a page kept in bf16, in the bf16 instructions of AVX-512.
//!
//! Queries and weights are rounded to bf16 as the page is; products are exact and sums are f32. They are those of
//! `matmul::bf16`, but for scores of wide rows, which are `dots`: either way a query's numbers are summed in one order,
//! whatever lies beside it.

use super::PAGE;
use super::dots;
use super::kept::Rows;
use super::part::Part;
use crate::matmul::Mat;
use crate::matmul::bf16::{LANES, LINES, ROWS, Tile, pack_columns, pack_line, pack_rows};
use crate::rounding::round;
use crate::simd;
use half::bf16;
use std::arch::x86_64::*;

/// Lines of keys that are packed at a time: a page has twice as many.
const KEY_LINES: usize = 2;

/// Queries rounded for the instruction, and room for what a page gives.
#[derive(Default)]
pub(super) struct Rounded {
    /// Queries.
    m: usize,
    /// [m, c], where rows are wide.
    rounded: Vec<bf16>,
    /// Else [lines, c / 2, 16]: two neighbours of a query in each lane.
    queries: Vec<u32>,
    /// Lines of keys, then of values.
    entries: Vec<u32>,
    /// [m, PAGE]
    scores: Vec<f32>,
    /// [lines, PAGE / 2, 16]
    weights: Vec<u32>,
}

impl Rounded {
    /// Queries `q` [m, c].
    pub(super) fn set(&mut self, q: &[f32], c: usize) {
        self.m = q.len() / c;
        if dots::pays(c) {
            self.rounded.resize(q.len(), bf16::ZERO);
            round(q, &mut self.rounded);
        } else {
            pack_all(q, c, &mut self.queries);
        }
    }

    /// What the first `count` entries of a page give for the queries, scores multiplied with `scale`; `next` are the keys
    /// that will be looked at then.
    pub(super) fn attend(
        &mut self,
        (keys, values): (Rows<&[bf16]>, Rows<&[bf16]>),
        v_width: usize,
        count: usize,
        scale: f32,
        next: Option<Rows<&[bf16]>>,
        part: &mut Part,
    ) {
        part.largest.resize(self.m, 0.0);
        part.sums.resize(self.m, 0.0);
        if dots::pays(keys.width) {
            dots::scores(&self.rounded, keys, count, next, &mut self.scores);
        } else {
            self.score(keys, count);
        }
        #[expect(unsafe_code, reason = "the instructions were found on this machine")]
        // SAFETY: it multiplies.
        unsafe {
            weigh(&mut self.scores, count, scale, part);
        }
        self.sum(values, v_width, count, &mut part.values);
    }

    /// The products of every query with every key, in packed lines.
    fn score(&mut self, keys: Rows<&[bf16]>, count: usize) {
        let c = keys.width;
        let line = c.div_ceil(2) * LANES;
        self.scores.resize(self.m * PAGE, 0.0);
        self.entries.resize(KEY_LINES * line, 0);
        for first in (0..count).step_by(KEY_LINES * LANES) {
            let width = (KEY_LINES * LANES).min(count - first);
            for (at, out) in self.entries.chunks_mut(line).enumerate().take(width.div_ceil(LANES)) {
                let entry = first + at * LANES;
                pack_rows(&keys.numbers[entry * keys.stride..], LANES.min(count - entry), c, keys.stride, out);
            }
            #[expect(unsafe_code, reason = "as products are written")]
            // SAFETY: a row has room for all entries of a page.
            unsafe {
                let out = self.scores.as_mut_ptr().add(first);
                multiply(&self.queries, &self.entries, c, self.m, width, out, PAGE);
            }
        }
    }

    /// y [m, width]: the values of the entries, weighted and summed.
    fn sum(&mut self, values: Rows<&[bf16]>, width: usize, count: usize, y: &mut Vec<f32>) {
        let line = count.div_ceil(2) * LANES;
        self.weights.resize(self.m.div_ceil(LANES) * line, 0);
        for (out, p) in self.weights.chunks_mut(line).zip(self.scores.chunks(LANES * PAGE)) {
            pack_line(Mat::strided(p, p.len() / PAGE, count, PAGE), out);
        }
        self.entries.resize(LINES * line, 0);
        y.clear();
        y.reserve(self.m * width);
        for first in (0..width).step_by(LINES * LANES) {
            let columns = (LINES * LANES).min(width - first);
            for (at, out) in self.entries[..columns.div_ceil(LANES) * line].chunks_mut(2 * line).enumerate() {
                let column = first + at * 2 * LANES;
                pack_columns(
                    &values.numbers[column..],
                    (2 * LANES).min(first + columns - column),
                    count,
                    values.stride,
                    out,
                );
            }
            #[expect(unsafe_code, reason = "memory that is written once")]
            // SAFETY: there is room for m rows.
            unsafe {
                multiply(&self.weights, &self.entries, count, self.m, columns, y.as_mut_ptr().add(first), width);
            }
        }
        #[expect(unsafe_code, reason = "memory that is written once")]
        // SAFETY: these were all columns of all rows.
        unsafe {
            y.set_len(self.m * width);
        }
    }
}

/// Packs rows `x` [m, c], line after line.
fn pack_all(x: &[f32], c: usize, out: &mut Vec<u32>) {
    let line = c.div_ceil(2) * LANES;
    out.resize((x.len() / c).div_ceil(LANES) * line, 0);
    for (out, x) in out.chunks_mut(line).zip(x.chunks(LANES * c)) {
        pack_line(Mat::new(x, x.len() / c, c), out);
    }
}

/// Scores to weights exp(score - largest); the largest and the sum of each query.
#[target_feature(enable = "avx512f")]
fn weigh(scores: &mut [f32], count: usize, scale: f32, part: &mut Part) {
    for (scores, (largest, sum)) in scores.chunks_mut(PAGE).zip(part.largest.iter_mut().zip(&mut part.sums)) {
        // What is not seen weighs nothing.
        scores[count..].fill(f32::NEG_INFINITY);
        let lines = &mut scores.as_chunks_mut::<LANES>().0[..count.div_ceil(LANES)];
        let mut top = [f32::NEG_INFINITY; LANES];
        for line in lines.iter_mut() {
            for (score, top) in line.iter_mut().zip(&mut top) {
                *score *= scale;
                *top = if *score > *top { *score } else { *top };
            }
        }
        *largest = _mm512_reduce_max_ps(vector(&top));
        let mut sums = [0f32; LANES];
        for line in lines.iter_mut() {
            for (score, sum) in line.iter_mut().zip(&mut sums) {
                *score = simd::exp(*score - *largest);
                *sum += *score;
            }
        }
        *sum = _mm512_reduce_add_ps(vector(&sums));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn vector(numbers: &[f32; LANES]) -> __m512 {
    #[expect(unsafe_code, reason = "a vector comes from memory")]
    // SAFETY: 16 numbers.
    unsafe {
        _mm512_loadu_ps(numbers.as_ptr())
    }
}

/// `m` rows of `columns` numbers that begin `stride` apart: the products of packed lines, `depth` numbers deep.
///
/// # Safety
/// `out` must be valid for writes of these rows.
#[expect(unsafe_code, reason = "the product goes to memory that may be unwritten")]
unsafe fn multiply(left: &[u32], right: &[u32], depth: usize, m: usize, columns: usize, out: *mut f32, stride: usize) {
    let pairs = depth.div_ceil(2);
    let line = pairs * LANES;
    for row in (0..m).step_by(ROWS) {
        let (left, height) = (&left[row / LANES * line..], ROWS.min(m - row));
        let tile = Tile { left, half: row % LANES, right, line, pairs, height, width: columns };
        // SAFETY: the caller's promise.
        unsafe {
            tile.multiply(out.add(row * stride), stride, false);
        }
    }
}
