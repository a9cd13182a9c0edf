//! Attention of new queries over keys and values kept in a cache; inference only, so there is no backward.
//!
//! A cache is a tensor [pages, PAGE, g, c] of f32 or bf16; the entries of a sequence lie in the pages of a list, which
//! sequences with a common beginning share. For multi-head latent attention in its absorbed form the cache holds one
//! latent vector per token: keys are the whole vector, values its first `v_width` numbers (DeepSeek-V2, arXiv 2405.04434,
//! section 2.1).

#[cfg(target_arch = "x86_64")]
mod bf16;
mod span;

use crate::cpu;
use crate::rounding::round;
use candle_core::{CpuStorage, DType, InplaceOp1, InplaceOp2, Layout, Result, Tensor, bail};
use rayon::prelude::*;
use span::{Kept, Queries, Scratch, Span};
use std::collections::HashMap;
use std::sync::Arc;

/// Entries of a page. They are looked at together; what the pages of a longer past give is put together as in arXiv
/// 2205.14135, and so a row's result depends on nothing but the row and what it sees.
pub const PAGE: usize = 64;

/// Rows that look at a page together.
const ROWS: usize = 8;

/// What a query row sees of a cache (its own entry included).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRow {
    /// Pages of its sequence, in order; more than it sees, perhaps.
    pub pages: Arc<[u32]>,
    /// Entries that it sees.
    pub len: usize,
}

impl CacheRow {
    /// Each page that it sees, with the entries that it sees of it.
    fn seen(&self) -> impl Iterator<Item = (usize, usize)> {
        let counts = (0..self.len).step_by(PAGE).map(|start| PAGE.min(self.len - start));
        self.pages.iter().map(|&page| page as usize).zip(counts)
    }
}

/// What the rows of a batch see: the same for every layer.
#[derive(Debug, Default)]
pub struct CacheRows {
    rows: Vec<CacheRow>,
    /// A page, the entries seen of it, and the rows that look at it together.
    looks: Vec<((usize, usize), Vec<usize>)>,
    /// For each row its looks, page after page, and its place in each.
    places: Vec<Vec<(usize, usize)>>,
}

impl CacheRows {
    /// Rows that see the same of a page look at it together.
    pub fn new(rows: Vec<CacheRow>) -> Self {
        let mut looks: Vec<((usize, usize), Vec<usize>)> = Vec::new();
        let mut open: HashMap<(usize, usize), usize> = HashMap::new();
        let mut places = Vec::with_capacity(rows.len());
        for (j, row) in rows.iter().enumerate() {
            let place = |seen| {
                let mut look = *open.entry(seen).or_insert(usize::MAX);
                if looks.get(look).is_none_or(|(_, together)| together.len() == ROWS) {
                    look = looks.len();
                    looks.push((seen, Vec::new()));
                    open.insert(seen, look);
                }
                looks[look].1.push(j);
                (look, looks[look].1.len() - 1)
            };
            places.push(row.seen().map(place).collect());
        }
        Self { rows, looks, places }
    }
}

/// y [n, h, v_width] for `q` [n, h, c] over caches `k` [pages, PAGE, g, c] and `v` [pages, PAGE, g, >= v_width].
pub fn cached_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    v_width: usize,
    seen: &CacheRows,
    scale: f64,
) -> Result<Tensor> {
    let CacheRows { rows, looks, places } = seen;
    let ((n, h, c), (pages, size, g, kc), (vp, vsize, vg, vw)) = (q.dims3()?, k.dims4()?, v.dims4()?);
    let fits = (kc, vp, vg, size, vsize) == (c, pages, g, PAGE, PAGE) && v_width <= vw && g > 0 && h % g == 0;
    let sees = |row: &CacheRow| {
        let known = row.pages.iter().all(|&page| (page as usize) < pages);
        known && (1..=row.pages.len() * PAGE).contains(&row.len)
    };
    if !fits || rows.len() != n || !rows.iter().all(sees) {
        bail!("cached_attention: q {:?}, k {:?}, v {:?}, {} rows", q.shape(), k.shape(), v.shape(), rows.len());
    }
    if !cpu::fast(&[q]) || !is_kept_here(k) || !is_kept_here(v) {
        return reference(q, k, v, v_width, rows, scale);
    }
    let q = q.contiguous()?;
    let q = cpu::data(&q)?;
    let ((k_storage, k_layout), (v_storage, v_layout)) = (k.storage_and_layout(), v.storage_and_layout());
    let (k, v) = (Kept::new(&k_storage, k_layout)?, Kept::new(&v_storage, v_layout)?);
    let queries = Queries::new(&q, (k, v), c, v_width);
    let group = h / g;
    let parts = (0..looks.len() * g).into_par_iter().map_init(Scratch::default, |scratch, at| {
        let (((page, count), rows), hk) = (&looks[at / g], at % g);
        let places = rows.iter().map(|j| (j * h + hk * group) * c).map(|start| start..start + group * c);
        let (keys, values) = (k.rows(page * PAGE * g + hk, g, c), v.rows(page * PAGE * g + hk, g, vw));
        Span { keys, values, count: *count, v_width, scale: scale as f32 }.attend(&queries, places, scratch)
    });
    let parts: Vec<_> = parts.collect();
    let mut y = vec![0f32; n * h * v_width];
    y.par_chunks_mut(v_width).enumerate().with_min_len(4).for_each(|(at, y)| {
        let (row, hk, head) = (at / h, at % h / group, at % group);
        let own = places[row].iter().map(|&(look, place)| (&parts[look * g + hk], place * group + head));
        span::join(y, &own.collect::<Vec<_>>());
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
            let pages = Tensor::new(&*row.pages, cache.device())?;
            let t = cache.index_select(&pages, 0)?.flatten(0, 1)?.narrow(0, 0, row.len)?;
            let t = t.narrow(2, 0, width)?.to_dtype(q.dtype())?.contiguous()?;
            let (len, g, c) = t.dims3()?;
            t.unsqueeze(2)?.broadcast_as((len, g, groups, c))?.reshape((len, h, c))?.transpose(0, 1)?.contiguous()
        };
        let scores = (q.get(j)?.unsqueeze(1)?.matmul(&heads(k, k.dim(3)?)?.transpose(1, 2)?)? * scale)?;
        parts.push(crate::softmax::reference(&scores)?.matmul(&heads(v, v_width)?)?.squeeze(1)?);
    }
    Tensor::stack(&parts, 0)
}

