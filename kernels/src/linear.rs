//! Linear layer without bias: y = x W^T, with x [.., i], W [o, i] and y [.., o].
//!
//! Backward: dx = dy W and dW = dy^T x, each in its own layout (candle's matmul computes dW transposed and then
//! adds it through a strided copy).

use crate::cpu;
use crate::matmul::{Mat, MatMut, Threads, matmul};
use candle_core::{CpuStorage, CustomOp2, D, Layout, Result, Shape, Tensor, bail};

/// y = x W^T for `x` [.., i] and `w_oi` [o, i].
pub fn linear(x: &Tensor, w_oi: &Tensor) -> Result<Tensor> {
    if x.dim(D::Minus1)? != w_oi.dim(1)? {
        bail!("linear: input {:?} does not fit weight {:?}", x.shape(), w_oi.shape());
    }
    if cpu::fast(&[x, w_oi]) { x.contiguous()?.apply_op2(&w_oi.contiguous()?, Linear) } else { reference(x, w_oi) }
}

/// The same in candle's own ops.
pub(crate) fn reference(x: &Tensor, w_oi: &Tensor) -> Result<Tensor> {
    x.broadcast_matmul(&w_oi.t()?)
}

struct Linear;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, i) = cpu::rows(lx)?;
        let o = lw.dims()[0];
        let mut y = vec![0f32; n * o];
        let (x, w) = (Mat::new(cpu::slice(x, lx)?, n, i), Mat::new(cpu::slice(w, lw)?, o, i));
        matmul(MatMut::new(&mut y, n, o), x, w.t(), false, Threads::All);
        let mut dims = lx.dims().to_vec();
        *dims.last_mut().expect("rows() refused scalars") = o;
        Ok((CpuStorage::F32(y), Shape::from(dims)))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (o, i) = w.dims2()?;
        let n = x.elem_count() / i;
        cpu::with(dy, |dy| {
            let dx = x.track_op().then(|| {
                cpu::with(w, |w| {
                    let mut dx = vec![0f32; n * i];
                    let out = MatMut::new(&mut dx, n, i);
                    matmul(out, Mat::new(dy, n, o), Mat::new(w, o, i), false, Threads::All);
                    cpu::tensor(dx, x)
                })
            });
            let dw = w.track_op().then(|| {
                cpu::with(x, |x| {
                    let mut dw = vec![0f32; o * i];
                    let out = MatMut::new(&mut dw, o, i);
                    matmul(out, Mat::new(dy, n, o).t(), Mat::new(x, n, i), false, Threads::All);
                    cpu::tensor(dw, w)
                })
            });
            Ok((dx.transpose()?, dw.transpose()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, random};

    #[test]
    fn agrees_with_the_reference_and_finite_differences() -> candle_core::Result<()> {
        for (n, i, o) in [(1, 3, 2), (6, 5, 4), (17, 33, 9)] {
            Case::new(vec![random(&[n, i], 1), random(&[o, i], 2)])
                .agrees(|a| super::linear(&a[0], &a[1]), |a| super::reference(&a[0], &a[1]))?;
        }
        Ok(())
    }

    #[test]
    fn a_wrong_width_is_an_error() {
        let (x, w) = (random(&[2, 3], 1), random(&[4, 5], 2));
        assert!(super::linear(&x, &w).is_err());
    }
}
