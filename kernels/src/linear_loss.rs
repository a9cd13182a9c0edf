//! Output head and losses in one operation, without ever holding all the logits (as in arXiv 2411.09009).
//!
//! loss = sum over terms and rows of what the files in `losses` say of the rows of h W^T. Rows go through in chunks; when
//! a gradient is wanted it is computed in the same pass, since the logits are at hand: each term turns its row of logits
//! into the row g of its gradient; then dh = g W and dW = sum over chunks of g^T h. A teacher's logits, where a term wants
//! them, are taken as they come, and their rows go first.

use crate::cpu;
use crate::losses::{RowLoss, Scratch};
use crate::matmul::{Mat, MatMut, MatmulPrecision, matmul, product};
use crate::value::Value;
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

mod by_candle;

/// Rows per chunk: the logits of one chunk are all that is ever held.
const CHUNK: usize = 256;

/// A teacher that hands over its logits some rows at a time, so that nobody holds all of them.
pub trait TeacherLogits {
    /// Calls `take` with the numbers of some rows and their f32 logits [k, v'], every row at most once.
    fn each(&self, take: &mut dyn FnMut(&[usize], &Tensor) -> Result<()>) -> Result<()>;
}

/// What came of [`linear_loss`].
pub struct LinearLoss {
    /// The sum of all terms, a scalar to differentiate.
    pub total: Value,
    /// Each term's own sum.
    pub terms: Vec<f64>,
}

/// Sums of `terms` over the rows of `hidden_nd` [n, d], whose logits are `hidden_nd head_vd^T`, `head_vd` [v, d].
pub fn linear_loss(
    hidden_nd: &Value,
    head_vd: &Value,
    teacher: Option<&dyn TeacherLogits>,
    terms: &[&dyn RowLoss],
) -> Result<LinearLoss> {
    let (h_t, w_t) = (hidden_nd.tensor(), head_vd.tensor());
    let ((n, d), (v, hd)) = (h_t.dims2()?, w_t.dims2()?);
    if d != hd {
        bail!("linear_loss: hidden {:?}, head {:?}", h_t.shape(), w_t.shape());
    }
    terms.iter().try_for_each(|term| term.check(n, v))?;
    let teacher = teacher.filter(|_| terms.iter().any(|term| term.wants_teacher()));
    if !cpu::fast(&[h_t, w_t]) {
        return by_candle::linear_loss(hidden_nd, head_vd, teacher, terms);
    }
    let wanted = (hidden_nd.is_tracked(), head_vd.is_tracked());
    let pass = pass(&cpu::data(h_t)?, &cpu::data(w_t)?, (n, v, d), teacher, terms, wanted)?;
    let dh = cpu::shaped(pass.dh, if wanted.0 { (n, d) } else { (0, d) })?;
    // Handed over once, so that whoever gets it may go on in its memory.
    let dw = pass.dw.map(|dw| cpu::shaped(dw, (v, d))).transpose()?;
    let (has_dw, dw) = (dw.is_some(), Mutex::new(dw));
    let loss = Tensor::new(pass.losses.iter().sum::<f64>() as f32, h_t.device())?;
    let total = Value::record(loss, [hidden_nd, head_vd], move |dy, [wants_dh, wants_dw]| {
        let scale = f64::from(dy.to_scalar::<f32>()?);
        let scaled = |gradient: &Tensor| if scale == 1.0 { Ok(gradient.clone()) } else { gradient * scale };
        let dw = match dw.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None if has_dw => bail!("linear_loss: its gradient was handed over before"),
            dw => dw.filter(|_| wants_dw),
        };
        Ok([wants_dh.then(|| scaled(&dh)).transpose()?, dw.as_ref().map(scaled).transpose()?])
    })?;
    Ok(LinearLoss { total, terms: pass.losses })
}

/// The terms' sums and, where wanted, the gradients dh [n, d] and dW [v, d].
struct Pass {
    losses: Vec<f64>,
    dh: Vec<f32>,
    /// Nothing before the first rows: memory of this size is not filled with zeros only to be written.
    dw: Option<Vec<f32>>,
}

