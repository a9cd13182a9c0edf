//! Passes of attention: softmax of scores, and decoding over a cache.

use super::{Arg, gpu_of, launch, numbers, room};
use crate::cached_attention::{CacheRow, PAGE};
use candle_core::{DType, Result, Tensor};
use half::bf16;

/// Bytes of memory that every GPU gives a block.
const BLOCK_BYTES: usize = 44 << 10;

/// Turns scores [.., rows, seen] of queries that begin with the `first` into probabilities, in place: softmax of `scale`
/// times the scores of the keys that each query sees.
pub(crate) fn causal_softmax(scores: &Tensor, rows: usize, first: usize, scale: f64) -> Result<bool> {
    let Some(gpu) = gpu_of(&[scores]) else { return Ok(false) };
    let seen = scores.dim(candle_core::D::Minus1)?;
    let sizes = [Arg::count(rows)?, Arg::count(seen)?, Arg::count(first)?];
    let args = [&[Arg::at(scores)?][..], &sizes, &[Arg::Number(scale as f32)]].concat();
    launch(gpu, "causal_softmax", scores.elem_count() / seen.max(1), 0, &args)?;
    Ok(true)
}

/// y [n, h, v_width] for `q` [n, h, c] over caches of f32 or bf16.
pub(crate) fn cached_attention(
    q: &Tensor,
    (k, v): (&Tensor, &Tensor),
    v_width: usize,
    rows: &[CacheRow],
    scale: f64,
) -> Result<Option<Tensor>> {
    let ((n, h, c), (_, _, g, _), vc) = (q.dims3()?, k.dims4()?, v.dim(3)?);
    let kept = k.dtype() == v.dtype() && k.is_contiguous() && v.is_contiguous() && k.device().is_cuda();
    let Some(gpu) = gpu_of(&[q]).filter(|_| kept && 4 * (c + v_width) <= BLOCK_BYTES) else { return Ok(None) };
    let most = rows.iter().map(|row| row.len.div_ceil(PAGE)).max().unwrap_or(0);
    let filled = |row: &CacheRow| (0..most).map(|at| row.pages.get(at).copied().unwrap_or(0)).collect::<Vec<_>>();
    let pages = numbers(rows.iter().flat_map(filled), q.device())?;
    let lens = numbers(rows.iter().map(|row| row.len as u32), q.device())?;
    let y = room((n, h, v_width), q.device())?;
    let (pass, k_at, v_at) = match k.dtype() {
        DType::F32 => ("cached_attention_f32", Arg::at(k)?, Arg::at(v)?),
        DType::BF16 => ("cached_attention_bf16", Arg::of::<bf16>(k)?, Arg::of::<bf16>(v)?),
        _ => return Ok(None),
    };
    let sizes = [h, g, c, vc, v_width, most, PAGE].map(Arg::count);
    let mut args = vec![Arg::at(q)?, k_at, v_at, Arg::of::<u32>(&pages)?, Arg::of::<u32>(&lens)?, Arg::at(&y)?];
    args.extend(sizes.into_iter().collect::<Result<Vec<_>>>()?);
    args.push(Arg::Number(scale as f32));
    launch(gpu, pass, n * h, c + v_width, &args)?;
    Ok(Some(y))
}

/// Writes row j of `new` into entry `places[j]` of `cache`, in place.
pub(crate) fn write_cache(cache: &Tensor, new: &Tensor, places: &[usize]) -> Result<bool> {
    let Some(gpu) = gpu_of(&[new]).filter(|_| cache.is_contiguous() && cache.device().is_cuda()) else {
        return Ok(false);
    };
    let (pass, cache) = match cache.dtype() {
        DType::F32 => ("write_cache_f32", Arg::at(cache)?),
        DType::BF16 => ("write_cache_bf16", Arg::of::<bf16>(cache)?),
        _ => return Ok(false),
    };
    let (n, all) = (places.len(), new.elem_count());
    if n == 0 {
        return Ok(true);
    }
    let places = numbers(places.iter().map(|&place| place as u32), new.device())?;
    let sizes = [Arg::count(n)?, Arg::count(all / n)?];
    super::each(gpu, pass, all, &[&[Arg::at(new)?, Arg::of::<u32>(&places)?, cache][..], &sizes].concat())?;
    Ok(true)
}
