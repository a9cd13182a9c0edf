//! Passes over rows: norms, gates, rotations, sums of rows, the optimiser's step.

use super::{Arg, THREADS, each, gpu_of, launch, numbers, room};
use crate::adamw::Rule;
use crate::moments::{CodesElsewhere, MOMENT_BLOCK};
use crate::rope::RopeLayout;
use candle_core::{Result, Tensor, Var};

/// Rows per partial sum of the gradient of a norm's weight.
const ROWS: usize = 128;

/// y = x / sqrt(mean(x^2) + eps) * w over the last dimension.
pub(crate) fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Option<Tensor>> {
    let Some(gpu) = gpu_of(&[x, w]) else { return Ok(None) };
    let (y, d) = (room(x.shape(), x.device())?, w.elem_count());
    let args = [Arg::at(x)?, Arg::at(w)?, Arg::at(&y)?, Arg::count(d)?, Arg::Number(eps as f32)];
    launch(gpu, "rms_norm", x.elem_count() / d.max(1), 0, &args)?;
    Ok(Some(y))
}

/// [dx, dw]
pub(crate) fn rms_norm_backward(x: &Tensor, w: &Tensor, dy: &Tensor, eps: f64) -> Result<Option<[Tensor; 2]>> {
    let Some(gpu) = gpu_of(&[x, w, dy]) else { return Ok(None) };
    let d = w.elem_count();
    let n = x.elem_count() / d.max(1);
    let (dx, scales) = (room(x.shape(), x.device())?, room(n, x.device())?);
    let (count, width) = (Arg::count(n)?, Arg::count(d)?);
    let inputs = [Arg::at(x)?, Arg::at(w)?, Arg::at(dy)?];
    let [x_at, _, dy_at] = inputs;
    let outputs = [Arg::at(&dx)?, Arg::at(&scales)?, width, Arg::Number(eps as f32)];
    launch(gpu, "rms_norm_dx", n, 0, &[&inputs[..], &outputs].concat())?;
    let parts = n.div_ceil(ROWS);
    let sums = room((parts, d), x.device())?;
    let args = [x_at, dy_at, Arg::at(&scales)?, Arg::at(&sums)?, count, width, Arg::count(ROWS)?];
    each(gpu, "rms_norm_dw", parts * d, &args)?;
    Ok(Some([dx, sums.sum(0)?]))
}

/// Turns the last numbers of the heads of x [n, h, c] by the tables' angles, or back with direction -1.
pub(crate) fn rope(
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    layout: RopeLayout,
    direction: f32,
) -> Result<Option<Tensor>> {
    let Some(gpu) = gpu_of(&[x, cos, sin]) else { return Ok(None) };
    let (y, (n, h, c), half) = (room(x.shape(), x.device())?, x.dims3()?, cos.dim(1)?);
    let sizes = [n, h, c, half, usize::from(layout == RopeLayout::Interleaved)];
    let mut args = vec![Arg::at(x)?, Arg::at(cos)?, Arg::at(sin)?, Arg::at(&y)?];
    args.extend(sizes.map(Arg::count).into_iter().collect::<Result<Vec<_>>>()?);
    args.push(Arg::Number(direction));
    each(gpu, "rope", n * h * (c - half), &args)?;
    Ok(Some(y))
}

/// silu(gate) up
pub(crate) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Option<Tensor>> {
    let Some(gpu) = gpu_of(&[gate, up]) else { return Ok(None) };
    let (y, n) = (room(gate.shape(), gate.device())?, gate.elem_count());
    each(gpu, "swiglu", n, &[Arg::at(gate)?, Arg::at(up)?, Arg::at(&y)?, Arg::Size(n as u64)])?;
    Ok(Some(y))
}

