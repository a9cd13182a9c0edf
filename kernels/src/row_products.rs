//! Products y = x W^T in which a row of y depends on its own row of x alone: the same bits whatever rows lie beside it,
//! however many there are, on any number of threads.
//!
//! Each number is one dot product: vectors summed in order, folded after every [`DEPTH`] columns. How many rows and
//! columns are worked on at once follows from the registers and from what is left over, and changes nothing in that
//! order. The general product (`matmul`) may sum in other blocks for other shapes; training uses it.

use crate::instructions::arch;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Columns that are summed before a fold: a panel of them stays in the second-level cache.
const DEPTH: usize = 1024;

/// Rows of W that are worked on as one piece.
const TILE: usize = 32;

/// A matrix W [o, i] that gives its numbers in f32, a panel at a time.
pub(crate) trait Panels: Sync {
    /// (o, i)
    fn dims(&self) -> (usize, usize);
    /// The numbers of `rows` and `cols`, and the distance between rows; decoded into `scratch` where they must be.
    fn panel<'a>(&'a self, rows: Range<usize>, cols: Range<usize>, scratch: &'a mut Vec<f32>) -> (&'a [f32], usize);
}

/// Rows of f32 numbers that lie ready.
pub(crate) struct Plain<'a> {
    pub data: &'a [f32],
    pub o: usize,
    pub i: usize,
}

impl Panels for Plain<'_> {
    fn dims(&self) -> (usize, usize) {
        (self.o, self.i)
    }

    fn panel<'a>(&'a self, rows: Range<usize>, cols: Range<usize>, _: &'a mut Vec<f32>) -> (&'a [f32], usize) {
        let (first, last) = (rows.start * self.i + cols.start, (rows.end - 1) * self.i + cols.end);
        (&self.data[first..last], self.i)
    }
}

/// y [n, o] for n rows of i numbers that begin `x_stride` apart.
pub(crate) fn row_products(x: &[f32], x_stride: usize, n: usize, w: &impl Panels) -> Vec<f32> {
    let (o, i) = w.dims();
    assert!(n == 0 || x.len() >= (n - 1) * x_stride + i, "row_products: {n} rows of {i}");
    let mut y = vec![0f32; n * o];
    if y.is_empty() {
        return y;
    }
    let tiles: Vec<(usize, Vec<f32>)> = (0..o.div_ceil(TILE))
        .into_par_iter()
        .map(|tile| {
            let rows = tile * TILE..o.min(tile * TILE + TILE);
            let (mut part, mut scratch) = (vec![0f32; n * rows.len()], Vec::new());
            for start in (0..i).step_by(DEPTH) {
                let cols = start..i.min(start + DEPTH);
                let (w, w_stride) = w.panel(rows.clone(), cols.clone(), &mut scratch);
                let (x, depth, o) = (&x[start..], cols.len(), rows.len());
                arch().dispatch(Tile { y: &mut part, o, x, x_stride, w, w_stride, depth });
            }
            (rows.start, part)
        })
        .collect();
    for (start, part) in tiles {
        let width = part.len() / n;
        for (y, part) in y.chunks_mut(o).zip(part.chunks(width)) {
            y[start..start + width].copy_from_slice(part);
        }
    }
    y
}

/// y [n, o] += x [n, depth] w [o, depth]^T, rows of x and w lying apart.
pub(crate) struct Tile<'a> {
    pub y: &'a mut [f32],
    pub o: usize,
    pub x: &'a [f32],
    pub x_stride: usize,
    pub w: &'a [f32],
    pub w_stride: usize,
    pub depth: usize,
}

impl WithSimd for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // As many sums as registers hold beside the vectors that are multiplied.
        if S::REGISTER_COUNT >= 32 { self.rows::<S, 4, 6>(simd) } else { self.rows::<S, 3, 4>(simd) }
    }
}