/// Writes row j of `new` [n, ..] into entry `places[j]` of `cache` [pages, PAGE, ..], in place; entries count through
/// all pages.
pub fn write_cache(cache: &Tensor, new: &Tensor, places: &Arc<[usize]>) -> Result<()> {
    let entries = cache.dim(0)? * cache.dim(1)?;
    let width: usize = cache.dims()[2..].iter().product();
    let fits = new.dim(0)? == places.len() && new.elem_count() == places.len() * width;
    if !fits || places.iter().any(|&place| place >= entries) {
        bail!("write_cache: rows {:?} do not fit cache {:?} at {places:?}", new.shape(), cache.shape());
    }
    if cpu::fast(&[new]) && is_kept_here(cache) {
        cache.inplace_op2(&new.contiguous()?, &WriteCache { places: places.clone(), width })
    } else {
        let (pages, size) = (cache.dim(0)?, cache.dim(1)?);
        let flat = cache.reshape((pages * size, width))?;
        for (j, &place) in places.iter().enumerate() {
            let row = new.narrow(0, j, 1)?.to_dtype(cache.dtype())?.contiguous()?.reshape((1, width))?;
            flat.slice_set(&row, 0, place)?;
        }
        Ok(())
    }
}

/// Copies page `from` of `cache` [pages, PAGE, ..] to page `to`, in place.
pub fn copy_page(cache: &Tensor, from: usize, to: usize) -> Result<()> {
    let pages = cache.dim(0)?;
    if from >= pages || to >= pages {
        bail!("copy_page: page {from} to {to} of cache {:?}", cache.shape());
    }
    if is_kept_here(cache) {
        let count = cache.elem_count() / pages;
        cache.inplace_op1(&CopyCache { from: from * count, to: to * count, count })
    } else {
        cache.slice_set(&cache.narrow(0, from, 1)?.copy()?, 0, to)
    }
}

fn is_kept_here(cache: &Tensor) -> bool {
    cache.device().is_cpu() && matches!(cache.dtype(), DType::F32 | DType::BF16)
}

/// Where numbers are copied from and to, counted from the first.
struct CopyCache {
    from: usize,
    to: usize,
    count: usize,
}

impl InplaceOp1 for CopyCache {
    fn name(&self) -> &'static str {
        "copy_page"
    }

    fn cpu_fwd(&self, cache: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("copy_page: the cache is not contiguous") };
        let from = self.from..self.from + self.count;
        match cache {
            CpuStorage::F32(cache) => cache[start..end].copy_within(from, self.to),
            CpuStorage::BF16(cache) => cache[start..end].copy_within(from, self.to),
            _ => bail!("copy_page: the cache is neither f32 nor bf16"),
        }
        Ok(())
    }
}

struct WriteCache {
    places: Arc<[usize]>,
    width: usize,
}

