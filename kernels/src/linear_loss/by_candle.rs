//! The same chunk by chunk for any device: products are candle's.
//!
//! What the terms say of a chunk's logits, and its gradient, come from a GPU's passes where it has some for them, else from
//! their references, through which candle itself differentiates; nothing of it outlives the chunk.

use super::{LinearLoss, TeacherLogits};
use crate::device::named;
use crate::losses::{Passed, RowLoss, Rows};
use crate::matmul::MatmulPrecision;
use crate::portable::product;
use crate::rows::sum_rows;
use crate::value::Value;
use candle_core::{DType, Result, Tensor, Var, bail};
use std::sync::{Mutex, PoisonError};

/// Logits of a chunk: 128 MiB of them. Tests have more than one chunk.
const CHUNK_LOGITS: usize = if cfg!(test) { 1 << 7 } else { 1 << 25 };

pub(super) fn linear_loss(
    hidden_nd: &Value,
    head_vd: &Value,
    teacher: Option<&dyn TeacherLogits>,
    terms: &[&dyn RowLoss],
) -> Result<LinearLoss> {
    let (h, w) = (hidden_nd.bare(), head_vd.bare());
    let (n, v) = (h.dim(0)?, w.dim(0)?);
    let wanted = (hidden_nd.is_tracked(), head_vd.is_tracked());
    let precision = MatmulPrecision::current();
    let mut work = Work { h, w, terms, precision, wanted, losses: vec![vec![]; terms.len()], dh: vec![], dw: None };
    let mut left: Vec<bool> = (0..n).map(|row| terms.iter().any(|term| term.weight(row) != 0.0)).collect();
    let chunk = (CHUNK_LOGITS / v.max(1)).max(1);
    if let Some(teacher) = teacher {
        teacher.each(&mut |rows, logits| {
            let (k, _) = logits.dims2()?;
            if rows.len() != k || rows.iter().any(|&row| row >= n) {
                bail!("linear_loss: a teacher gave {:?} as {} of {n} rows", logits.shape(), rows.len());
            }
            let taken: Vec<usize> = (0..k).filter(|&at| std::mem::take(&mut left[rows[at]])).collect();
            for places in taken.chunks(chunk) {
                let own: Vec<usize> = places.iter().map(|&place| rows[place]).collect();
                let logits = rows_of(&logits.to_device(work.h.device())?, places)?;
                let logits = logits.to_dtype(work.h.dtype())?;
                named(|| of_loss(places.len(), v), || work.chunk(&own, Some(&logits)))?;
            }
            Ok(())
        })?;
    }
    let rows: Vec<usize> = (0..n).filter(|&row| left[row]).collect();
    let wanting = |&row: &usize| terms.iter().any(|term| term.wants_teacher() && term.weight(row) != 0.0);
    if let Some(row) = rows.iter().copied().find(wanting) {
        bail!("linear_loss: no logits of a teacher for row {row}");
    }
    rows.chunks(chunk).try_for_each(|rows| named(|| of_loss(rows.len(), v), || work.chunk(rows, None)))?;
    named(|| "the gradients of the output head".into(), || work.finished(hidden_nd, head_vd))
}

fn of_loss(rows: usize, v: usize) -> String {
    format!("the losses of {rows} rows of {v} logits")
}

/// Adds to a sum that may not have begun.
fn add(sum: &mut Option<Tensor>, part: Option<Tensor>) -> Result<()> {
    *sum = match (sum.take(), part) {
        (Some(sum), Some(part)) => Some((sum + part)?),
        (sum, part) => sum.or(part),
    };
    Ok(())
}

/// Rows `at` of `x`.
fn rows_of(x: &Tensor, at: &[usize]) -> Result<Tensor> {
    if at.iter().copied().eq(0..x.dim(0)?) {
        return Ok(x.clone());
    }
    x.index_select(&Tensor::from_iter(at.iter().map(|&row| row as u32), x.device())?, 0)
}

