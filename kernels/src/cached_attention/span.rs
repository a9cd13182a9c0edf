//! Queries over the entries of a page.

use super::PAGE;
#[cfg(target_arch = "x86_64")]
use super::bf16::multiplies;
use crate::rounding::{round, widen};
use crate::row_products::Tile;
use crate::simd;
use candle_core::{CpuStorage, Layout, Result, Storage, bail};
use half::bf16;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// The numbers of a cache as they are kept.
#[derive(Clone, Copy)]
pub(super) enum Kept<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

impl<'a> Kept<'a> {
    pub(super) fn new(storage: &'a Storage, layout: &Layout) -> Result<Self> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("cached_attention: a cache is not contiguous")
        };
        match storage {
            Storage::Cpu(CpuStorage::F32(numbers)) => Ok(Self::F32(&numbers[start..end])),
            Storage::Cpu(CpuStorage::BF16(numbers)) => Ok(Self::Bf16(&numbers[start..end])),
            _ => bail!("cached_attention: a cache is neither f32 nor bf16"),
        }
    }

    /// Rows of `width` numbers: the one at `first`, then every `step`-th.
    pub(super) fn rows(self, first: usize, step: usize, width: usize) -> Rows<'a> {
        let numbers = match self {
            Self::F32(numbers) => Self::F32(&numbers[first * width..]),
            Self::Bf16(numbers) => Self::Bf16(&numbers[first * width..]),
        };
        Rows { numbers, stride: step * width, width }
    }
}

/// Query vectors, and the same rounded to bf16 where they are multiplied so.
pub(super) struct Queries<'a> {
    exact: &'a [f32],
    rounded: Option<Vec<bf16>>,
}

impl<'a> Queries<'a> {
    /// Rounds once, for all pages, if the caches are kept in bf16 and this machine multiplies rows of `c` and `v_width`
    /// such numbers.
    pub(super) fn new(exact: &'a [f32], caches: (Kept, Kept), c: usize, v_width: usize) -> Self {
        let rounded = (multiplies(c, v_width) && matches!(caches, (Kept::Bf16(_), Kept::Bf16(_)))).then(|| {
            let mut rounded = vec![bf16::ZERO; exact.len()];
            let width = c.max(1);
            rounded
                .par_chunks_mut(width)
                .zip(exact.par_chunks(width))
                .with_min_len(16)
                .for_each(|(out, x)| round(x, out));
            rounded
        });
        Self { exact, rounded }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn multiplies(_: usize, _: usize) -> bool {
    false
}

/// The numbers at `places`, end to end.
fn gather<T: Copy>(numbers: &[T], places: impl Iterator<Item = Range<usize>>, out: &mut Vec<T>) {
    out.clear();
    places.for_each(|place| out.extend_from_slice(&numbers[place]));
}

/// Rows of a cache.
pub(super) struct Rows<'a> {
    numbers: Kept<'a>,
    stride: usize,
    width: usize,
}

impl Rows<'_> {
    /// The first `count` rows in f32 and the distance between them; widened into `scratch` where they must be.
    fn widened<'b>(&'b self, count: usize, scratch: &'b mut Vec<f32>) -> (&'b [f32], usize) {
        match self.numbers {
            Kept::F32(numbers) => (numbers, self.stride),
            Kept::Bf16(numbers) => {
                scratch.resize(count * self.width, 0.0);
                for (out, row) in scratch.chunks_mut(self.width).zip(numbers.chunks(self.stride)) {
                    widen(&row[..self.width], out);
                }
                (scratch, self.width)
            }
        }
    }

    /// Whether these are the same numbers.
    fn is(&self, other: &Self) -> bool {
        let place = |rows: &Self| match rows.numbers {
            Kept::F32(numbers) => numbers.as_ptr().addr(),
            Kept::Bf16(numbers) => numbers.as_ptr().addr(),
        };
        (place(self), self.stride, self.width) == (place(other), other.stride, other.width)
    }
}

/// What is to be computed.
pub(super) struct Span<'a> {
    pub keys: Rows<'a>,
    pub values: Rows<'a>,
    /// Entries that are seen.
    pub count: usize,
    pub v_width: usize,
    pub scale: f32,
}

/// Memory that one thread uses page after page.
#[derive(Default)]
pub(super) struct Scratch {
    q: Vec<f32>,
    p: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    q_rounded: Vec<bf16>,
    p_rounded: Vec<bf16>,
}

