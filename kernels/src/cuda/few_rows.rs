//! Products of few rows with weights in bf16: what decoding does, which takes as long as reading the weights.

use super::{Arg, THREADS, gpu_of, launch, numbers, room};
use candle_core::{DType, Result, Tensor};

/// Rows of an expert up to which its weights are read anew for each four; more are left to cuBLAS, which multiplies experts
/// one by one.
const MOST: usize = 16;
/// Numbers that a thread reads at once, as in the source.
const CHUNK: usize = 8;
/// Threads of a warp, and rows of a weight that it multiplies side by side.
const WARP: usize = 32;
const SIDE: usize = 2;

/// y [m, o] for `x` [m, i] in f32 and `w` [e, o, i] in bf16: rows `offsets[e]` to `offsets[e + 1]` times the matrix e, all
/// experts in one launch, each weight read once for up to four rows of x.
pub(crate) fn few_rows(x: &Tensor, w: &Tensor, offsets: &[usize]) -> Result<Option<Tensor>> {
    let Some(gpu) = gpu_of(&[x]) else { return Ok(None) };
    let (m, (e, o, i)) = (x.dim(0)?, w.dims3()?);
    let fits = w.device().is_cuda() && w.dtype() == DType::BF16 && w.is_contiguous() && i.is_multiple_of(CHUNK);
    // Vectors of 16 bytes are read from where they begin.
    let aligned = x.layout().start_offset().is_multiple_of(4) && w.layout().start_offset().is_multiple_of(CHUNK);
    if !fits || !aligned || m == 0 || e + 1 != offsets.len() || offsets.windows(2).any(|span| span[1] - span[0] > MOST)
    {
        return Ok(None);
    }
    let spans = || offsets.windows(2).enumerate().filter(|(_, span)| span[0] < span[1]);
    let used = spans().count();
    let table = spans().flat_map(|(expert, span)| [expert as u32, span[0] as u32, span[1] as u32]);
    let table = numbers(table, x.device())?;
    let y = room((m, o), x.device())?;
    let across = o.div_ceil(SIDE * THREADS / WARP);
    let args = [Arg::at(x)?, Arg::of::<half::bf16>(w)?, Arg::of::<u32>(&table)?, Arg::at(&y)?];
    let sizes = [Arg::count(o)?, Arg::count(i)?, Arg::count(across)?];
    launch(gpu, "few_rows", used * across, 0, &[&args[..], &sizes].concat())?;
    Ok(Some(y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, gpu, random};

    #[test]
    fn sizes_are_those_of_the_source() {
        for (name, size) in [("THREADS", THREADS), ("WARP", WARP), ("SIDE", SIDE)] {
            assert!(super::super::SOURCE.contains(&format!("#define {name} {size}\n")), "{name}");
        }
        assert!(super::super::SOURCE.contains("column = lane * 8; column < i; column += WARP * 8") && CHUNK == 8);
    }

    #[test]
    fn few_rows_are_multiplied_as_in_f32() -> Result<()> {
        let Some(gpu) = gpu() else { return Ok(()) };
        for (o, i) in [(1, 8), (37, 264), (64, 1032)] {
            let offsets = [0, 1, 1, 6, 6 + MOST];
            let (m, w) = (6 + MOST, random(&[4, o, i], 2).to_dtype(DType::BF16)?);
            let x = random(&[m, i], 1);
            let parts = offsets.windows(2).enumerate().filter(|(_, span)| span[0] < span[1]);
            let parts = parts.map(|(expert, span)| {
                x.narrow(0, span[0], span[1] - span[0])?.matmul(&w.get(expert)?.to_dtype(DType::F32)?.t()?)
            });
            let expected = Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?;
            let found = few_rows(&x.to_device(&gpu)?, &w.to_device(&gpu)?, &offsets)?.expect("few rows");
            close("few rows", &found, &expected, 1e-4)?;
        }
        Ok(())
    }
}
