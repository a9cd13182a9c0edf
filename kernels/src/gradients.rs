//! Gradients by parameter, and sums of them.

use crate::cpu;
use crate::rows::sum_rows;
use crate::written::written;
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, TensorId, Var, bail};
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
    let data = parts.iter().map(cpu::data).collect::<Result<Vec<_>>>()?;
    let [total] = written(data[0].len(), 1, |range, [total]| {
        let (first, second) = (&data[0][range.clone()], &data[1][range.clone()]);
        total.iter_mut().zip(first.iter().zip(second)).for_each(|(total, (a, b))| *total = a + b);
        for part in &data[2..] {
            total.iter_mut().zip(&part[range.clone()]).for_each(|(total, x)| *total += x);
        }
    });
    cpu::tensor(total, first)
}

/// Adds rows to those of the given numbers.
struct AddRows<'a>(&'a [u32]);

impl InplaceOp2 for AddRows<'_> {
    fn name(&self) -> &'static str {
        "add rows"
    }

    fn cpu_fwd(&self, all: &mut CpuStorage, to: &Layout, rows: &CpuStorage, from: &Layout) -> Result<()> {
        let (all, d) = (cpu::slice_mut(all, to)?, from.dims()[1]);
        for (&row, part) in self.0.iter().zip(cpu::slice(rows, from)?.chunks(d)) {
            all[row as usize * d..][..d].iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
        Ok(())
    }
}

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
        if !cpu::fast(&[gradient]) {
            return self.add(id, sum_rows(n, rows, gradient)?);
        }
        let all = match self.0.remove(&id) {
            // It may be a large part of all there is, so that a copy would show.
            Some(before) if self.shares_nothing_with(&before)? => before,
            Some(before) => before.copy()?,
            None => cpu::shaped(vec![0f32; n * d], (n, d))?,
        };
        all.inplace_op2(&gradient.contiguous()?, &AddRows(rows))?;
        self.0.insert(id, all);
        Ok(())
    }

    /// Whether no other gradient lies in the memory of this one: an operation may pass one tensor on to several inputs.
    fn shares_nothing_with(&self, gradient: &Tensor) -> Result<bool> {
        let begins = |tensor: &Tensor| Ok::<_, candle_core::Error>(cpu::data(tensor)?.as_ptr());
        let own = begins(gradient)?;
        self.0.values().try_fold(true, |alone, other| Ok(alone && begins(other)? != own))
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
