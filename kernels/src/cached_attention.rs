//! Attention of new queries over keys and values kept in a cache; inference only, so there is no backward.
//!
//! A cache is a tensor [pages, PAGE, g, c] of f32 or bf16; the entries of a sequence lie in the pages of a list, which
//! sequences with a common beginning share. For multi-head latent attention in its absorbed form the cache holds one
//! latent vector per token: keys are the whole vector, values its first `v_width` numbers (DeepSeek-V2, arXiv 2405.04434,
//! section 2.1).

#[cfg(target_arch = "x86_64")]
mod bf16;
mod by_candle;
#[cfg(target_arch = "x86_64")]
mod dots;
mod exact;
mod kept;
mod looks;
mod part;

use crate::cpu;
use crate::rounding::round;
use candle_core::{CpuStorage, DType, InplaceOp1, InplaceOp2, Layout, Result, Tensor, bail};
use kept::Kept;
use looks::{Block, Seen};
pub use looks::{CacheRow, CacheRows};
use part::{Part, Sums};
use rayon::prelude::*;
use std::cell::RefCell;
use std::sync::Arc;

/// Entries of a page. They are looked at together; what the pages of a longer past give is put together as in arXiv
/// 2205.14135, and so a row's result depends on nothing but the row and what it sees.
pub const PAGE: usize = 64;

/// y [n, h, v_width] for `q` [n, h, c] over caches `k` [pages, PAGE, g, c] and `v` [pages, PAGE, g, >= v_width].
pub fn cached_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    v_width: usize,
    seen: &CacheRows,
    scale: f64,
) -> Result<Tensor> {
    let CacheRows { rows, blocks } = seen;
    let ((n, h, c), (pages, size, g, kc), (vp, vsize, vg, vw)) = (q.dims3()?, k.dims4()?, v.dims4()?);
    let fits = (kc, vp, vg, size, vsize) == (c, pages, g, PAGE, PAGE) && v_width <= vw && g > 0 && h % g == 0;
    let sees = |row: &CacheRow| {
        let known = row.pages.iter().all(|&page| (page as usize) < pages);
        known && (1..=row.pages.len() * PAGE).contains(&row.len)
    };
    if !fits || rows.len() != n || !rows.iter().all(sees) {
        bail!("cached_attention: q {:?}, k {:?}, v {:?}, {} rows", q.shape(), k.shape(), v.shape(), rows.len());
    }
    if !cpu::fast(&[q]) || !is_kept_here(k) || !is_kept_here(v) || q.elem_count() == 0 || v_width == 0 {
        return by_candle::cached_attention(q, k, v, v_width, rows, scale);
    }
    let q = q.contiguous()?;
    let ((k_storage, k_layout), (v_storage, v_layout)) = (k.storage_and_layout(), v.storage_and_layout());
    let past = Past {
        q: &cpu::data(&q)?,
        k: Kept::new(&k_storage, k_layout)?,
        v: Kept::new(&v_storage, v_layout)?,
        dims: Dims { h, g, c, vw, v_width },
        scale: scale as f32,
    };
    let mut y = vec![0f32; n * h * v_width];
    let mut rest = y.as_mut_slice();
    for block in blocks {
        let (own, others) = rest.split_at_mut(block.rows.len() * h * v_width);
        past.attend(block, own);
        rest = others;
    }
    cpu::shaped(y, (n, h, v_width))
}

/// Heads of queries and of the cache, widths of keys, of values as they are kept and of those that are wanted.
#[derive(Clone, Copy)]
struct Dims {
    h: usize,
    g: usize,
    c: usize,
    vw: usize,
    v_width: usize,
}

/// Queries, and what they look back at.
struct Past<'a> {
    q: &'a [f32],
    k: Kept<'a>,
    v: Kept<'a>,
    dims: Dims,
    scale: f32,
}

