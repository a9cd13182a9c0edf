//! What runs where no kernel of ours does: matrix products in candle's own operations, and a way to ask for such forms.
//!
//! A weight may be kept in bf16 or f16, and f32 factors are rounded to bf16 where the precision asks for it, as PyTorch's
//! `autocast` does: sums are f32, and what they come to is rounded like the factors.

use crate::device::named;
use crate::matmul::MatmulPrecision;
use crate::scope::within;
use candle_core::{D, DType, Result, Tensor};
use std::cell::Cell;

thread_local! {
    static ASKED_FOR: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` as on a device that none of our kernels knows: with candle's own operations alone, of this thread alone.
///
/// What another device computes can so be tested on any machine.
pub fn portably<R>(work: impl FnOnce() -> R) -> R {
    within(&ASKED_FOR, true, work)
}

/// Whether this thread is within [`portably`].
pub(crate) fn is_asked_for() -> bool {
    ASKED_FOR.get()
}

/// a b for [.., m, k] and [.., k, n], in the dtype of `a`.
pub(crate) fn product(a: &Tensor, b: &Tensor, precision: MatmulPrecision) -> Result<Tensor> {
    let dtype = factors(a.dtype(), b.dtype(), precision);
    let name = || format!("a matrix product of {:?} and {:?}", a.dims(), b.dims());
    named(name, || cast(a, dtype)?.matmul(&cast(b, dtype)?)?.to_dtype(a.dtype()))
}

/// The same numbers in another dtype; what was a view of its transpose stays one, so that memory is read as it lies.
fn cast(x: &Tensor, dtype: DType) -> Result<Tensor> {
    if x.dtype() == dtype || x.is_contiguous() {
        return x.to_dtype(dtype);
    }
    let turned = x.transpose(D::Minus2, D::Minus1)?;
    if turned.is_contiguous() { turned.to_dtype(dtype)?.transpose(D::Minus2, D::Minus1) } else { x.to_dtype(dtype) }
}

/// The dtype in which two are multiplied.
fn factors(a: DType, b: DType, precision: MatmulPrecision) -> DType {
    match (a, b) {
        (DType::F32, DType::F32) if precision == MatmulPrecision::Bf16 => DType::BF16,
        (DType::F32, DType::BF16 | DType::F16) => b,
        _ => a,
    }
}

/// How an input is put aside for the way back: in the dtype in which it will be multiplied.
pub(crate) fn aside(x: &Tensor, precision: MatmulPrecision) -> Result<Tensor> {
    x.to_dtype(factors(x.dtype(), x.dtype(), precision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, random};

    #[test]
    fn factors_are_rounded_where_that_is_asked_for_or_done_already() -> Result<()> {
        let (a, b) = (random(&[5, 40], 1), random(&[40, 3], 2));
        let half = |x: &Tensor| x.to_dtype(DType::BF16)?.to_dtype(DType::F32);
        let rounded = half(&half(&a)?.matmul(&half(&b)?)?)?;
        let products =
            [product(&a, &b, MatmulPrecision::Bf16)?, product(&a, &b.to_dtype(DType::BF16)?, MatmulPrecision::F32)?];
        for found in products {
            assert_eq!(found.dtype(), DType::F32);
            // Results of the product are rounded once more.
            close("bf16", &found, &rounded, 8e-3)?;
        }
        close("f32", &product(&a, &b, MatmulPrecision::F32)?, &a.matmul(&b)?, 0.0)?;
        assert!(!is_asked_for() && portably(is_asked_for));
        Ok(())
    }
}
