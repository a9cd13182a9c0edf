//! Causal attention over packed sequences: several sequences lie end to end in one batch and never see each other.
//!
//! For a query at position t of its sequence: y = sum_{s <= t} softmax_s(scale q . k_s) v_s. Heads of q share key-value
//! heads in equal groups (GQA); keys and values may differ in width (MLA). Queries go in tiles, so the scores held
//! at a time are [TILE, sequence length] for each thread; backward recomputes them (as in arXiv 2307.08691):
//! with P the probabilities and D = rowsum(dy * y), dS = P (dy V^T - D), dq = scale dS k, dk = scale dS^T q, dv = P^T dy.

use crate::matmul::{How, Mat, MatMut, MatmulPrecision, matmul};
use crate::rounding::Aside;
use crate::softmax::softmax_row;
use crate::value::Value;
use crate::written::written;
use crate::{cpu, simd};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

mod by_candle;

const TILE: usize = 64;

/// y [n, h, cv] for `q` [n, h, c], `k` [n, g, c], `v` [n, g, cv]; `offsets` (from 0 to n) separates the sequences.
pub fn causal_attention(q: &Value, k: &Value, v: &Value, offsets: &Arc<[usize]>, scale: f64) -> Result<Value> {
    let (q_t, k_t, v_t) = (q.tensor(), k.tensor(), v.tensor());
    let ((n, h, c), (kn, g, kc), (vn, vg, cv)) = (q_t.dims3()?, k_t.dims3()?, v_t.dims3()?);
    let covers = offsets.is_sorted() && offsets.first() == Some(&0) && offsets.last() == Some(&n);
    if (kn, kc, vn, vg) != (n, c, n, g) || g == 0 || h % g != 0 || !covers {
        bail!("causal_attention: q {:?}, k {:?}, v {:?}, offsets {offsets:?}", q_t.shape(), k_t.shape(), v_t.shape());
    }
    let precision = MatmulPrecision::current();
    if !cpu::fast(&[q_t, k_t, v_t]) {
        return by_candle::causal_attention(q, k, v, offsets, scale, precision);
    }
    let attention = Attention { offsets: offsets.clone(), scale: scale as f32, precision, h, g, c, cv };
    let y = attention.forward(n, &cpu::data(q_t)?, &cpu::data(k_t)?, &cpu::data(v_t)?);
    let y = cpu::shaped(y, (n, h, cv))?;
    if ![q, k, v].into_iter().any(Value::is_tracked) {
        return Value::record(y, [q, k, v], |_, _| Ok([const { None }; 3]));
    }
    let aside = |tensor: &Tensor| Aside::new(tensor, precision);
    let (kept_q, kept_k, kept_v, kept_y) = (aside(q_t)?, aside(k_t)?, aside(v_t)?, aside(&y)?);
    let again = kept_y.clone();
    let y = Value::record(y, [q, k, v], move |dy, _| {
        let (q_t, k_t, v_t, y) = (kept_q.tensor()?, kept_k.tensor()?, kept_v.tensor()?, kept_y.tensor()?);
        let data = [cpu::data(&q_t)?, cpu::data(&k_t)?, cpu::data(&v_t)?, cpu::data(&y)?, cpu::data(dy)?];
        let [dq, dk, dv] = attention.backward(data.each_ref().map(|data| &**data));
        Ok([Some(cpu::tensor(dq, &q_t)?), Some(cpu::tensor(dk, &k_t)?), Some(cpu::tensor(dv, &v_t)?)])
    })?;
    Ok(y.forgettable(move || again.tensor()))
}

/// The oracle: in candle's own ops, one sequence at a time.
#[cfg(test)]
pub(crate) fn reference(q: &Tensor, k: &Tensor, v: &Tensor, offsets: &[usize], scale: f64) -> Result<Tensor> {
    let (_, h, _) = q.dims3()?;
    let groups = h / k.dim(1)?;
    // [t, g, c] -> [h, t, c], each key-value head repeated for its group of query heads.
    let spread = |x: &Tensor| -> Result<Tensor> {
        let (t, g, c) = x.dims3()?;
        x.unsqueeze(2)?.broadcast_as((t, g, groups, c))?.reshape((t, h, c))?.transpose(0, 1)?.contiguous()
    };
    let mut parts = Vec::new();
    for span in offsets.windows(2).filter(|span| span[1] > span[0]) {
        let t = span[1] - span[0];
        let part = |x: &Tensor| x.narrow(0, span[0], t);
        let (q, k, v) = (part(q)?.transpose(0, 1)?.contiguous()?, spread(&part(k)?)?, spread(&part(v)?)?);
        let hidden: Vec<u8> = (0..t * t).map(|i| u8::from(i % t > i / t)).collect();
        let hidden = Tensor::from_vec(hidden, (1, t, t), q.device())?.broadcast_as((h, t, t))?;
        let scores = (q.matmul(&k.transpose(1, 2)?)? * scale)?;
        let never = Tensor::full(f32::NEG_INFINITY, (h, t, t), q.device())?.to_dtype(scores.dtype())?;
        let scores = hidden.where_cond(&never, &scores)?;
        let top = scores.max_keepdim(candle_core::D::Minus1)?.detach();
        let e = scores.broadcast_sub(&top)?.exp()?;
        let p = e.broadcast_div(&e.sum_keepdim(candle_core::D::Minus1)?)?;
        parts.push(p.matmul(&v)?.transpose(0, 1)?);
    }
    Tensor::cat(&parts, 0)
}

