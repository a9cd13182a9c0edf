//! One linear layer for each head: y_h = x_h W_h^T; inference only, so there is no backward.
//!
//! Multi-head latent attention in its absorbed form moves queries into the latents' space and sums of latents out of it
//! this way. A row of y has the same bits whatever rows lie beside it (see `row_products`).

use crate::matmul::MatmulPrecision;
use crate::row_products::{Plain, row_products};
use crate::{cpu, portable};
use candle_core::{Result, Tensor, bail};

/// y [n, h, o] for `x` [n, h, i] and `w_hoi` [h, o, i].
pub fn per_head_linear(x: &Tensor, w_hoi: &Tensor) -> Result<Tensor> {
    let ((n, h, i), (wh, o, wi)) = (x.dims3()?, w_hoi.dims3()?);
    if (wh, wi) != (h, i) {
        bail!("per_head_linear: input {:?} does not fit weight {:?}", x.shape(), w_hoi.shape());
    }
    if !cpu::fast(&[x, w_hoi]) {
        return reference(x, w_hoi);
    }
    let x = x.contiguous()?;
    let (x, w) = (cpu::data(&x)?, cpu::data(w_hoi)?);
    let mut y = vec![0f32; n * h * o];
    for head in 0..h {
        let w = Plain { data: &w[head * o * i..][..o * i], o, i };
        let part = row_products(x.get(head * i..).unwrap_or_default(), h * i, n, &w);
        for (y, part) in y.chunks_mut(h * o).zip(part.chunks(o)) {
            y[head * o..][..o].copy_from_slice(part);
        }
    }
    cpu::shaped(y, (n, h, o))
}

/// The same in candle's own ops.
pub(crate) fn reference(x: &Tensor, w_hoi: &Tensor) -> Result<Tensor> {
    let (x, w) = (x.transpose(0, 1)?.contiguous()?, w_hoi.transpose(1, 2)?);
    portable::product(&x, &w, MatmulPrecision::F32)?.transpose(0, 1)?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, random};

    #[test]
    fn agrees_with_the_reference() -> Result<()> {
        for (n, h, i, o) in [(1, 1, 3, 2), (5, 4, 33, 20)] {
            let (x, w) = (random(&[n, h, i], 1), random(&[h, o, i], 2));
            close("per head", &per_head_linear(&x, &w)?, &reference(&x, &w)?, 1e-5)?;
        }
        assert!(per_head_linear(&random(&[2, 3, 4], 1), &random(&[3, 5, 6], 2)).is_err());
        Ok(())
    }
}
