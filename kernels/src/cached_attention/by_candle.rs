//! The same in candle's own operations: for a device that none of our kernels knows.
//!
//! Rows are looked at together, each with the pages that it sees, filled up to those of the row that sees most.

use super::{CacheRow, PAGE};
use crate::cuda;
use crate::matmul::MatmulPrecision;
use crate::portable::product;
use crate::softmax;
use candle_core::{Result, Tensor};

/// Numbers of keys and values that are gathered at once. Tests gather more than once.
const GATHERED: usize = if cfg!(test) { 1 << 12 } else { 1 << 27 };

/// Added to the score of what a row does not see.
const UNSEEN: f64 = -1e30;

pub(super) fn cached_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    v_width: usize,
    rows: &[CacheRow],
    scale: f64,
) -> Result<Tensor> {
    if q.elem_count() == 0 || v_width == 0 {
        return Tensor::zeros((q.dim(0)?, q.dim(1)?, v_width), q.dtype(), q.device());
    }
    if let Some(y) = cuda::cached_attention(&q.contiguous()?, (k, v), v_width, rows, scale)? {
        return Ok(y);
    }
    let ((_, h, _), (_, _, g, c)) = (q.dims3()?, k.dims4()?);
    let pages = |row: &CacheRow| row.len.div_ceil(PAGE);
    let numbers = PAGE * g * (c + v.dim(3)?);
    let (mut parts, mut start) = (Vec::new(), 0);
    while start < rows.len() {
        let mut most = 0;
        let fitting = rows[start..].iter().enumerate().take_while(|(before, row)| {
            most = most.max(pages(row));
            (before + 1) * most * numbers <= GATHERED
        });
        let count = fitting.count().max(1);
        let together = Together { rows: &rows[start..start + count], h, g, v_width, scale };
        parts.push(together.attend(&q.narrow(0, start, count)?, k, v)?);
        start += count;
    }
    Tensor::cat(&parts, 0)
}

struct Together<'a> {
    rows: &'a [CacheRow],
    h: usize,
    g: usize,
    v_width: usize,
    scale: f64,
}

impl Together<'_> {
    /// y [n, h, v_width] of these rows.
    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let &Self { h, g, v_width, scale, .. } = self;
        let (n, device) = (self.rows.len(), q.device());
        let most = self.rows.iter().map(|row| row.len.div_ceil(PAGE)).max().unwrap_or(0);
        let filled = |row: &CacheRow| (0..most).map(|at| row.pages[at.min(row.pages.len() - 1)]).collect::<Vec<_>>();
        let pages = Tensor::from_iter(self.rows.iter().flat_map(filled), device)?;
        // [n, g, entries, width]
        let seen = |cache: &Tensor| {
            let width = cache.dim(3)?;
            cache.index_select(&pages, 0)?.reshape((n, most * PAGE, g, width))?.transpose(1, 2)?.contiguous()
        };
        let lens = Tensor::from_iter(self.rows.iter().map(|row| row.len as u32), device)?.unsqueeze(1)?;
        let entries = Tensor::arange(0, (most * PAGE) as u32, device)?.unsqueeze(0)?;
        let unseen = (entries.broadcast_ge(&lens)?.to_dtype(q.dtype())? * UNSEEN)?.reshape((n, 1, 1, most * PAGE))?;
        let q = q.contiguous()?.reshape((n, g, h / g, ()))?;
        let scores =
            (product(&q, &seen(k)?.transpose(2, 3)?, MatmulPrecision::F32)? * scale)?.broadcast_add(&unseen)?;
        let p = softmax::reference(&scores)?;
        let values = seen(v)?.narrow(3, 0, v_width)?.contiguous()?;
        product(&p, &values, MatmulPrecision::F32)?.reshape((n, h, v_width))
    }
}

/// Writes rows of `new` into entries of `cache`, in place.
pub(super) fn write_cache(cache: &Tensor, new: &Tensor, places: &[usize]) -> Result<()> {
    if cuda::write_cache(cache, &new.contiguous()?, places)? {
        return Ok(());
    }
    let entries = cache.dim(0)? * cache.dim(1)?;
    let flat = cache.reshape((entries, ()))?;
    let shape = (places.len(), flat.dim(1)?);
    let at = Tensor::from_iter(places.iter().map(|&place| place as u32), cache.device())?;
    let at = at.unsqueeze(1)?.broadcast_as(shape)?.contiguous()?;
    flat.scatter_set(&at, &new.to_dtype(cache.dtype())?.contiguous()?.reshape(shape)?, 0)
}
