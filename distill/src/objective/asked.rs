//! A teacher that is asked while training: the sequences of one micro-batch, and where its answers belong.

use super::draws::{Draws, key};
use crate::Error;
use crate::data::Example;
use candle_core::Tensor;
use retort_kernels::TeacherLogits;
use retort_kernels::losses::SparseRows;
use retort_model::batch::Batch;
use retort_model::generate::JobError;
use retort_model::score::{Given, Rows, Score, Want};
use std::cell::Cell;
use std::collections::BTreeMap;

/// The predicted tokens of a micro-batch, as a teacher reads them.
pub(super) struct Asked<'a> {
    teacher: &'a dyn Score,
    sequences: Vec<Given<'a>>,
    /// For each of them which row of the student's batch an answer belongs to, if to any.
    rows: Vec<Vec<Option<usize>>>,
    n: usize,
    /// Floating-point operations of all that was asked.
    flops: Cell<f64>,
}

impl<'a> Asked<'a> {
    /// `batch` holds `examples`, packed in their order; an example in the teacher's own tokens is asked in those.
    pub(super) fn new(teacher: &'a dyn Score, examples: &'a [Example], batch: &Batch) -> Self {
        let mut asked =
            Self { teacher, sequences: Vec::new(), rows: Vec::new(), n: batch.len(), flops: Cell::new(0.0) };
        for (example, span) in examples.iter().zip(batch.offsets.windows(2)) {
            let (tokens, pairs) = match &example.translation {
                Some(translation) => (&translation.tokens, translation.rows.clone()),
                None => {
                    let first = example.loss_from.max(1) - 1;
                    let rows = first..example.tokens.len().saturating_sub(1);
                    (&example.tokens, rows.map(|row| (row, row)).collect())
                }
            };
            let Some(&(_, first)) = pairs.first() else { continue };
            let places: BTreeMap<usize, usize> = pairs.into_iter().map(|(ours, theirs)| (theirs, ours)).collect();
            let (prompt, text) = tokens.split_at(first + 1);
            asked.sequences.push(Given { prompt, text });
            let place = |at: usize| places.get(&(first + at)).map(|ours| span[0] + ours);
            asked.rows.push((0..text.len()).map(place).collect());
        }
        asked
    }

    /// Whether there is nothing to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Which rows of the batch the teacher has something to say of.
    pub(super) fn answered(&self) -> Vec<bool> {
        let mut answered = vec![false; self.n];
        self.rows.iter().flatten().flatten().for_each(|&row| answered[row] = true);
        answered
    }

    /// Calls `take` with the answers and the rows that they belong to.
    fn ask(
        &self,
        want: Want,
        mut take: impl FnMut(&[Option<usize>], Rows) -> Result<(), JobError>,
    ) -> Result<(), Error> {
        let mut take = |chunk: retort_model::score::Chunk| {
            let rows = &self.rows[chunk.sequence][chunk.first..];
            take(rows, chunk.rows)
        };
        self.teacher.score(&self.sequences, want, &mut take)?;
        if let Some(forward) = self.teacher.operations() {
            // The last token is not read: nothing is asked behind it.
            let flops = self.sequences.iter().map(|Given { prompt, text }| {
                forward.sequence(prompt.len() + text.len() - 1, if want == Want::Hidden { 0 } else { text.len() })
            });
            self.flops.set(self.flops.get() + flops.sum::<f64>());
        }
        Ok(())
    }

    /// Floating-point operations that the teacher has taken so far.
    pub(super) fn flops(&self) -> f64 {
        self.flops.get()
    }

    /// The log-probability of the token after each row; 0 where there is none.
    pub(super) fn tokens(&self) -> Result<Vec<f32>, Error> {
        let mut found = vec![0f32; self.n];
        self.ask(Want::Sampled, |rows, answer| {
            let Rows::Sampled(log_probs) = answer else { return Err(UNASKED.into()) };
            rows.iter().zip(log_probs).for_each(|(row, x)| {
                if let Some(row) = row {
                    found[*row] = x;
                }
            });
            Ok(())
        })?;
        Ok(found)
    }