/// h query heads, g key-value heads, c and cv head widths of keys and values.
struct Attention {
    offsets: Arc<[usize]>,
    scale: f32,
    precision: MatmulPrecision,
    h: usize,
    g: usize,
    c: usize,
    cv: usize,
}

/// A view of head `head` over `count` tokens from `start`, in rows of `heads * width` numbers.
fn head(data: &[f32], start: usize, count: usize, heads: usize, head: usize, width: usize) -> Mat<'_> {
    Mat::strided(&data[start * heads * width + head * width..], count, width, heads * width)
}

/// Probabilities of the queries `first..first + rows` of a sequence, [rows, first + rows].
fn probabilities(out: &mut [f32], q: Mat<'_>, k: Mat<'_>, first: usize, scale: f32, how: How) {
    let (rows, seen) = (q.rows, k.rows);
    matmul(MatMut::new(out, rows, seen), q, k.t(), false, how);
    for (row, scores) in out.chunks_mut(seen).enumerate() {
        let (visible, future) = scores.split_at_mut(first + row + 1);
        simd::dispatch(
            #[inline(always)]
            || {
                visible.iter_mut().for_each(|x| *x *= scale);
                softmax_row(visible);
            },
        );
        future.fill(0.0);
    }
}

impl Attention {
    /// Every (sequence, head) pair: the units of parallel work.
    fn units(&self, heads: usize) -> Vec<(usize, usize, usize)> {
        let spans = self.offsets.windows(2).filter(|span| span[1] > span[0]);
        spans.flat_map(|span| (0..heads).map(move |head| (span[0], span[1] - span[0], head))).collect()
    }

    fn forward(&self, n: usize, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
        let Self { h, g, c, cv, .. } = *self;
        let how = self.precision.alone();
        let units = self.units(h);
        let outputs: Vec<Vec<f32>> = units
            .par_iter()
            .map(|&(start, t, hq)| {
                let hk = hq / (h / g);
                let mut y = vec![0f32; t * cv];
                let mut scores = vec![0f32; TILE.min(t) * t];
                for first in (0..t).step_by(TILE) {
                    let rows = TILE.min(t - first);
                    let seen = first + rows;
                    let p = &mut scores[..rows * seen];
                    let (q, k) = (head(q, start + first, rows, h, hq, c), head(k, start, seen, g, hk, c));
                    probabilities(p, q, k, first, self.scale, how);
                    let out = MatMut::new(&mut y[first * cv..][..rows * cv], rows, cv);
                    matmul(out, Mat::new(p, rows, seen), head(v, start, seen, g, hk, cv), false, how);
                }
                y
            })
            .collect();
        self.joined(n, (h, cv), |unit| &outputs[unit])
    }

    /// dq, dk, dv from q, k, v, y, dy.
    fn backward(&self, data: [&[f32]; 5]) -> [Vec<f32>; 3] {
        let Self { h, g, c, cv, .. } = *self;
        let n = data[0].len() / (h * c);
        // One unit per (sequence, kv head): all query heads of the group add into the same dk and dv.
        let units = self.units(g);
        let parts: Vec<_> = units.par_iter().map(|&unit| self.unit_backward(unit, data)).collect();
        [
            self.joined(n, (g, h / g * c), |unit| &parts[unit].0),
            self.joined(n, (g, c), |unit| &parts[unit].1),
            self.joined(n, (g, cv), |unit| &parts[unit].2),
        ]
    }

