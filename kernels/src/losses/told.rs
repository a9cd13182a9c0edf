//! A loss that is told and not minimised: its value, and no gradient.

use super::{Passed, RowLoss, Rows, Scratch};
use candle_core::{Result, Tensor};

/// The value of a loss alone.
pub struct Told<L>(pub L);

impl<L: RowLoss> RowLoss for Told<L> {
    fn weight(&self, row: usize) -> f32 {
        self.0.weight(row)
    }

    fn row(&self, row: usize, logits: &mut [f32], teacher: &[f32], scratch: &mut Scratch) -> f64 {
        let value = self.0.row(row, logits, teacher, scratch);
        logits.fill(0.0);
        value
    }

    fn wants_teacher(&self) -> bool {
        self.0.wants_teacher()
    }

    fn check(&self, n: usize, v: usize) -> Result<()> {
        self.0.check(n, v)
    }

    fn reference(&self, at: &[usize], logits_kv: &Tensor, teacher_kv: Option<&Tensor>) -> Result<Tensor> {
        Ok(self.0.reference(at, logits_kv, teacher_kv)?.detach())
    }

    fn in_passes(&self, rows: Rows, _: bool) -> Result<Option<Passed>> {
        self.0.in_passes(rows, false)
    }
}