fn pass(
    h: &[f32],
    w: &[f32],
    (n, v, d): (usize, usize, usize),
    teacher: Option<&dyn TeacherLogits>,
    terms: &[&dyn RowLoss],
    (wants_dh, wants_dw): (bool, bool),
) -> Result<Pass> {
    let dh = if wants_dh { vec![0f32; n * d] } else { vec![] };
    let pass = Pass { losses: vec![0.0; terms.len()], dh, dw: None };
    let precision = MatmulPrecision::current();
    let mut work = Work { h, w, v, d, terms, precision, wants_dw, logits: Vec::new(), pass };
    let mut left: Vec<bool> = (0..n).map(|row| terms.iter().any(|term| term.weight(row) != 0.0)).collect();
    if let Some(teacher) = teacher {
        let mut held = (Vec::new(), Vec::new(), 0);
        teacher.each(&mut |rows, logits| {
            let (k, width) = logits.dims2()?;
            if rows.len() != k || rows.iter().any(|&row| row >= n) {
                bail!("linear_loss: a teacher gave {:?} as {} of {n} rows", logits.shape(), rows.len());
            }
            held.2 = width;
            let logits = logits.contiguous()?;
            for (&row, logits) in rows.iter().zip(cpu::data(&logits)?.chunks(width)) {
                if std::mem::take(&mut left[row]) {
                    held.0.push(row);
                    held.1.extend_from_slice(logits);
                }
                if held.0.len() == CHUNK {
                    work.chunk(&held.0, Some((&held.1, width)));
                    (held.0, held.1) = (Vec::new(), Vec::new());
                }
            }
            Ok(())
        })?;
        work.chunk(&held.0, Some((&held.1, held.2)));
    }
    // What is learnt from tokens alone.
    let rows: Vec<usize> = (0..n).filter(|&row| left[row]).collect();
    let wanting = |&row: &usize| terms.iter().any(|term| term.wants_teacher() && term.weight(row) != 0.0);
    if let Some(row) = rows.iter().copied().find(wanting) {
        bail!("linear_loss: no logits of a teacher for row {row}");
    }
    rows.chunks(CHUNK).for_each(|rows| work.chunk(rows, None));
    Ok(work.pass)
}

/// A pass under way.
struct Work<'a> {
    h: &'a [f32],
    w: &'a [f32],
    v: usize,
    d: usize,
    terms: &'a [&'a dyn RowLoss],
    precision: MatmulPrecision,
    wants_dw: bool,
    logits: Vec<f32>,
    pass: Pass,
}

impl Work<'_> {
    /// Takes in at most [`CHUNK`] rows, the teacher's logits beside them with their width.
    fn chunk(&mut self, rows: &[usize], teacher: Option<(&[f32], usize)>) {
        let (k, v, d, precision) = (rows.len(), self.v, self.d, self.precision);
        if k == 0 {
            return;
        }
        let packed: Vec<f32> = rows.iter().flat_map(|&row| &self.h[row * d..][..d]).copied().collect();
        let (packed, w) = (Mat::new(&packed, k, d), Mat::new(self.w, v, d));
        self.logits.resize(self.logits.len().max(k * v), 0.0);
        let logits = &mut self.logits[..k * v];
        matmul(MatMut::new(logits, k, v), packed, w.t(), false, precision.together());
        for row in rows_of_losses(logits, v, rows, teacher, self.terms) {
            self.pass.losses.iter_mut().zip(row).for_each(|(sum, loss)| *sum += loss);
        }
        let dlogits = Mat::new(logits, k, v);
        if !self.pass.dh.is_empty() {
            let dh = product(dlogits, w, precision.together());
            rows.iter().zip(dh.chunks(d)).for_each(|(&row, dh)| self.pass.dh[row * d..][..d].copy_from_slice(dh));
        }
        if self.wants_dw {
            match &mut self.pass.dw {
                Some(dw) => matmul(MatMut::new(dw, v, d), dlogits.t(), packed, true, precision.together()),
                None => self.pass.dw = Some(product(dlogits.t(), packed, precision.together())),
            }
        }
    }
}