    /// Rows of `n` tokens with the numbers of `heads` heads side by side, `width` of each, from the parts of the units.
    fn joined<'p>(
        &self,
        n: usize,
        (heads, width): (usize, usize),
        part: impl Fn(usize) -> &'p Vec<f32> + Sync,
    ) -> Vec<f32> {
        let spans = self.offsets.windows(2).filter(|span| span[1] > span[0]).enumerate();
        let places: Vec<_> =
            spans.flat_map(|(at, span)| (0..span[1] - span[0]).map(move |token| (at, token))).collect();
        let row = heads * width;
        let [y] = written(n * row, row, |range, [y]| {
            for (y, &(sequence, token)) in y.chunks_mut(row).zip(&places[range.start / row..]) {
                for (head, y) in y.chunks_mut(width).enumerate() {
                    y.copy_from_slice(&part(sequence * heads + head)[token * width..][..width]);
                }
            }
        });
        y
    }

    /// Gradients of one sequence and kv head: dq [t, h/g * c], dk [t, c], dv [t, cv].
    fn unit_backward(
        &self,
        (start, t, hk): (usize, usize, usize),
        [q, k, v, y, dy]: [&[f32]; 5],
    ) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let Self { h, g, c, cv, .. } = *self;
        let (group, how) = (h / g, self.precision.alone());
        let (mut dq, mut dk, mut dv) = (vec![0f32; t * group * c], vec![0f32; t * c], vec![0f32; t * cv]);
        let (mut p, mut ds) = (vec![0f32; TILE.min(t) * t], vec![0f32; TILE.min(t) * t]);
        for member in 0..group {
            let hq = hk * group + member;
            for first in (0..t).step_by(TILE) {
                let rows = TILE.min(t - first);
                let seen = first + rows;
                let (p, ds) = (&mut p[..rows * seen], &mut ds[..rows * seen]);
                let (q, k) = (head(q, start + first, rows, h, hq, c), head(k, start, seen, g, hk, c));
                let (y, dy) = (head(y, start + first, rows, h, hq, cv), head(dy, start + first, rows, h, hq, cv));
                probabilities(p, q, k, first, self.scale, how);
                let v = head(v, start, seen, g, hk, cv);
                matmul(MatMut::new(ds, rows, seen), dy, v.t(), false, how);
                for row in 0..rows {
                    let at = row * y.row_stride;
                    let (p, ds) = (&p[row * seen..][..seen], &mut ds[row * seen..][..seen]);
                    simd::dispatch(
                        #[inline(always)]
                        || {
                            let shared = simd::dot(&y.data[at..][..cv], &dy.data[at..][..cv]);
                            for (ds, p) in ds.iter_mut().zip(p) {
                                *ds = p * (*ds - shared) * self.scale;
                            }
                        },
                    );
                }
                let (p, ds) = (Mat::new(p, rows, seen), Mat::new(ds, rows, seen));
                let out = MatMut::strided(&mut dq[first * group * c + member * c..], rows, c, group * c);
                matmul(out, ds, k, false, how);
                matmul(MatMut::new(&mut dk[..seen * c], seen, c), ds.t(), q, true, how);
                matmul(MatMut::new(&mut dv[..seen * cv], seen, cv), p.t(), dy, true, how);
            }
        }
        (dq, dk, dv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, close, constant, random};

    #[test]
    fn agrees_with_the_reference_and_finite_differences() -> Result<()> {
        // (h, g, c, cv) and sequences: one token, tile borders, empty sequences, grouped heads, unequal widths.
        for ((h, g, c, cv), offsets) in [
            ((2, 2, 4, 4), vec![0, 1, 9]),
            ((4, 2, 3, 5), vec![0, 7, 7, 12]),
            ((2, 1, 4, 3), vec![0, TILE + 3, TILE + 8]),
        ] {
            let n = offsets[offsets.len() - 1];
            let offsets: Arc<[usize]> = offsets.into();
            let inputs = vec![(random(&[n, h, c], 1) * 3.0)?, random(&[n, g, c], 2), random(&[n, g, cv], 3)];
            Case::new(inputs).agrees(
                |a| causal_attention(&a[0], &a[1], &a[2], &offsets, 0.7),
                |a| reference(&a[0], &a[1], &a[2], &offsets, 0.7),
            )?;
        }
        Ok(())
    }

    #[test]
    fn packed_sequences_do_not_see_each_other() -> Result<()> {
        let (q, k, v) = (constant(&[9, 2, 4], 1), constant(&[9, 2, 4], 2), constant(&[9, 2, 4], 3));
        let packed = causal_attention(&q, &k, &v, &[0, 4, 9].into(), 0.5)?;
        let part = |value: &Value| Value::constant(&value.tensor().narrow(0, 4, 5)?);
        let alone = causal_attention(&part(&q)?, &part(&k)?, &part(&v)?, &[0, 5].into(), 0.5)?;
        close("second sequence", &packed.tensor().narrow(0, 4, 5)?, alone.tensor(), 1e-6)
    }
}
