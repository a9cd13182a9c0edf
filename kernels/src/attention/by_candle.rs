//! Causal attention in candle's own operations: for a device that none of our kernels knows.
//!
//! The heads of a group stand side by side as rows, so that no key is repeated. Queries go in tiles, whose probabilities are
//! computed again on the way back.

use crate::cuda;
use crate::device::named;
use crate::matmul::MatmulPrecision;
use crate::portable::{aside, product};
use crate::softmax;
use crate::value::Value;
use candle_core::{D, DType, Device, Result, Tensor};
use std::sync::Arc;

/// Queries whose scores are held at once: [TILE, sequence length] for every head. Tests have more than one tile.
const TILE: usize = if cfg!(test) { 48 } else { 512 };

/// Added to the score of what a query does not see.
const UNSEEN: f64 = -1e30;

pub(super) fn causal_attention(
    q: &Value,
    k: &Value,
    v: &Value,
    offsets: &Arc<[usize]>,
    scale: f64,
    precision: MatmulPrecision,
) -> Result<Value> {
    let all = All { offsets: offsets.clone(), scale, precision };
    let (q_t, k_t, v_t) = (q.bare(), k.bare(), v.bare());
    let y = all.forward(&q_t, &k_t, &v_t)?;
    if ![q, k, v].into_iter().any(Value::is_tracked) {
        return Value::record(y, [q, k, v], |_, _| Ok([const { None }; 3]));
    }
    let dtype = q_t.dtype();
    let kept = [&q_t, &k_t, &v_t, &y].map(|x| aside(x, precision));
    let [kept_q, kept_k, kept_v, kept_y] = kept;
    let (kept_q, kept_k, kept_v, kept_y) = (kept_q?, kept_k?, kept_v?, kept_y?);
    Value::record(y, [q, k, v], move |dy, _| {
        let widened = [&kept_q, &kept_k, &kept_v, &kept_y].map(|x| x.to_dtype(dtype));
        let [q, k, v, y] = widened;
        Ok(all.backward([&q?, &k?, &v?, &y?, dy])?.map(Some))
    })
}

struct All {
    offsets: Arc<[usize]>,
    scale: f64,
    precision: MatmulPrecision,
}

impl All {
    /// (first token, tokens) of every sequence that has some.
    fn spans(&self) -> impl Iterator<Item = (usize, usize)> {
        self.offsets.windows(2).filter(|span| span[1] > span[0]).map(|span| (span[0], span[1] - span[0]))
    }

    /// y [n, h, cv]
    fn forward(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let g = k.dim(1)?;
        let mut parts = Vec::new();
        for (start, t) in self.spans() {
            let (k, v) = (by_head(&k.narrow(0, start, t)?)?, by_head(&v.narrow(0, start, t)?)?);
            for first in (0..t).step_by(TILE) {
                let rows = TILE.min(t - first);
                let q = grouped(&q.narrow(0, start + first, rows)?, g)?;
                let (k, v) = (k.narrow(1, 0, first + rows)?, v.narrow(1, 0, first + rows)?);
                let p = self.probabilities(&q, &k, first, rows)?;
                parts.push(apart(&product(&p, &v.contiguous()?, self.precision)?, rows)?);
            }
        }
        if parts.is_empty() {
            let (_, h, _) = q.dims3()?;
            return Tensor::zeros((0, h, v.dim(2)?), q.dtype(), q.device());
        }
        Tensor::cat(&parts, 0)
    }

    /// Probabilities [g, group * rows, seen] of the queries of a tile, which begins with the `first`.
    fn probabilities(&self, q: &Tensor, k: &Tensor, first: usize, rows: usize) -> Result<Tensor> {
        let scores = product(q, &k.contiguous()?.transpose(1, 2)?, self.precision)?;
        if cuda::causal_softmax(&scores, rows, first, self.scale)? {
            return Ok(scores);
        }
        let scores = (scores * self.scale)?;
        let (g, all, seen) = scores.dims3()?;
        named(
            || format!("attention over {seen} tokens"),
            || {
                let hidden = hidden(first, rows, scores.dtype(), scores.device())?;
                let scores =
                    scores.reshape((g, all / rows, rows, seen))?.broadcast_add(&hidden)?.reshape((g, all, seen))?;
                softmax::reference(&scores)
            },
        )
    }

    /// dq, dk, dv from q, k, v, y, dy.
    fn backward(&self, [q, k, v, y, dy]: [&Tensor; 5]) -> Result<[Tensor; 3]> {
        let g = k.dim(1)?;
        let [mut dqs, mut dks, mut dvs] = [const { Vec::new() }; 3];
        for (start, t) in self.spans() {
            let (k, v) = (by_head(&k.narrow(0, start, t)?)?, by_head(&v.narrow(0, start, t)?)?);
            let (mut dk, mut dv) = (k.zeros_like()?, v.zeros_like()?);
            for first in (0..t).step_by(TILE) {
                let rows = TILE.min(t - first);
                let seen = first + rows;
                let tile = |x: &Tensor| grouped(&x.narrow(0, start + first, rows)?, g);
                let (q, y, dy) = (tile(q)?, tile(y)?, tile(dy)?);
                let (k, v) = (k.narrow(1, 0, seen)?.contiguous()?, v.narrow(1, 0, seen)?.contiguous()?);
                let p = self.probabilities(&q, &k, first, rows)?;
                let shared = (&dy * &y)?.sum_keepdim(D::Minus1)?;
                let dp = product(&dy, &v.transpose(1, 2)?, self.precision)?;
                let ds = ((&p * dp.broadcast_sub(&shared)?)? * self.scale)?;
                dqs.push(apart(&product(&ds, &k, self.precision)?, rows)?);
                let turned = |x: &Tensor| x.transpose(1, 2);
                let later = |x: Tensor| x.pad_with_zeros(1, 0, t - seen);
                dk = (dk + later(product(&turned(&ds)?, &q, self.precision)?)?)?;
                dv = (dv + later(product(&turned(&p)?, &dy, self.precision)?)?)?;
            }
            dks.push(dk.transpose(0, 1)?);
            dvs.push(dv.transpose(0, 1)?);
        }
        if dqs.is_empty() {
            return Ok([q.zeros_like()?, k.zeros_like()?, v.zeros_like()?]);
        }
        Ok([Tensor::cat(&dqs, 0)?, Tensor::cat(&dks, 0)?, Tensor::cat(&dvs, 0)?])
    }
}

/// [t, g, c] to [g, t, c].
fn by_head(x: &Tensor) -> Result<Tensor> {
    x.transpose(0, 1)?.contiguous()
}

/// [rows, h, c] to [g, group * rows, c]: below each other what looks at the same keys.
fn grouped(x: &Tensor, g: usize) -> Result<Tensor> {
    let (rows, h, c) = x.dims3()?;
    x.transpose(0, 1)?.reshape((g, h / g * rows, c))
}

/// [g, group * rows, c] back to [rows, h, c].
fn apart(x: &Tensor, rows: usize) -> Result<Tensor> {
    let (g, all, c) = x.dims3()?;
    x.reshape((g * all / rows, rows, c))?.transpose(0, 1)?.contiguous()
}

/// What is added to the scores [rows, first + rows] of queries that begin with the `first`.
fn hidden(first: usize, rows: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    let numbers = |range: std::ops::Range<usize>| Tensor::arange(range.start as u32, range.end as u32, device);
    let (queries, keys) = (numbers(first..first + rows)?.unsqueeze(1)?, numbers(0..first + rows)?.unsqueeze(0)?);
    keys.broadcast_gt(&queries)?.to_dtype(dtype)? * UNSEEN
}