/// Turns each row of `logits` into the sum of its terms' gradients; returns the terms' losses row by row.
fn rows_of_losses(
    logits: &mut [f32],
    v: usize,
    rows: &[usize],
    teacher: Option<(&[f32], usize)>,
    terms: &[&dyn RowLoss],
) -> Vec<Vec<f64>> {
    let work = logits.par_chunks_mut(v).zip(rows).enumerate();
    work.map_init(Room::default, |room, (at, (logits, &row))| {
        let teacher = teacher.map_or(&[][..], |(data, width)| &data[at * width..][..width]);
        room.losses(logits, row, teacher, terms)
    })
    .collect()
}

/// What a thread keeps from one row to the next.
#[derive(Default)]
struct Room {
    scratch: Scratch,
    logits: Vec<f32>,
    part: Vec<f32>,
}

impl Room {
    fn losses(&mut self, logits: &mut [f32], row: usize, teacher: &[f32], terms: &[&dyn RowLoss]) -> Vec<f64> {
        if let [term] = terms {
            return vec![term.row(row, logits, teacher, &mut self.scratch)];
        }
        let mut found = vec![0.0; terms.len()];
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        logits.fill(0.0);
        for (term, loss) in terms.iter().zip(&mut found).filter(|(term, _)| term.weight(row) != 0.0) {
            self.part.clear();
            self.part.extend_from_slice(&self.logits);
            *loss = term.row(row, &mut self.part, teacher, &mut self.scratch);
            logits.iter_mut().zip(&self.part).for_each(|(sum, part)| *sum += part);
        }
        found
    }
}