impl InplaceOp2 for WriteCache {
    fn name(&self) -> &'static str {
        "write_cache"
    }

    fn cpu_fwd(&self, cache: &mut CpuStorage, lc: &Layout, new: &CpuStorage, ln: &Layout) -> Result<()> {
        let Some((start, end)) = lc.contiguous_offsets() else { bail!("write_cache: the cache is not contiguous") };
        let new = cpu::slice(new, ln)?;
        let rows = new.chunks(self.width).zip(self.places.iter());
        let entry = |&place: &usize| start + place * self.width;
        match cache {
            CpuStorage::F32(cache) => {
                let cache = &mut cache[..end];
                rows.for_each(|(row, place)| cache[entry(place)..][..self.width].copy_from_slice(row));
            }
            CpuStorage::BF16(cache) => {
                let cache = &mut cache[..end];
                rows.for_each(|(row, place)| round(row, &mut cache[entry(place)..][..self.width]));
            }
            _ => bail!("write_cache: the cache is neither f32 nor bf16"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, random};

    fn row(pages: &[u32], len: usize) -> CacheRow {
        CacheRow { pages: pages.into(), len }
    }

    #[test]
    fn agrees_with_the_reference() -> Result<()> {
        // The first two see a page in common, the last two the same of it.
        let rows = [row(&[3, 0], PAGE + 5), row(&[3, 2], 2 * PAGE), row(&[1], 1), row(&[4], 7), row(&[4], 7)];
        let all = CacheRows::new(rows.to_vec());
        for (h, g, c, vw, v_width) in [(4, 2, 6, 5, 5), (3, 1, 8, 8, 6), (10, 2, 20, 150, 150)] {
            let (q, k, v) = (random(&[5, h, c], 1), random(&[5, PAGE, g, c], 2), random(&[5, PAGE, g, vw], 3));
            for dtype in [DType::F32, DType::BF16] {
                let (k, v) = (k.to_dtype(dtype)?, v.to_dtype(dtype)?);
                let fast = cached_attention(&q, &k, &v, v_width, &all, 0.4)?;
                close("cached attention", &fast, &reference(&q, &k, &v, v_width, &rows, 0.4)?, 1e-5)?;
                // The same bits, whatever rows lie beside it.
                for (j, row) in rows.iter().enumerate() {
                    let q = q.narrow(0, j, 1)?.contiguous()?;
                    let alone = cached_attention(&q, &k, &v, v_width, &CacheRows::new(vec![row.clone()]), 0.4)?;
                    close("alone", &alone, &fast.narrow(0, j, 1)?, 0.0)?;
                }
            }
            // Keys and values in one.
            if c == vw {
                let fast = cached_attention(&q, &k, &k, v_width, &all, 0.4)?;
                close("latents", &fast, &reference(&q, &k, &k, v_width, &rows, 0.4)?, 1e-5)?;
            }
            for wrong in [row(&[5], 1), row(&[0], 0), row(&[0], PAGE + 1)] {
                assert!(
                    cached_attention(&q.narrow(0, 0, 1)?, &k, &v, v_width, &CacheRows::new(vec![wrong]), 0.4).is_err()
                );
            }
        }
        Ok(())
    }

    #[test]
    fn pages_in_bf16_give_what_rounded_numbers_would() -> Result<()> {
        let rows = [row(&[3, 0], PAGE + 5), row(&[3, 2], 2 * PAGE), row(&[1], 1), row(&[3, 4], PAGE + 64)];
        let all = CacheRows::new(rows.to_vec());
        for (h, g, c, vw) in [(8, 1, 96, 64), (6, 2, 64, 32), (10, 1, 32, 96)] {
            let (q, k, v) = (random(&[4, h, c], 1), random(&[5, PAGE, g, c], 2), random(&[5, PAGE, g, vw], 3));
            let (k, v) = (k.to_dtype(DType::BF16)?, v.to_dtype(DType::BF16)?);
            let rounded = q.to_dtype(DType::BF16)?.to_dtype(DType::F32)?;
            let found = cached_attention(&q, &k, &v, vw, &all, 0.4)?;
            // Queries may be rounded, and probabilities too: to 2^-9 of themselves.
            close("bf16", &found, &reference(&rounded, &k, &v, vw, &rows, 0.4)?, 8e-3)?;
            for (j, row) in rows.iter().enumerate() {
                let q = q.narrow(0, j, 1)?.contiguous()?;
                let alone = cached_attention(&q, &k, &v, vw, &CacheRows::new(vec![row.clone()]), 0.4)?;
                close("alone", &alone, &found.narrow(0, j, 1)?, 0.0)?;
            }
        }
        Ok(())
    }

    #[test]
    fn written_and_copied_numbers_are_where_they_should_be() -> Result<()> {
        for dtype in [DType::F32, DType::BF16] {
            let cache = Tensor::zeros((3, PAGE, 1, 2), dtype, &candle_core::Device::Cpu)?;
            let numbers = || cache.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
            let new = random(&[2, 1, 2], 5);
            write_cache(&cache, &new, &[PAGE + 2, 0].into())?;
            let written = new.to_dtype(dtype)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            let mut expected = vec![0f32; 3 * PAGE * 2];
            expected[2 * (PAGE + 2)..][..2].copy_from_slice(&written[..2]);
            expected[..2].copy_from_slice(&written[2..]);
            assert_eq!(numbers()?, expected);
            copy_page(&cache, 1, 2)?;
            expected.copy_within(2 * PAGE..4 * PAGE, 4 * PAGE);
            assert_eq!(numbers()?, expected);
            assert!(write_cache(&cache, &random(&[1, 1, 2], 6), &[3 * PAGE].into()).is_err());
            assert!(copy_page(&cache, 3, 0).is_err() && copy_page(&cache, 0, 3).is_err());
        }
        Ok(())
    }
}
