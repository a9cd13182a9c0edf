//! Keys of multi-head latent attention, joined from what the latents were multiplied out to.
//!
//! `kv` [n, h, nope + cv] holds for each head the key's part without position, then the value. A key is that part
//! followed by the rotated part that all heads share: k = [kv[.., :nope] | k_pe]. Backward copies the parts back; the
//! shared part gets the sum over heads.

use crate::cpu;
use crate::value::{Value, lift};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

/// Keys [n, h, nope + p] from `kv` [n, h, nope + cv] and the shared `k_pe` [n, 1, p].
pub fn join_keys(kv: &Value, k_pe: &Value, nope: usize) -> Result<Value> {
    let (kv_t, pe_t) = (kv.tensor(), k_pe.tensor());
    let ((n, h, width), (pn, one, p)) = (kv_t.dims3()?, pe_t.dims3()?);
    if nope > width || pn != n || one != 1 {
        bail!("join_keys: kv {:?}, k_pe {:?}, {nope} columns", kv_t.shape(), pe_t.shape());
    }
    if !cpu::fast(&[kv_t, pe_t]) {
        return lift([kv, k_pe], |[kv, k_pe]| reference(kv, k_pe, nope));
    }
    let mut k = vec![0f32; n * h * (nope + p)];
    let (kv_data, pe_data) = (cpu::data(kv_t)?, cpu::data(pe_t)?);
    let tokens = k.par_chunks_mut(h * (nope + p)).zip(kv_data.par_chunks(h * width)).zip(pe_data.par_chunks(p));
    tokens.with_min_len(64).for_each(|((k, kv), pe)| {
        for (k, kv) in k.chunks_exact_mut(nope + p).zip(kv.chunks_exact(width)) {
            k[..nope].copy_from_slice(&kv[..nope]);
            k[nope..].copy_from_slice(pe);
        }
    });
    Value::record(cpu::shaped(k, (n, h, nope + p))?, [kv, k_pe], move |dk, _| {
        let (mut dkv, mut dpe) = (vec![0f32; n * h * width], vec![0f32; n * p]);
        let dk = cpu::data(dk)?;
        let tokens = dkv.par_chunks_mut(h * width).zip(dpe.par_chunks_mut(p)).zip(dk.par_chunks(h * (nope + p)));
        tokens.with_min_len(64).for_each(|((dkv, dpe), dk)| {
            for (dkv, dk) in dkv.chunks_exact_mut(width).zip(dk.chunks_exact(nope + p)) {
                dkv[..nope].copy_from_slice(&dk[..nope]);
                dpe.iter_mut().zip(&dk[nope..]).for_each(|(sum, x)| *sum += x);
            }
        });
        Ok([Some(cpu::shaped(dkv, (n, h, width))?), Some(cpu::shaped(dpe, (n, 1, p))?)])
    })
}

pub(crate) fn reference(kv: &Tensor, k_pe: &Tensor, nope: usize) -> Result<Tensor> {
    let ((n, h, _), (_, _, p)) = (kv.dims3()?, k_pe.dims3()?);
    Tensor::cat(&[kv.narrow(2, 0, nope)?, k_pe.broadcast_as((n, h, p))?], 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, random};

    #[test]
    fn agrees_with_the_reference() -> Result<()> {
        Case::new(vec![random(&[5, 3, 7], 1), random(&[5, 1, 2], 2)])
            .agrees(|a| join_keys(&a[0], &a[1], 4), |a| reference(&a[0], &a[1], 4))
    }
}