/// [dgate, dup]
pub(crate) fn swiglu_backward(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<Option<[Tensor; 2]>> {
    let Some(gpu) = gpu_of(&[gate, up, dy]) else { return Ok(None) };
    let (dgate, dup) = (room(gate.shape(), gate.device())?, room(gate.shape(), gate.device())?);
    let n = gate.elem_count();
    let inputs = [Arg::at(gate)?, Arg::at(up)?, Arg::at(dy)?];
    let outputs = [Arg::at(&dgate)?, Arg::at(&dup)?, Arg::Size(n as u64)];
    each(gpu, "swiglu_backward", n, &[inputs, outputs].concat())?;
    Ok(Some([dgate, dup]))
}

/// A step of AdamW: the parameter and both moments are changed in place.
pub(crate) fn adamw(w: &Var, gradient: &Tensor, m: &Tensor, v: &Tensor, by: &Rule) -> Result<bool> {
    let Some(gpu) = gpu_of(&[w, gradient, m, v]) else { return Ok(false) };
    let n = w.elem_count();
    let mut args = vec![Arg::at(w)?, Arg::at(gradient)?, Arg::at(m)?, Arg::at(v)?, Arg::Size(n as u64)];
    args.extend([by.betas.0, by.betas.1, by.rate, by.decay, by.root, by.eps, by.scale].map(Arg::Number));
    each(gpu, "adamw", n, &args)?;
    Ok(true)
}

/// The same with moments in codes.
pub(crate) fn adamw_coded(
    w: &Var,
    gradient: &Tensor,
    (m, root): (&CodesElsewhere, &CodesElsewhere),
    by: &Rule,
) -> Result<bool> {
    let Some(gpu) = gpu_of(&[w, gradient, &m.scales, &root.scales]) else { return Ok(false) };
    let n = w.elem_count();
    let mut args = vec![Arg::at(w)?, Arg::at(gradient)?];
    for moments in [m, root] {
        args.extend([Arg::of::<u8>(&moments.codes)?, Arg::at(&moments.scales)?]);
    }
    args.push(Arg::Size(n as u64));
    args.extend([by.betas.0, by.betas.1, by.rate, by.decay, by.root, by.eps, by.scale].map(Arg::Number));
    args.push(Arg::Count(by.step));
    // A block of threads for each block of moments.
    each(gpu, "adamw_coded", n, &args)?;
    Ok(true)
}

const _: () = assert!(THREADS == MOMENT_BLOCK);

/// y [n, d] with y_t = sum over {j: rows_j = t} of x_j, in the order of j.
pub(crate) fn sum_rows(n: usize, rows: &[u32], x: &Tensor) -> Result<Option<Tensor>> {
    let Some(gpu) = gpu_of(&[x]) else { return Ok(None) };
    let d = x.dim(1)?;
    // A counting sort keeps the rows of a sum in their order.
    let mut offsets = vec![0u32; n + 1];
    rows.iter().for_each(|&row| offsets[row as usize + 1] += 1);
    (0..n).for_each(|row| offsets[row + 1] += offsets[row]);
    let (mut free, mut order) = (offsets.clone(), vec![0u32; rows.len()]);
    for (j, &row) in rows.iter().enumerate() {
        let place = &mut free[row as usize];
        order[*place as usize] = j as u32;
        *place += 1;
    }
    if order.is_empty() {
        return Tensor::zeros((n, d), x.dtype(), x.device()).map(Some);
    }
    let (offsets, order) = (numbers(offsets, x.device())?, numbers(order, x.device())?);
    let y = room((n, d), x.device())?;
    let args = [Arg::at(x)?, Arg::of::<u32>(&offsets)?, Arg::of::<u32>(&order)?, Arg::at(&y)?];
    each(gpu, "sum_rows", n * d, &[&args[..], &[Arg::count(n)?, Arg::count(d)?]].concat())?;
    Ok(Some(y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portably;
    use crate::testing::{close, gpu, random};

    /// Sizes that fill blocks, and that do not.
    #[test]
    fn passes_agree_with_candles_operations() -> Result<()> {
        let Some(gpu) = gpu() else { return Ok(()) };
        for (n, d) in [(1, 3), (ROWS + 1, THREADS + 7), (300, 64)] {
            let [x, dy] = [1, 2].map(|seed| random(&[n, d], seed).to_device(&gpu));
            let (x, dy, w) = (x?, dy?, random(&[d], 3).to_device(&gpu)?);
            let run = || crate::rms_norm(&crate::Value::constant(&x)?, &crate::Value::constant(&w)?, 1e-6);
            close("rms_norm", run()?.tensor(), portably(run)?.tensor(), 1e-5)?;
            let rows: Vec<u32> = (0..n as u32).map(|j| j * 7 % 5).collect();
            let found = sum_rows(5, &rows, &dy)?.expect("on a GPU");
            let zeros = Tensor::zeros((5, d), dy.dtype(), &gpu)?;
            close("sum_rows", &found, &zeros.index_add(&numbers(rows, &gpu)?, &dy, 0)?, 1e-5)?;
        }
        Ok(())
    }
}
