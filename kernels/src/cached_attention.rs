//! Attention of new queries over keys and values kept in a cache; inference only, so there is no backward.
//!
//! A cache is a tensor [slots, capacity, g, c]: one slot per sequence. Query row j reads the first `rows[j].len` entries
//! of slot `rows[j].slot`. For multi-head latent attention in its absorbed form the cache holds one latent vector per
//! token: keys are the whole vector, values its first `v_width` numbers (DeepSeek-V2, arXiv 2405.04434, section 2.1).

use crate::matmul::{Mat, MatMut, Threads, matmul};
use crate::softmax::softmax_row;
use crate::{cpu, simd};
use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, Layout, Result, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// Which cache slot a query row reads and how many of its entries it sees (its own included).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheRow {
    pub slot: usize,
    pub len: usize,
}

/// y [n, h, v_width] for `q` [n, h, c] over caches `k` [slots, capacity, g, c] and `v` [slots, capacity, g, >= v_width].
pub fn cached_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    v_width: usize,
    rows: &Arc<[CacheRow]>,
    scale: f64,
) -> Result<Tensor> {
    let ((n, h, c), (slots, capacity, g, kc), (vs, vcap, vg, vw)) = (q.dims3()?, k.dims4()?, v.dims4()?);
    let fits = (kc, vs, vcap, vg) == (c, slots, capacity, g) && v_width <= vw && g > 0 && h % g == 0;
    if !fits || rows.len() != n || rows.iter().any(|r| r.slot >= slots || r.len > capacity || r.len == 0) {
        bail!("cached_attention: q {:?}, k {:?}, v {:?}, {} rows", q.shape(), k.shape(), v.shape(), rows.len());
    }
    if !cpu::fast(&[q, k, v]) {
        return reference(q, k, v, v_width, rows, scale);
    }
    let q = q.contiguous()?;
    let (q, k, v) = (cpu::data(&q)?, cpu::data(k)?, cpu::data(v)?);
    let (k, v) = (&*k, &*v);
    let group = h / g;
    let mut y = vec![0f32; n * h * v_width];
    let work = y.par_chunks_mut(h * v_width).zip(q.par_chunks(h * c)).zip(rows.par_iter());
    work.for_each(|((y, q), row)| {
        let mut p = vec![0f32; group * row.len];
        for hk in 0..g {
            let keys = Mat::strided(&k[row.slot * capacity * g * c + hk * c..], row.len, c, g * c);
            let values = Mat::strided(&v[row.slot * capacity * g * vw + hk * vw..], row.len, v_width, g * vw);
            let q = Mat::new(&q[hk * group * c..][..group * c], group, c);
            matmul(MatMut::new(&mut p, group, row.len), q, keys.t(), false, Threads::One);
            for scores in p.chunks_mut(row.len) {
                simd::dispatch(
                    #[inline(always)]
                    || {
                        scores.iter_mut().for_each(|x| *x *= scale as f32);
                        softmax_row(scores);
                    },
                );
            }
            let out = MatMut::new(&mut y[hk * group * v_width..][..group * v_width], group, v_width);
            matmul(out, Mat::new(&p, group, row.len), values, false, Threads::One);
        }
    });
    cpu::shaped(y, (n, h, v_width))
}

/// The same in candle's own ops, row by row.
pub(crate) fn reference(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    v_width: usize,
    rows: &[CacheRow],
    scale: f64,
) -> Result<Tensor> {
    let (_, h, _) = q.dims3()?;
    let groups = h / k.dim(2)?;
    let mut parts = Vec::with_capacity(rows.len());
    for (j, row) in rows.iter().enumerate() {
        let heads = |cache: &Tensor, width: usize| -> Result<Tensor> {
            let t = cache.get(row.slot)?.narrow(0, 0, row.len)?.narrow(2, 0, width)?;
            let (len, g, c) = t.dims3()?;
            t.unsqueeze(2)?.broadcast_as((len, g, groups, c))?.reshape((len, h, c))?.transpose(0, 1)?.contiguous()
        };
        let scores = (q.get(j)?.unsqueeze(1)?.matmul(&heads(k, k.dim(3)?)?.transpose(1, 2)?)? * scale)?;
        parts.push(crate::softmax::reference(&scores)?.matmul(&heads(v, v_width)?)?.squeeze(1)?);
    }
    Tensor::stack(&parts, 0)
}

/// Writes row j of `new` [n, ..] into entry (slot, position) `places[j]` of `cache` [slots, capacity, ..], in place.
pub fn write_cache(cache: &Tensor, new: &Tensor, places: &[(usize, usize)]) -> Result<()> {
    let (slots, capacity) = (cache.dim(0)?, cache.dim(1)?);
    let width: usize = cache.dims()[2..].iter().product();
    let fits = new.dim(0)? == places.len() && new.elem_count() == places.len() * width;
    if !fits || places.iter().any(|&(slot, position)| slot >= slots || position >= capacity) {
        bail!("write_cache: rows {:?} do not fit cache {:?} at {places:?}", new.shape(), cache.shape());
    }
    if cpu::fast(&[cache, new]) {
        cache.inplace_op2(&new.contiguous()?, &WriteCache { places: places.into(), capacity, width })
    } else {
        for (j, &(slot, position)) in places.iter().enumerate() {
            cache.get(slot)?.slice_set(&new.narrow(0, j, 1)?.contiguous()?, 0, position)?;
        }
        Ok(())
    }
}

