//! What is learnt from: token sequences with the place where the loss begins, served step by step.
//!
//! A step's examples are a function of its number alone, so a resumed run sees what an uninterrupted one would.

use crate::Error;
use crate::flops::Written;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use retort_kernels::losses::SparseRows;
use retort_model::batch::Batch;
use std::sync::Arc;
use std::time::Duration;

/// One sequence to learn.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub tokens: Vec<u32>,
    /// Tokens from here on are predicted; those before are given (completion-only loss).
    pub loss_from: usize,
    /// How many tokens from there on stand in the teacher's prompt and not in the student's: the opening of a thinking
    /// block, where the teacher's template writes it.
    pub opening: usize,
    /// Places of tokens behind that which are given all the same: nobody chose them.
    pub given: Vec<usize>,
    /// What the teacher said of the predicted tokens when it wrote them, where that was captured.
    pub captured: Option<Arc<Captured>>,
    /// The same text in the tokens of a teacher with another tokenizer.
    pub translation: Option<Arc<Translation>>,
    /// What it earned, where the student wrote it to be rewarded.
    pub earned: Option<Arc<Earned>>,
}

/// How a completion that the student wrote did against its group.
#[derive(Debug, Clone, PartialEq)]
pub struct Earned {
    pub advantage: f32,
    /// Weight of each predicted token in the sum over the step.
    pub share: f32,
    /// What the student gave to each predicted token when it wrote it.
    pub log_probs: Vec<f32>,
    /// Whether its weights have moved since.
    pub is_stale: bool,
}

/// A teacher's log-probabilities at temperature 1; row i is of the token at `loss_from + i`.
#[derive(Debug, Clone, PartialEq)]
pub struct Captured {
    pub rows: SparseRows,
    /// How often each entry was drawn, where the rows are draws and not the likeliest outcomes.
    pub counts: Option<Vec<u32>>,
}

/// A sequence in another tokenizer, and where the two stand at the same place of the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    pub tokens: Vec<u32>,
    /// Rows (ours, theirs) that both predict what follows the same text, in rising order.
    pub rows: Vec<(usize, usize)>,
}

impl Example {
    /// Tokens alone.
    pub fn new(tokens: Vec<u32>, loss_from: usize) -> Self {
        Self { tokens, loss_from, opening: 0, given: vec![], captured: None, translation: None, earned: None }
    }

    /// How many tokens are predicted.
    pub fn targets(&self) -> usize {
        let first = self.loss_from.max(1);
        let given = self.given.iter().filter(|place| (first..self.tokens.len()).contains(place)).count();
        self.tokens.len().saturating_sub(first) - given
    }
}

/// The examples of a step, and what the student wrote for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Served {
    pub examples: Vec<Example>,
    /// Every completion of the student's, also those that are no example.
    pub written: Vec<Written>,
}

impl From<Vec<Example>> for Served {
    fn from(examples: Vec<Example>) -> Self {
        Self { examples, written: vec![] }
    }
}

/// A source of training examples.
pub trait Stream {
    /// The examples of step `step`, counted from 0; none where there is nothing to learn, and then nothing moves.
    fn serve(&self, step: u64) -> Result<Served, Error>;
    /// What there is to say of the last examples, by name; `update` is what it took to learn from them.
    fn told(&self, update: Duration) -> Vec<(String, f64)> {
        let _ = update;
        Vec::new()
    }
    /// Whether examples from `step` on follow from the weights and the number alone, so that a run can be saved before it.
    fn begins(&self, step: u64) -> bool {
        let _ = step;
        true
    }
    /// A hash or description of the data, recorded with the run.
    fn fingerprint(&self) -> String;
}

/// A fixed set of examples, gone through in epochs, each in a fresh order.
pub struct Epochs {
    examples: Vec<Example>,
    /// Examples per step.
    per_step: usize,
    seed: u64,
}

impl Epochs {
    /// Serves `per_step` of `examples` at a time.
    pub fn new(examples: Vec<Example>, per_step: usize, seed: u64) -> Self {
        Self { examples, per_step: per_step.max(1), seed }
    }

    /// Steps that go through everything `epochs` times.
    pub fn steps(&self, epochs: f64) -> u64 {
        (self.examples.len() as f64 * epochs / self.per_step as f64).ceil() as u64
    }
}

/// The order in which `count` things are gone through in `epoch`: a Fisher-Yates shuffle from its own stream of numbers.
pub(crate) fn order(count: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..order.len()).rev() {
        let other = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
    order
}

impl Epochs {
    /// The examples of step `step`, counted from 0.
    pub fn examples(&self, step: u64) -> Result<Vec<Example>, Error> {
        let count = self.examples.len() as u64;
        if count == 0 {
            return Err(Error::EmptyStep { step });
        }
        let mut order = (u64::MAX, Vec::new());
        let first = step * self.per_step as u64;
        Ok((first..first + self.per_step as u64)
            .map(|at| {
                if order.0 != at / count {
                    order = (at / count, self::order(self.examples.len(), self.seed, at / count));
                }
                self.examples[order.1[(at % count) as usize]].clone()
            })
            .collect())
    }
}

impl Stream for Epochs {
    fn serve(&self, step: u64) -> Result<Served, Error> {
        Ok(self.examples(step)?.into())
    }

    fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(&(self.per_step as u64).to_le_bytes());
        for example in &self.examples {
            hasher
                .update(&(example.loss_from as u64).to_le_bytes())
                .update(&(example.tokens.len() as u64).to_le_bytes());
            example.tokens.iter().for_each(|token| {
                hasher.update(&token.to_le_bytes());
            });
            // Absent ones add nothing, so that plain examples keep their hash.
            example.given.iter().for_each(|place| {
                hasher.update(&(*place as u64).to_le_bytes());
            });
            if let Some(Captured { rows, counts }) = example.captured.as_deref() {
                rows.offsets.iter().for_each(|offset| {
                    hasher.update(&(*offset as u64).to_le_bytes());
                });
                let numbers = rows.ids.iter().copied().chain(rows.log_probs.iter().map(|x| x.to_bits()));
                numbers.chain(counts.iter().flatten().copied()).for_each(|number| {
                    hasher.update(&number.to_le_bytes());
                });
            }
            for token in example.translation.iter().flat_map(|translation| &translation.tokens) {
                hasher.update(&token.to_le_bytes());
            }
        }
        hasher.finalize().to_hex()[..16].to_string()
    }
}

/// Cuts a step's examples, in order, into as few packed batches of at most `budget` tokens as will do (one example at
/// the least), as even as they can be.
pub(crate) fn micro_batches(examples: &[Example], budget: usize) -> Vec<&[Example]> {
    let count = filled(examples, budget).len();
    let (mut too_small, mut enough) = (0, budget);
    while enough - too_small > 1 {
        let middle = (too_small + enough) / 2;
        if filled(examples, middle).len() > count { too_small = middle } else { enough = middle }
    }
    filled(examples, enough)
}

/// Batches that are each filled up to `budget` tokens before the next begins.
fn filled(examples: &[Example], budget: usize) -> Vec<&[Example]> {
    let mut batches = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (at, example) in examples.iter().enumerate() {
        if at > start && tokens + example.tokens.len() > budget {
            batches.push(&examples[start..at]);
            (start, tokens) = (at, 0);
        }
        tokens += example.tokens.len();
    }
    if start < examples.len() {
        batches.push(&examples[start..]);
    }
    batches
}

/// `examples` end to end, one sequence each.
pub(crate) fn pack(examples: &[Example]) -> Batch {
    Batch::packed(examples.iter().map(|example| &example.tokens))
}

/// For each row of [`pack`] the token `distance` ahead, if it is one to predict.
pub(crate) fn targets(examples: &[Example], batch: &Batch, distance: usize) -> Vec<Option<u32>> {
    let mut targets = batch.following(distance);
    for (example, span) in examples.iter().zip(batch.offsets.windows(2)) {
        // Row i predicts token i + distance: rows that would predict a given token do not count.
        let given = example.loss_from.saturating_sub(distance).min(example.tokens.len());
        targets[span[0]..span[0] + given].fill(None);
        for row in example.given.iter().filter_map(|place| place.checked_sub(distance)) {
            if row < example.tokens.len() {
                targets[span[0] + row] = None;
            }
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(tokens: &[u32], loss_from: usize) -> Example {
        Example::new(tokens.to_vec(), loss_from)
    }

    #[test]
    fn only_the_completion_is_predicted() {
        let examples = [example(&[1, 2, 3, 4], 2), example(&[5, 6], 0)];
        let batch = pack(&examples);
        assert_eq!(targets(&examples, &batch, 1), [None, Some(3), Some(4), None, Some(6), None]);
        assert_eq!(targets(&examples, &batch, 2), [Some(3), Some(4), None, None, None, None]);
        assert_eq!(examples[0].targets(), 2);
        assert_eq!(examples[1].targets(), 1);
        let forced = [Example { given: vec![3], ..example(&[1, 2, 3, 4, 5], 2) }];
        let batch = pack(&forced);
        assert_eq!(targets(&forced, &batch, 1), [None, Some(3), None, Some(5), None]);
        assert_eq!(targets(&forced, &batch, 2), [Some(3), None, Some(5), None, None]);
        assert_eq!(forced[0].targets(), 2);
    }

    #[test]
    fn micro_batches_keep_order_and_budget() {
        let examples: Vec<Example> = [3, 4, 2, 9, 1].iter().map(|&n| example(&vec![0; n], 0)).collect();
        let sizes: Vec<usize> = micro_batches(&examples, 7).iter().map(|batch| batch.len()).collect();
        assert_eq!(sizes, [1, 2, 1, 1]);
        let even: Vec<Example> = [1; 10].iter().map(|&n| example(&vec![0; n], 0)).collect();
        let sizes: Vec<usize> = micro_batches(&even, 7).iter().map(|batch| batch.len()).collect();
        assert_eq!(sizes, [5, 5]);
    }

    #[test]
    fn epochs_visit_everything_once_in_changing_order() -> Result<(), Error> {
        let epochs = Epochs::new((0..10).map(|i| example(&[i], 0)).collect(), 5, 3);
        let epoch = |first: u64| -> Result<Vec<u32>, Error> {
            let steps = [epochs.examples(first)?, epochs.examples(first + 1)?];
            Ok(steps.iter().flatten().map(|example| example.tokens[0]).collect())
        };
        let (one, two) = (epoch(0)?, epoch(2)?);
        let sorted = |mut ids: Vec<u32>| {
            ids.sort();
            ids
        };
        assert_eq!(sorted(one.clone()), (0..10).collect::<Vec<_>>());
        assert_eq!(sorted(two.clone()), (0..10).collect::<Vec<_>>());
        assert_ne!(one, two);
        Ok(())
    }
}
