//! Stored bytes to numbers of 16 bits on the GPU, so that the bytes travel and not the numbers.

use super::{Arg, each, portable, room_of};
use crate::stored::{FP8_BLOCK, Format};
use candle_core::{DType, Device, Result, Tensor};
use half::bf16;

/// A matrix [o, i] in bf16 from FP8 or quantised blocks.
pub(crate) fn widened(
    bytes: &[u8],
    format: &Format,
    (o, i): (usize, usize),
    device: &Device,
) -> Result<Option<Tensor>> {
    let Device::Cuda(gpu) = device else { return Ok(None) };
    if portable::is_asked_for() {
        return Ok(None);
    }
    let y = room_of(DType::BF16, (o, i), device)?;
    let codes = Tensor::from_slice(bytes, bytes.len(), device)?;
    let (codes_at, y_at) = (Arg::of::<u8>(&codes)?, Arg::of::<bf16>(&y)?);
    let sizes = [Arg::count(o)?, Arg::count(i)?];
    match format {
        Format::Fp8 { scale_inv } => {
            let scales = Tensor::from_slice(scale_inv, scale_inv.len(), device)?;
            let args = [codes_at, Arg::at(&scales)?, y_at, sizes[0], sizes[1], Arg::count(FP8_BLOCK)?];
            each(gpu, "widen_fp8", o * i, &args)?;
        }
        Format::Quantised(bits) => {
            each(gpu, "widen_blocks", o * i, &[codes_at, y_at, sizes[0], sizes[1], Arg::count(bits.count())?])?;
        }
        Format::Bf16 | Format::F16 => return Ok(None),
    }
    Ok(Some(y))
}
