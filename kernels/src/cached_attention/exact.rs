//! Attention over a page in f32, for pages kept so and for machines that do not multiply bf16.

use super::kept::{Kept, Rows};
use super::part::Part;
use crate::instructions::arch;
use crate::row_products::Tile;
use crate::simd;
use pulp::{Simd, WithSimd};

/// Memory that one thread uses page after page.
#[derive(Default)]
pub(super) struct Exact {
    p: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Exact {
    /// What the first `count` entries of a page give for queries `q` [m, c], scores multiplied with `scale`.
    pub(super) fn attend(
        &mut self,
        q: &[f32],
        (keys, values): (Rows<Kept>, Rows<Kept>),
        v_width: usize,
        count: usize,
        scale: f32,
        part: &mut Part,
    ) {
        let (c, same) = (keys.width, keys.is(&values));
        let m = q.len() / c;
        let keys = keys.widened(count, &mut self.keys);
        let values = if same { keys } else { values.widened(count, &mut self.values) };
        self.p.clear();
        self.p.resize(m * count, 0.0);
        let p = &mut self.p;
        let tile = Tile { y: p, o: count, x: q, x_stride: c, w: keys.numbers, w_stride: keys.stride, depth: c };
        arch().dispatch(tile);
        part.largest.resize(m, 0.0);
        part.sums.resize(m, 0.0);
        for (scores, (largest, sum)) in p.chunks_mut(count).zip(part.largest.iter_mut().zip(&mut part.sums)) {
            (*largest, *sum) = simd::dispatch(
                #[inline(always)]
                || {
                    scores.iter_mut().for_each(|x| *x *= scale);
                    let top = simd::max(scores);
                    scores.iter_mut().for_each(|x| *x = simd::exp(*x - top));
                    (top, simd::sum(scores, |x| x))
                },
            );
        }
        part.values.clear();
        part.values.resize(m * v_width, 0.0);
        let Rows { numbers: values, stride, .. } = values;
        arch().dispatch(Weighted { y: &mut part.values, p, count, values, stride, width: v_width });
    }
}

/// y [m, width] = p [m, count] values [count, width], rows of values lying `stride` apart.
struct Weighted<'a> {
    y: &'a mut [f32],
    p: &'a [f32],
    count: usize,
    values: &'a [f32],
    stride: usize,
    width: usize,
}

impl WithSimd for Weighted<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        if S::REGISTER_COUNT >= 32 { self.rows::<S, 4, 4>(simd) } else { self.rows::<S, 2, 4>(simd) }
    }
}

impl Weighted<'_> {
    #[inline(always)]
    fn rows<S: Simd, const M: usize, const N: usize>(&mut self, simd: S) {
        let m = self.y.len() / self.width;
        let whole = m / M * M;
        for row in (0..whole).step_by(M) {
            self.columns::<S, M, N>(simd, row);
        }
        for row in whole..m {
            self.columns::<S, 1, N>(simd, row);
        }
    }

    #[inline(always)]
    fn columns<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, row: usize) {
        let vectors = self.width / S::F32_LANES;
        let whole = vectors / N * N;
        for vector in (0..whole).step_by(N) {
            self.block::<S, M, N>(simd, row, vector);
        }
        for vector in whole..vectors {
            self.block::<S, M, 1>(simd, row, vector);
        }
        let start = vectors * S::F32_LANES;
        for m in 0..M {
            let y = &mut self.y[(row + m) * self.width..][start..self.width];
            for (p, values) in
                self.p[(row + m) * self.count..][..self.count].iter().zip(self.values.chunks(self.stride))
            {
                y.iter_mut().zip(&values[start..]).for_each(|(y, x)| *y += p * x);
            }
        }
    }

    /// M x N vectors of sums side by side.
    #[inline(always)]
    fn block<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, row: usize, vector: usize) {
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        let ps: [&[f32]; M] = std::array::from_fn(|m| &self.p[(row + m) * self.count..][..self.count]);
        for (at, values) in self.values.chunks(self.stride).take(self.count).enumerate() {
            let values = &S::as_simd_f32s(&values[..self.width]).0[vector..][..N];
            for m in 0..M {
                let p = simd.splat_f32s(ps[m][at]);
                for n in 0..N {
                    sums[m][n] = simd.mul_add_e_f32s(p, values[n], sums[m][n]);
                }
            }
        }
        for (m, sums) in sums.iter().enumerate() {
            let y = &mut self.y[(row + m) * self.width..][..self.width];
            S::as_mut_simd_f32s(y).0[vector..][..N].copy_from_slice(sums);
        }
    }
}