impl Tile<'_> {
    #[inline(always)]
    fn rows<S: Simd, const M: usize, const N: usize>(&mut self, simd: S) {
        let n = self.y.len() / self.o;
        let whole = n / M * M;
        for row in (0..whole).step_by(M) {
            self.columns::<S, M, N>(simd, row);
        }
        for row in whole..n {
            self.columns::<S, 1, 8>(simd, row);
        }
    }

    #[inline(always)]
    fn columns<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, row: usize) {
        let whole = self.o / N * N;
        for column in (0..whole).step_by(N) {
            self.block::<S, M, N>(simd, row, column);
        }
        for column in whole..self.o {
            self.block::<S, M, 1>(simd, row, column);
        }
    }

    /// M x N dot products side by side.
    #[inline(always)]
    fn block<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, row: usize, column: usize) {
        let xs: [_; M] = std::array::from_fn(|m| vectors::<S>(&self.x[(row + m) * self.x_stride..], self.depth));
        let ws: [_; N] = std::array::from_fn(|n| vectors::<S>(&self.w[(column + n) * self.w_stride..], self.depth));
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        for at in 0..self.depth / S::F32_LANES {
            #[expect(unsafe_code, reason = "a bounds check for each load would cost as much as the sums")]
            // SAFETY: `vectors` gives each row exactly depth / lanes whole vectors.
            unsafe {
                let x: [_; M] = std::array::from_fn(|m| *xs[m].0.get_unchecked(at));
                for n in 0..N {
                    let w = *ws[n].0.get_unchecked(at);
                    for m in 0..M {
                        sums[m][n] = simd.mul_add_e_f32s(x[m], w, sums[m][n]);
                    }
                }
            }
        }
        if !self.depth.is_multiple_of(S::F32_LANES) {
            for n in 0..N {
                let w = simd.partial_load_f32s(ws[n].1);
                for m in 0..M {
                    sums[m][n] = simd.mul_add_e_f32s(simd.partial_load_f32s(xs[m].1), w, sums[m][n]);
                }
            }
        }
        for (m, sums) in sums.iter().enumerate() {
            let y = &mut self.y[(row + m) * self.o + column..][..N];
            y.iter_mut().zip(sums).for_each(|(y, &sum)| *y += simd.reduce_sum_f32s(sum));
        }
    }
}

/// The first `depth` numbers as whole vectors and what is left.
#[inline(always)]
fn vectors<S: Simd>(row: &[f32], depth: usize) -> (&[S::f32s], &[f32]) {
    S::as_simd_f32s(&row[..depth])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * step).sin()).collect()
    }

    #[test]
    fn agrees_with_exact_sums() {
        for (n, i, o) in [(1, 1, 1), (2, 7, 3), (7, 33, 41), (5, 1030, 70), (13, 2049, 9)] {
            let (x, w) = (wave(n * i, 0.37), wave(o * i, 0.11));
            let y = row_products(&x, i, n, &Plain { data: &w, o, i });
            for (at, found) in y.iter().enumerate() {
                let (row, column) = (at / o, at % o);
                let terms = (0..i).map(|k| f64::from(x[row * i + k]) * f64::from(w[column * i + k]));
                let (exact, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                assert!((f64::from(*found) - exact).abs() <= 1e-6 * size, "{n} {i} {o} at {at}: {found}, {exact}");
            }
        }
    }

    #[test]
    fn a_row_is_the_same_bits_whatever_lies_beside_it() {
        let (n, i, o) = (23, 1100, 37);
        let (x, w) = (wave(n * i, 0.7), wave(o * i, 0.3));
        let w = Plain { data: &w, o, i };
        let together = row_products(&x, i, n, &w);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
        for (first, count) in [(0, 1), (3, 2), (7, 3), (11, 4), (2, 9), (22, 1)] {
            let apart = pool.install(|| row_products(&x[first * i..(first + count) * i], i, count, &w));
            assert!(apart.iter().zip(&together[first * o..]).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn nothing_in_gives_nothing_or_zero() {
        assert!(row_products(&[], 3, 0, &Plain { data: &[1.0; 6], o: 2, i: 3 }).is_empty());
        assert_eq!(row_products(&[], 0, 2, &Plain { data: &[], o: 3, i: 0 }), [0.0; 6]);
    }
}
