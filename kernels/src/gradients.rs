//! Gradients by parameter, and sums of them.

use crate::cpu;
use candle_core::{Result, Tensor, TensorId, Var, bail};
use rayon::prelude::*;
use std::collections::HashMap;

/// Sum of gradients of one parameter or node, in their order.
pub fn sum(parts: Vec<Tensor>) -> Result<Tensor> {
    let parts: Vec<Tensor> = parts.iter().map(Tensor::contiguous).collect::<Result<_>>()?;
    let Some(first) = parts.first() else { bail!("a sum of no tensors") };
    if parts.len() == 1 {
        return Ok(first.clone());
    }
    if !cpu::fast(&parts.iter().collect::<Vec<_>>()) {
        return parts[1..].iter().try_fold(first.clone(), |sum, part| sum + part);
    }
    let mut total = cpu::data(first)?.to_vec();
    for part in &parts[1..] {
        let part = cpu::data(part)?;
        total.par_chunks_mut(SPAN).zip(part.par_chunks(SPAN)).for_each(|(total, part)| {
            total.iter_mut().zip(part).for_each(|(total, x)| *total += x);
        });
    }
    cpu::tensor(total, first)
}

/// Elements per unit of parallel work of a plain sum.
const SPAN: usize = 1 << 15;

/// Gradients by parameter.
#[derive(Default)]
pub struct Gradients(HashMap<TensorId, Tensor>);

impl Gradients {
    /// The gradient of `parameter`, if it took part.
    pub fn get(&self, parameter: &Var) -> Option<&Tensor> {
        self.0.get(&parameter.as_tensor().id())
    }

    /// Adds to what is there: one variable may stand behind several leaves.
    pub(crate) fn add(&mut self, id: TensorId, gradient: Tensor) -> Result<()> {
        let before = self.0.remove(&id);
        self.0.insert(id, sum(before.into_iter().chain([gradient]).collect())?);
        Ok(())
    }

    /// Adds the gradients `gradient` [k, d] of the rows `rows` of a parameter [n, d].
    pub(crate) fn add_rows(&mut self, id: TensorId, n: usize, rows: &[u32], gradient: &Tensor) -> Result<()> {
        let d = gradient.dim(1)?;
        let mut all = match self.0.remove(&id) {
            Some(before) => cpu::data(&before.contiguous()?)?.to_vec(),
            None => vec![0f32; n * d],
        };
        for (&row, part) in rows.iter().zip(cpu::data(&gradient.contiguous()?)?.chunks(d)) {
            all[row as usize * d..][..d].iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
        self.0.insert(id, cpu::shaped(all, (n, d))?);
        Ok(())
    }

    /// Takes the gradient of `parameter` out.
    pub fn take(&mut self, parameter: &Var) -> Option<Tensor> {
        self.take_of(parameter.as_tensor())
    }

    /// The same for any tensor that stood for a parameter.
    pub(crate) fn take_of(&mut self, tensor: &Tensor) -> Option<Tensor> {
        self.0.remove(&tensor.id())
    }

    /// Adds what another way back found.
    pub(crate) fn extend(&mut self, others: Self) -> Result<()> {
        others.0.into_iter().try_for_each(|(id, gradient)| self.add(id, gradient))
    }
}