thread_local! {
    /// Kept from one call to the next.
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Memory that one thread uses look after look.
#[derive(Default)]
struct Room {
    /// Queries of the rows and heads of a look, end to end.
    q: Vec<f32>,
    exact: exact::Exact,
    #[cfg(target_arch = "x86_64")]
    rounded: bf16::Rounded,
    later: Part,
}

impl Past<'_> {
    /// What the rows of a block get, [rows, h, v_width].
    fn attend(&self, block: &Block, y: &mut [f32]) {
        let Dims { h, g, v_width, .. } = self.dims;
        let group = h / g;
        let parts: Vec<_> =
            (0..block.looks.len() * g).into_par_iter().map(|at| self.look(block, at / g, at % g)).collect();
        y.par_chunks_mut(v_width).enumerate().with_min_len(4).for_each(|(at, y)| {
            let (hk, head) = (at % h / group, at % group);
            let mut all = Sums::new(v_width);
            for stretch in block.rows[at / h].chunk_by(|_, next| !next.begins) {
                let part = |share: &looks::Share| parts[share.look * g + hk].query(share.place * group + head);
                match stretch {
                    [share] => all.add(part(share)),
                    shares => {
                        let mut sums = Sums::new(v_width);
                        shares.iter().for_each(|share| sums.add(part(share)));
                        all.add(sums.weighed());
                    }
                }
            }
            all.mean(y);
        });
    }

    /// Whether the caches are kept in bf16 and this machine multiplies it.
    #[cfg(target_arch = "x86_64")]
    fn multiplies_rounded(&self) -> bool {
        crate::avx512_bf16::is_here() && matches!((self.k, self.v), (Kept::Bf16(_), Kept::Bf16(_)))
    }

    /// What the pages of look `at` give to the queries of its rows that belong to head `hk` of the cache.
    fn look(&self, block: &Block, at: usize, hk: usize) -> Part {
        let Dims { h, g, c, .. } = self.dims;
        let (look, group) = (&block.looks[at], h / g);
        let mut room = ROOM.take();
        room.q.clear();
        look.rows.iter().for_each(|row| room.q.extend_from_slice(&self.q[(row * h + hk * group) * c..][..group * c]));
        #[cfg(target_arch = "x86_64")]
        if self.multiplies_rounded() {
            room.rounded.set(&room.q, c);
        }
        // A thread mostly goes on with the look that follows.
        let following = block.looks.get(at + 1).map(|look| look.pages[0]);
        let ahead = look.pages[1..].iter().copied().map(Some).chain([following]);
        let (mut part, mut later) = (Part::default(), std::mem::take(&mut room.later));
        for (place, (seen, next)) in look.pages.iter().zip(ahead).enumerate() {
            if place == 0 {
                self.page(*seen, next, hk, &mut room, &mut part);
            } else {
                self.page(*seen, next, hk, &mut room, &mut later);
                part.add(&later);
            }
        }
        room.later = later;
        ROOM.set(room);
        part
    }

    /// What one page gives to the queries in `room`; `next` is the page that is looked at after it.
    fn page(&self, Seen { page, count }: Seen, next: Option<Seen>, hk: usize, room: &mut Room, part: &mut Part) {
        let Dims { g, c, vw, v_width, .. } = self.dims;
        let keys_of = |page: usize| self.k.rows(page * PAGE * g + hk, g, c);
        let values = self.v.rows(page * PAGE * g + hk, g, vw);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = next;
        #[cfg(target_arch = "x86_64")]
        if self.multiplies_rounded()
            && let (Some(keys), Some(values)) = (keys_of(page).rounded(), values.rounded())
        {
            let next = next.and_then(|seen| keys_of(seen.page).rounded());
            return room.rounded.attend((keys, values), v_width, count, self.scale, next, part);
        }
        room.exact.attend(&room.q, (keys_of(page), values), v_width, count, self.scale, part);
    }
}

/// The oracle: in candle's own ops, row by row.
#[cfg(test)]
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
        by_candle::write_cache(cache, new, places)
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
    cpu::is_here(cache.device()) && matches!(cache.dtype(), DType::F32 | DType::BF16)
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
mod tests;
