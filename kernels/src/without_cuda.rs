//! What stands in for `cuda` in a program that was built without it: no operation has a form there.

use crate::adamw::Rule;
use crate::cached_attention::CacheRow;
use crate::device::{Memory, NoCuda};
use crate::losses::Divergence;
use crate::moments::CodesElsewhere;
use crate::rope::RopeLayout;
use crate::stored::Format;
use candle_core::{Device, Result, Tensor, Var, bail};

pub(crate) fn rms_norm(_: &Tensor, _: &Tensor, _: f64) -> Result<Option<Tensor>> {
    Ok(None)
}

pub(crate) fn rms_norm_backward(_: &Tensor, _: &Tensor, _: &Tensor, _: f64) -> Result<Option<[Tensor; 2]>> {
    Ok(None)
}

pub(crate) fn rope(_: &Tensor, _: &Tensor, _: &Tensor, _: RopeLayout, _: f32) -> Result<Option<Tensor>> {
    Ok(None)
}

pub(crate) fn swiglu(_: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
    Ok(None)
}

pub(crate) fn swiglu_backward(_: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<[Tensor; 2]>> {
    Ok(None)
}

pub(crate) fn adamw(_: &Var, _: &Tensor, _: &Tensor, _: &Tensor, _: &Rule) -> Result<bool> {
    Ok(false)
}

pub(crate) fn adamw_coded(_: &Var, _: &Tensor, _: (&CodesElsewhere, &CodesElsewhere), _: &Rule) -> Result<bool> {
    Ok(false)
}

pub(crate) fn sum_rows(_: usize, _: &[u32], _: &Tensor) -> Result<Option<Tensor>> {
    Ok(None)
}

pub(crate) fn causal_softmax(_: &Tensor, _: usize, _: usize, _: f64) -> Result<bool> {
    Ok(false)
}

pub(crate) fn cached_attention(
    _: &Tensor,
    _: (&Tensor, &Tensor),
    _: usize,
    _: &[CacheRow],
    _: f64,
) -> Result<Option<Tensor>> {
    Ok(None)
}

pub(crate) fn write_cache(_: &Tensor, _: &Tensor, _: &[usize]) -> Result<bool> {
    Ok(false)
}

pub(crate) fn few_rows(_: &Tensor, _: &Tensor, _: &[usize]) -> Result<Option<Tensor>> {
    Ok(None)
}

/// Never there.
pub(crate) struct TokenLogProbs {
    pub log_p: Tensor,
}

pub(crate) fn token_log_probs(_: &Tensor, _: impl Iterator<Item = u32>) -> Result<Option<TokenLogProbs>> {
    Ok(None)
}

pub(crate) fn token_gradient(_: &Tensor, _: &TokenLogProbs, _: &Tensor) -> Result<Tensor> {
    bail!("built without CUDA")
}

pub(crate) fn divergence(
    _: &Tensor,
    _: &Tensor,
    _: Divergence,
    _: f64,
    _: Option<&Tensor>,
) -> Result<Option<(Tensor, Option<Tensor>)>> {
    Ok(None)
}

pub(crate) fn widened(_: &[u8], _: &Format, _: (usize, usize), _: &Device) -> Result<Option<Tensor>> {
    Ok(None)
}

pub(crate) fn open() -> std::result::Result<Device, NoCuda> {
    Err(NoCuda::NotBuilt)
}

pub(crate) fn memory(_: &Device) -> Option<Memory> {
    None
}