    /// The `k` likeliest outcomes of each row.
    pub(super) fn top_k(&self, k: usize) -> Result<SparseRows, Error> {
        let mut found = vec![(vec![], vec![]); self.n];
        self.ask(Want::TopK(k), |rows, answer| {
            let Rows::TopK(top) = answer else { return Err(UNASKED.into()) };
            let entries = top.ids.chunks(top.k.max(1)).zip(top.logprobs.chunks(top.k.max(1)));
            for (row, (ids, log_probs)) in rows.iter().zip(entries) {
                if let Some(row) = row {
                    found[*row] = (ids.to_vec(), log_probs.to_vec());
                }
            }
            Ok(())
        })?;
        let mut sparse = SparseRows::default();
        found.iter().for_each(|(ids, log_probs)| sparse.push(ids, log_probs));
        Ok(sparse)
    }

    /// `draws` tokens drawn at each row, and how often each was; the same for equal sequences, seeds and steps.
    pub(super) fn drawn(&self, draws: u32, batch: &Batch, noise: (u64, u64)) -> Result<(SparseRows, Vec<u32>), Error> {
        let mut found = vec![Draws::default(); self.n];
        let keys: Vec<_> = batch.offsets.windows(2).map(|span| key(&batch.tokens[span[0]..span[1]], noise)).collect();
        self.ask(Want::Full, |rows, answer| {
            let Rows::Full(logits) = answer else { return Err(UNASKED.into()) };
            for (row, logits) in rows.iter().zip(logits.to_vec2::<f32>()?) {
                let Some(row) = *row else { continue };
                let sequence = batch.offsets.partition_point(|&start| start <= row) - 1;
                found[row] = Draws::new(&logits, draws, &keys[sequence], batch.positions[row]);
            }
            Ok(())
        })?;
        let (mut sparse, mut counts) = (SparseRows::default(), Vec::new());
        for draws in found {
            sparse.push(&draws.ids, &draws.log_probs);
            counts.extend(draws.counts);
        }
        Ok((sparse, counts))
    }

    /// The final hidden states [n, d'] of all rows; zeros where there is none.
    pub(super) fn hidden(&self) -> Result<Tensor, Error> {
        let (mut found, mut width) = (Vec::new(), 0);
        self.ask(Want::Hidden, |rows, answer| {
            let Rows::Hidden(hidden) = answer else { return Err(UNASKED.into()) };
            width = hidden.dim(1)?;
            found.resize(self.n * width, 0f32);
            for (row, hidden) in rows.iter().zip(hidden.to_vec2::<f32>()?) {
                if let Some(row) = row {
                    found[row * width..][..width].copy_from_slice(&hidden);
                }
            }
            Ok(())
        })?;
        Ok(Tensor::from_vec(found, (self.n, width), &candle_core::Device::Cpu)?)
    }
}

/// What is said of an implementation that answers something else than it was asked.
const UNASKED: &str = "the teacher gave rows of another kind than it was asked for";

impl TeacherLogits for Asked<'_> {
    fn each(&self, take: &mut dyn FnMut(&[usize], &Tensor) -> candle_core::Result<()>) -> candle_core::Result<()> {
        let asked = self.ask(Want::Full, |rows, answer| {
            let Rows::Full(logits) = answer else { return Err(UNASKED.into()) };
            let places: Vec<(u32, usize)> =
                (0..).zip(&rows[..logits.dim(0)?]).filter_map(|(at, row)| Some((at, (*row)?))).collect();
            let rows: Vec<usize> = places.iter().map(|&(_, row)| row).collect();
            if rows.is_empty() {
                return Ok(());
            }
            if rows.len() == logits.dim(0)? {
                return Ok(take(&rows, &logits)?);
            }
            let index = Tensor::from_iter(places.into_iter().map(|(at, _)| at), logits.device())?;
            Ok(take(&rows, &logits.index_select(&index, 0)?)?)
        });
        asked.map_err(candle_core::Error::wrap)
    }
}