/// Copies the first `len` entries of slot `from` of `cache` [slots, capacity, ..] to slot `to`, in place.
pub fn copy_cache(cache: &Tensor, from: usize, to: usize, len: usize) -> Result<()> {
    let (slots, capacity) = (cache.dim(0)?, cache.dim(1)?);
    if from >= slots || to >= slots || len > capacity {
        bail!("copy_cache: {len} entries from slot {from} to {to} of cache {:?}", cache.shape());
    }
    if cpu::fast(&[cache]) {
        let slot = cache.elem_count() / slots;
        cache.inplace_op1(&CopyCache { from: from * slot, to: to * slot, count: len * (slot / capacity) })
    } else {
        cache.get(to)?.slice_set(&cache.get(from)?.narrow(0, 0, len)?.copy()?, 0, 0)
    }
}

/// Where numbers are copied from and to, counted from the first.
struct CopyCache {
    from: usize,
    to: usize,
    count: usize,
}

impl InplaceOp1 for CopyCache {
    fn name(&self) -> &'static str {
        "copy_cache"
    }

    fn cpu_fwd(&self, cache: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("copy_cache: the cache is not contiguous") };
        let CpuStorage::F32(cache) = cache else { bail!("copy_cache: the cache is not f32") };
        cache[start..end].copy_within(self.from..self.from + self.count, self.to);
        Ok(())
    }
}

struct WriteCache {
    places: Arc<[(usize, usize)]>,
    capacity: usize,
    width: usize,
}

impl InplaceOp2 for WriteCache {
    fn name(&self) -> &'static str {
        "write_cache"
    }

    fn cpu_fwd(&self, cache: &mut CpuStorage, lc: &Layout, new: &CpuStorage, ln: &Layout) -> Result<()> {
        let Some((start, end)) = lc.contiguous_offsets() else { bail!("write_cache: the cache is not contiguous") };
        let new = cpu::slice(new, ln)?;
        let CpuStorage::F32(cache) = cache else { bail!("write_cache: the cache is not f32") };
        let cache = &mut cache[start..end];
        for (row, &(slot, position)) in new.chunks(self.width).zip(self.places.iter()) {
            cache[(slot * self.capacity + position) * self.width..][..self.width].copy_from_slice(row);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, random};

    #[test]
    fn agrees_with_the_reference() -> Result<()> {
        let rows: Arc<[CacheRow]> = [(0, 5), (2, 1), (2, 7), (1, 3)].map(|(slot, len)| CacheRow { slot, len }).into();
        for (h, g, c, vw, v_width) in [(4, 2, 6, 5, 5), (3, 1, 8, 8, 6)] {
            let (q, k, v) = (random(&[4, h, c], 1), random(&[3, 7, g, c], 2), random(&[3, 7, g, vw], 3));
            let fast = cached_attention(&q, &k, &v, v_width, &rows, 0.4)?;
            close("cached attention", &fast, &reference(&q, &k, &v, v_width, &rows, 0.4)?, 1e-5)?;
        }
        Ok(())
    }

    #[test]
    fn written_rows_are_read_back() -> Result<()> {
        let cache = Tensor::zeros((2, 3, 1, 2), candle_core::DType::F32, &candle_core::Device::Cpu)?;
        write_cache(&cache, &random(&[2, 1, 2], 5), &[(1, 2), (0, 0)])?;
        let (rows, flat) =
            (random(&[2, 1, 2], 5).flatten_all()?.to_vec1::<f32>()?, cache.flatten_all()?.to_vec1::<f32>()?);
        assert_eq!((&flat[10..12], &flat[0..2]), (&rows[0..2], &rows[2..4]));
        assert!(flat[2..10].iter().all(|&x| x == 0.0));
        assert!(write_cache(&cache, &rows_of(1), &[(2, 0)]).is_err());
        Ok(())
    }

    #[test]
    fn a_slot_is_copied_as_far_as_asked() -> Result<()> {
        let cache = random(&[3, 4, 1, 2], 7);
        let before: Vec<f32> = cache.flatten_all()?.to_vec1()?;
        copy_cache(&cache, 2, 0, 3)?;
        let after: Vec<f32> = cache.flatten_all()?.to_vec1()?;
        assert_eq!((&after[..6], &after[6..]), (&before[16..22], &before[6..]));
        assert!(copy_cache(&cache, 3, 0, 1).is_err() && copy_cache(&cache, 0, 1, 5).is_err());
        Ok(())
    }

    fn rows_of(n: usize) -> Tensor {
        random(&[n, 1, 2], 6)
    }
}