/// What a page gives: for each query the largest score, the sum of exp(score - largest), and so weighted values.
pub(super) struct Part {
    largest: Vec<f32>,
    sums: Vec<f32>,
    /// [m, v_width]
    values: Vec<f32>,
}

impl Span<'_> {
    /// What the page gives for the queries at `places`, each some heads' vectors end to end.
    pub(super) fn attend(
        &self,
        queries: &Queries,
        places: impl Iterator<Item = Range<usize>>,
        scratch: &mut Scratch,
    ) -> Part {
        let &Self { count, v_width, .. } = self;
        #[cfg(target_arch = "x86_64")]
        if let (Some(q), Kept::Bf16(keys), Kept::Bf16(values)) =
            (&queries.rounded, self.keys.numbers, self.values.numbers)
        {
            gather(q, places, &mut scratch.q_rounded);
            return self.attend_rounded(keys, values, scratch);
        }
        let Scratch { q, p, keys, values, .. } = scratch;
        gather(queries.exact, places, q);
        let (keys, k_stride) = self.keys.widened(count, keys);
        let same = self.values.is(&self.keys);
        let (values, v_stride) = if same { (keys, k_stride) } else { self.values.widened(count, values) };
        let c = self.keys.width;
        let m = q.len() / c;
        p.clear();
        p.resize(m * count, 0.0);
        let tile = Tile { y: p, o: count, x: q, x_stride: c, w: keys, w_stride: k_stride, depth: c };
        pulp::Arch::new().dispatch(tile);
        let (largest, sums) = self.weigh(p);
        let mut y = vec![0f32; m * v_width];
        pulp::Arch::new().dispatch(Weighted { y: &mut y, p, count, values, stride: v_stride, width: v_width });
        Part { largest, sums, values: y }
    }

    /// The same in products of bf16, for the rounded queries of `scratch`.
    #[cfg(target_arch = "x86_64")]
    fn attend_rounded(&self, keys: &[bf16], values: &[bf16], scratch: &mut Scratch) -> Part {
        let &Self { count, v_width, .. } = self;
        let Scratch { p, q_rounded: q, p_rounded, .. } = scratch;
        let (c, m) = (self.keys.width, q.len() / self.keys.width);
        p.resize(m * count, 0.0);
        super::bf16::scores(p, q, keys, self.keys.stride, c, count);
        let (largest, sums) = self.weigh(p);
        // What is not seen weighs nothing.
        p_rounded.clear();
        p_rounded.resize(m * PAGE, bf16::ZERO);
        for (rounded, p) in p_rounded.chunks_mut(PAGE).zip(p.chunks(count)) {
            round(p, &mut rounded[..count]);
        }
        let mut y = vec![0f32; m * v_width];
        super::bf16::weighted(&mut y, p_rounded, values, self.values.stride, v_width, count);
        Part { largest, sums, values: y }
    }

    /// Scores to exp(score - largest); the largest and the sum for each query.
    fn weigh(&self, p: &mut [f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut largest, mut sums) = (Vec::new(), Vec::new());
        for scores in p.chunks_mut(self.count) {
            let (top, sum) = simd::dispatch(
                #[inline(always)]
                || {
                    scores.iter_mut().for_each(|x| *x *= self.scale);
                    let top = simd::max(scores);
                    scores.iter_mut().for_each(|x| *x = simd::exp(*x - top));
                    (top, simd::sum(scores, |x| x))
                },
            );
            largest.push(top);
            sums.push(sum);
        }
        (largest, sums)
    }
}

/// One head's sums of values from what the pages that it saw give, each with the head's place in it.
pub(super) fn join(y: &mut [f32], parts: &[(&Part, usize)]) {
    let top = parts.iter().map(|(part, at)| part.largest[*at]).fold(f32::NEG_INFINITY, f32::max);
    let factor = |part: &Part, at: usize| simd::exp(part.largest[at] - top);
    let total: f32 = parts.iter().map(|(part, at)| part.sums[*at] * factor(part, *at)).sum();
    simd::dispatch(
        #[inline(always)]
        || {
            for (part, at) in parts {
                let factor = factor(part, *at) / total;
                let values = &part.values[at * y.len()..][..y.len()];
                y.iter_mut().zip(values).for_each(|(y, x)| *y += factor * x);
            }
        },
    );
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