/// One check for every loss: against its reference, finite differences and across the borders of chunks.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::testing::{Case, random};

    /// Logits that lie ready, handed over three rows at a time.
    pub(crate) struct Ready(pub Tensor);

    impl TeacherLogits for Ready {
        fn each(&self, take: &mut dyn FnMut(&[usize], &Tensor) -> Result<()>) -> Result<()> {
            let rows: Vec<usize> = (0..self.0.dim(0)?).collect();
            rows.chunks(3).try_for_each(|rows| take(rows, &self.0.narrow(0, rows[0], rows.len())?))
        }
    }

    /// Checks the sum of `terms` on `n` rows of `v` logits, with a teacher of its own vocabulary where one is named.
    pub(crate) fn agrees((n, v): (usize, usize), teacher_v: Option<usize>, terms: &[&dyn RowLoss]) -> Result<()> {
        let teacher = teacher_v.map(|v| Ok::<_, candle_core::Error>(Ready((random(&[n, v], 7) * 4.0)?))).transpose()?;
        let given = teacher.as_ref().map(|teacher| teacher as &dyn TeacherLogits);
        Case::new(vec![(random(&[n, 6], 1) * 4.0)?, random(&[v, 6], 2)]).agrees(
            |a| Ok(linear_loss(&a[0], &a[1], given, terms)?.total),
            |a| {
                let logits = a[0].matmul(&a[1].t()?)?;
                let teacher = teacher.as_ref().map(|teacher| teacher.0.to_dtype(logits.dtype())).transpose()?;
                let zero = Tensor::zeros((), logits.dtype(), logits.device())?;
                let all: Vec<usize> = (0..n).collect();
                terms.iter().try_fold(zero, |sum, term| sum + term.reference(&all, &logits, teacher.as_ref())?)
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Ready, agrees};
    use super::*;
    use crate::losses::{CrossEntropy, Dense, ForwardKl, ReverseKl, Sampled, SkewedKl, Sorted, SparseRows, TopK};
    use crate::testing::{constant, random};

    #[test]
    fn cross_entropy_agrees_across_chunk_borders() -> Result<()> {
        for n in [3, CHUNK + 9] {
            let targets: Vec<u32> = (0..n as u32).map(|j| if j % 3 == 2 { u32::MAX } else { j * 5 % 11 }).collect();
            let weights: Vec<f32> = (0..n).map(|j| if j % 3 == 2 { 0.0 } else { 0.01 + j as f32 * 1e-4 }).collect();
            agrees((n, 11), None, &[&CrossEntropy { targets: &targets, weights: &weights }])?;
        }
        Ok(())
    }

    /// Rows of 0 to 5 distinct outcomes out of 37 with made-up log-probabilities.
    fn sparse(n: usize) -> SparseRows {
        let mut rows = SparseRows::default();
        for row in 0..n {
            let ids: Vec<u32> = (0..row as u32 % 6).map(|k| (row as u32 * 11 + k * 7) % 37).collect();
            let log_probs: Vec<f32> = ids.iter().map(|id| (0.02 + *id as f32 * 0.004).ln()).collect();
            rows.push(&ids, &log_probs);
        }
        rows
    }

    #[test]
    fn sparse_targets_agree_with_their_references() -> Result<()> {
        let (rows, weights) = (sparse(7), [0.5, 0.2, 0.0, 1.0, 0.3, 0.7, 0.1]);
        let counts: Vec<u32> = (0..rows.ids.len() as u32).map(|at| 1 + at % 3).collect();
        for temperature in [1.0, 2.0] {
            let (rows, weights) = (&rows, &weights[..]);
            agrees((7, 37), None, &[&TopK { kind: ForwardKl, rows, temperature, weights }])?;
            agrees((7, 37), None, &[&TopK { kind: ReverseKl, rows, temperature, weights }])?;
            agrees((7, 37), None, &[&TopK { kind: SkewedKl { alpha: 0.1 }, rows, temperature, weights }])?;
            agrees((7, 37), None, &[&Sampled { rows, counts: &counts, temperature, weights }])?;
        }
        Ok(())
    }

    #[test]
    fn sorted_distances_agree_with_their_reference() -> Result<()> {
        for (teacher_v, temperature) in [(37, 1.0), (50, 1.5), (20, 1.0)] {
            agrees((5, 37), Some(teacher_v), &[&Sorted { temperature, weights: &[0.3, 0.0, 1.1, 0.2, 0.7] }])?;
        }
        Ok(())
    }

    #[test]
    fn a_mixture_is_the_sum_of_its_terms() -> Result<()> {
        let (targets, weights, others) = ([1, 2, 3, 4], [0.5, 0.0, 0.2, 0.3], [0.0, 0.1, 0.4, 0.2]);
        let one = CrossEntropy { targets: &targets, weights: &weights };
        let two = Dense { kind: ForwardKl, temperature: 2.0, weights: &others };
        agrees((4, 37), Some(37), &[&one, &two])?;
        let (h, w) = (constant(&[4, 6], 1), constant(&[37, 6], 2));
        let teacher = Ready(random(&[4, 37], 3));
        let both = linear_loss(&h, &w, Some(&teacher), &[&one, &two])?.terms;
        assert_eq!(both[0], linear_loss(&h, &w, None, &[&one])?.terms[0]);
        assert_eq!(both[1], linear_loss(&h, &w, Some(&teacher), &[&two])?.terms[0]);
        Ok(())
    }

    #[test]
    fn targets_that_do_not_fit_are_errors() {
        let (h, w) = (constant(&[2, 3], 1), constant(&[4, 3], 2));
        let cross_entropy =
            |targets: &[u32], weights: &[f32]| linear_loss(&h, &w, None, &[&CrossEntropy { targets, weights }]).is_ok();
        assert!(!cross_entropy(&[1, 4], &[1.0, 1.0]));
        assert!(cross_entropy(&[1, 4], &[1.0, 0.0]));
        assert!(!cross_entropy(&[1], &[1.0, 0.0]));
        let mut rows = SparseRows::default();
        rows.push(&[1, 1], &[-1.0, -1.0]);
        rows.push(&[2], &[-0.5]);
        let top_k = TopK { kind: ForwardKl, rows: &rows, temperature: 1.0, weights: &[1.0, 1.0] };
        assert!(linear_loss(&h, &w, None, &[&top_k]).is_err(), "an outcome listed twice");
        let dense = Dense { kind: ForwardKl, temperature: 1.0, weights: &[1.0, 1.0] };
        assert!(linear_loss(&h, &w, None, &[&dense]).is_err(), "no teacher");
    }
}