/// A pass under way.
struct Work<'a> {
    h: Tensor,
    w: Tensor,
    terms: &'a [&'a dyn RowLoss],
    precision: MatmulPrecision,
    /// Whether gradients of h and of w are wanted.
    wanted: (bool, bool),
    /// The terms' sums, chunk by chunk.
    losses: Vec<Vec<Tensor>>,
    /// Rows of dh by their numbers.
    dh: Vec<(Vec<u32>, Tensor)>,
    dw: Option<Tensor>,
}

impl Work<'_> {
    fn chunk(&mut self, rows: &[usize], teacher: Option<&Tensor>) -> Result<()> {
        let h = rows_of(&self.h, rows)?;
        let logits = product(&h, &self.w.t()?, self.precision)?;
        // Terms without a gradient leave none.
        let Some(dlogits) = self.of_logits(rows, &logits, teacher)? else { return Ok(()) };
        if self.wanted.0 {
            let numbers = rows.iter().map(|&row| row as u32).collect();
            self.dh.push((numbers, product(&dlogits, &self.w, self.precision)?));
        }
        if self.wanted.1 {
            add(&mut self.dw, Some(product(&dlogits.t()?, &h, self.precision)?))?;
        }
        Ok(())
    }

    /// Takes in the terms' losses of a chunk; returns the sum of their gradients where one is wanted.
    fn of_logits(&mut self, rows: &[usize], logits: &Tensor, teacher: Option<&Tensor>) -> Result<Option<Tensor>> {
        let wanted = self.wanted != (false, false);
        let (mut sum, mut others) = (None, vec![]);
        for (term, losses) in self.terms.iter().zip(&mut self.losses) {
            if rows.iter().all(|&row| term.weight(row) == 0.0) {
                continue;
            }
            match term.in_passes(Rows { at: rows, logits, teacher }, wanted)? {
                Some(Passed { loss, gradient }) => {
                    losses.push(loss);
                    add(&mut sum, gradient)?;
                }
                None => others.push((term, losses)),
            }
        }
        if others.is_empty() {
            return Ok(sum);
        }
        let logits = if wanted { Var::from_tensor(logits)?.as_tensor().clone() } else { logits.clone() };
        let mut total = Tensor::zeros((), logits.dtype(), logits.device())?;
        for (term, losses) in others {
            let loss = term.reference(rows, &logits, teacher)?;
            losses.push(loss.detach());
            total = (total + loss)?;
        }
        if wanted {
            add(&mut sum, total.backward()?.remove(&logits).map(|gradient| gradient.detach()))?;
        }
        Ok(sum)
    }

    fn finished(self, hidden_nd: &Value, head_vd: &Value) -> Result<LinearLoss> {
        let (h, device) = (self.h, self.w.device().clone());
        let sum = |chunks: &Vec<Tensor>| match &chunks[..] {
            [] => Ok(0.0),
            chunks => Ok(Tensor::stack(chunks, 0)?.to_dtype(DType::F64)?.to_vec1::<f64>()?.iter().sum()),
        };
        let losses: Vec<f64> = self.losses.iter().map(sum).collect::<Result<_>>()?;
        let dh = match self.dh.is_empty() {
            true => h.zeros_like()?,
            false => {
                let numbers: Vec<u32> = self.dh.iter().flat_map(|(numbers, _)| numbers.iter().copied()).collect();
                let rows = Tensor::cat(&self.dh.iter().map(|(_, rows)| rows).collect::<Vec<_>>(), 0)?;
                sum_rows(h.dim(0)?, &numbers, &rows)?
            }
        };
        let dw = match self.dw {
            Some(dw) => dw,
            None if self.wanted.1 => Tensor::zeros(self.w.shape(), h.dtype(), &device)?,
            None => Tensor::zeros(0, h.dtype(), &device)?,
        };
        let loss = Tensor::new(losses.iter().sum::<f64>(), &device)?.to_dtype(h.dtype())?;
        // Handed over once, so that whoever gets it may go on in its memory.
        let dw = Mutex::new(Some(dw));
        let total = Value::record(loss, [hidden_nd, head_vd], move |dy, [wants_dh, wants_dw]| {
            let Some(dw) = dw.lock().unwrap_or_else(PoisonError::into_inner).take() else {
                bail!("linear_loss: its gradient was handed over before")
            };
            let dh = wants_dh.then(|| dh.broadcast_mul(dy)).transpose()?;
            Ok([dh, wants_dw.then(|| dw.broadcast_mul(dy)).transpose()?])
        })?;
        Ok(LinearLoss { total, terms: losses })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::agrees;
    use super::*;
    use crate::losses::{CrossEntropy, Dense, Entropy, ForwardKl, Scratch, Told};
    use crate::testing::{constant, random};
    use crate::{linear_loss, portably};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A loss with passes of its own on every device, which differentiate its reference.
    struct WithPasses<L> {
        of: L,
        gradients: AtomicUsize,
    }

    impl<L: RowLoss> WithPasses<L> {
        fn new(of: L) -> Self {
            Self { of, gradients: AtomicUsize::new(0) }
        }
    }

    impl<L: RowLoss> RowLoss for WithPasses<L> {
        fn weight(&self, row: usize) -> f32 {
            self.of.weight(row)
        }

        fn row(&self, row: usize, logits: &mut [f32], teacher: &[f32], scratch: &mut Scratch) -> f64 {
            self.of.row(row, logits, teacher, scratch)
        }

        fn check(&self, n: usize, v: usize) -> Result<()> {
            self.of.check(n, v)
        }

        fn reference(&self, at: &[usize], logits_kv: &Tensor, teacher_kv: Option<&Tensor>) -> Result<Tensor> {
            self.of.reference(at, logits_kv, teacher_kv)
        }

        fn in_passes(&self, Rows { at, logits, teacher }: Rows, wants_gradient: bool) -> Result<Option<Passed>> {
            let logits = Var::from_tensor(logits)?;
            let loss = self.of.reference(at, &logits, teacher)?;
            self.gradients.fetch_add(usize::from(wants_gradient), Ordering::Relaxed);
            let gradient = wants_gradient.then(|| loss.backward()).transpose()?;
            let gradient = gradient.and_then(|mut found| found.remove(&logits)).map(|found| found.detach());
            Ok(Some(Passed { loss: loss.detach(), gradient }))
        }
    }

    #[test]
    fn passes_and_references_add_up_in_one_chunk() -> Result<()> {
        let (targets, weights, others) = ([1, 2, 3, 4, 5], [0.5, 0.0, 0.2, 0.3, 0.1], [0.0, 0.1, 0.4, 0.2, 0.3]);
        let passed = WithPasses::new(CrossEntropy { targets: &targets, weights: &weights });
        let other = Dense { kind: ForwardKl, temperature: 2.0, weights: &others };
        agrees((5, 37), Some(37), &[&passed, &other])?;
        agrees((5, 37), None, &[&passed])?;
        assert!(passed.gradients.load(Ordering::Relaxed) > 0);
        Ok(())
    }

    #[test]
    fn gradients_that_nobody_wants_are_not_asked_for() -> Result<()> {
        let weights = [0.5, 0.2, 0.3];
        let entropy = Told(WithPasses::new(Entropy { weights: &weights }));
        let (h, w) = (Var::from_tensor(&random(&[3, 6], 1))?, constant(&[37, 6], 2));
        let told = portably(|| linear_loss(&Value::new(&h)?, &w, None, &[&entropy]))?;
        let expected = linear_loss(&constant(&[3, 6], 1), &w, None, &[&Entropy { weights: &weights }])?;
        assert!((told.terms[0] - expected.terms[0]).abs() < 1e-5, "{:?} and {:?}", told.terms, expected.terms);
        let cross_entropy = WithPasses::new(CrossEntropy { targets: &[1, 2, 3], weights: &weights });
        portably(|| linear_loss(&constant(&[3, 6], 1), &w, None, &[&cross_entropy]))?;
        for gradients in [&entropy.0.gradients, &cross_entropy.gradients] {
            assert_eq!(gradients.load(Ordering::Relaxed), 0);
        }
        Ok(())
    }
}
