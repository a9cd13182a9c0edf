//! What every teacher promises that looks over a student's shoulder: given whole sequences, what it thinks of each next
//! token. A local model, an endpoint and a test double implement it.
//!
//! Rows come in the kind asked for, from a single log-probability to what the whole distribution can be computed from;
//! a teacher says which kinds it has, and an objective that needs more is refused.

use crate::batch::Batch;
use crate::decoder::Decoder;
use crate::sampling::NoiseKey;
use candle_core::Tensor;
use rayon::prelude::*;
use retort_kernels::losses::SparseRows;
use retort_kernels::{Value, Weight};

/// What is wanted of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// The log-probability of the token that follows.
    Next,
    /// The `k` likeliest outcomes with their log-probabilities.
    TopK { k: usize, temperature: f64 },
    /// `draws` outcomes drawn from the distribution, with replacement.
    Sampled { draws: u32, temperature: f64, seed: u64 },
    /// What the logits of every outcome are computed from, chunk by chunk, by who needs them.
    Full,
    /// Final hidden states.
    Hidden,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Next => write!(f, "the log-probability of a token"),
            Self::TopK { k, temperature } => write!(f, "the {k} likeliest tokens at temperature {temperature}"),
            Self::Sampled { draws, .. } => write!(f, "{draws} draws from its distribution"),
            Self::Full => write!(f, "its whole distribution"),
            Self::Hidden => write!(f, "its hidden states"),
        }
    }
}

/// What came of a batch: one row for each of its rows, in their order. A row that was not wanted is empty in `Next` (0)
/// and in the sparse kinds; the others give all rows.
pub enum Scores {
    Next(Vec<f32>),
    /// Likeliest first.
    TopK(SparseRows),
    /// Lowest id first; `counts` says how often each entry was drawn.
    Sampled {
        rows: SparseRows,
        counts: Vec<u32>,
    },
    /// Hidden states [n, d] and the head [v, d].
    Full {
        hidden_nd: Tensor,
        head: Weight,
    },
    /// [n, d]
    Hidden(Tensor),
}

/// Why a teacher gave no scores.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    #[error("the teacher `{teacher}` cannot give {kind}")]
    NotOffered { teacher: String, kind: Kind },
    #[error("the teacher failed")]
    Model(#[from] crate::Error),
    #[error("the teacher failed")]
    Tensor(#[from] candle_core::Error),
    #[error("the teacher could not be asked")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Scores given sequences.
pub trait Score: Sync {
    /// What a message calls this model.
    fn name(&self) -> &str;
    /// A hash of what decides its scores.
    fn fingerprint(&self) -> &str;
    /// Number of outcomes, v.
    fn vocabulary(&self) -> usize;
    /// Width of the hidden states, where it gives them.
    fn width(&self) -> Option<usize>;
    /// Whether it can give rows of this kind.
    fn offers(&self, kind: Kind) -> bool;
    /// Scores the rows of `batch` (whole sequences, packed) for which `wanted` is true.
    ///
    /// A row depends on its own sequence alone, whatever lies beside it.
    fn score(&self, batch: &Batch, wanted: &[bool], kind: Kind) -> Result<Scores, ScoreError>;
}

/// A local model as a teacher: it offers every kind.
pub struct LocalScore<D> {
    pub decoder: D,
    pub name: String,
    pub fingerprint: String,
}

/// Rows whose logits are held at once.
const CHUNK: usize = 64;

impl<D: Decoder> Score for LocalScore<D> {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn vocabulary(&self) -> usize {
        self.decoder.head().rows()
    }

    fn width(&self) -> Option<usize> {
        Some(self.decoder.head().columns())
    }

    fn offers(&self, _: Kind) -> bool {
        true
    }

    fn score(&self, batch: &Batch, wanted: &[bool], kind: Kind) -> Result<Scores, ScoreError> {
        let hidden_nd = self.decoder.hidden(batch, None)?.into_tensor();
        let following = batch.following(1);
        match kind {
            Kind::Hidden => Ok(Scores::Hidden(hidden_nd)),
            Kind::Full => Ok(Scores::Full { hidden_nd, head: self.decoder.head().clone() }),
            Kind::Next => {
                let rows = self.rows(&hidden_nd, wanted, |row, logits| {
                    let log_z = log_normaliser(logits, 1.0);
                    following[row].and_then(|token| logits.get(token as usize)).map_or(0.0, |z| z - log_z)
                })?;
                Ok(Scores::Next(rows.into_iter().map(Option::unwrap_or_default).collect()))
            }
            Kind::TopK { k, temperature } => {
                let rows = self.rows(&hidden_nd, wanted, |_, logits| likeliest(logits, k, temperature))?;
                Ok(Scores::TopK(gathered(rows.into_iter().map(Option::unwrap_or_default)).0))
            }
            Kind::Sampled { draws, temperature, seed } => {
                let keys = keys(batch, seed);
                let draw = |row: usize, logits: &[f32]| {
                    let position = u64::from(batch.positions[row]);
                    let uniform = |draw: u32| keys[row].uniform(position * u64::from(draws) + u64::from(draw));
                    drawn(logits, temperature, (0..draws).map(uniform).collect())
                };
                let rows = self.rows(&hidden_nd, wanted, draw)?;
                let (rows, counts) = gathered(rows.into_iter().map(Option::unwrap_or_default));
                Ok(Scores::Sampled { rows, counts })
            }
        }
    }
}

impl<D: Decoder> LocalScore<D> {
    /// Calls `f` with the number and the logits of every wanted row.
    fn rows<T: Send>(
        &self,
        hidden_nd: &Tensor,
        wanted: &[bool],
        f: impl Fn(usize, &[f32]) -> T + Sync,
    ) -> candle_core::Result<Vec<Option<T>>> {
        let mut found: Vec<Option<T>> = wanted.iter().map(|_| None).collect();
        let rows: Vec<usize> = (0..wanted.len()).filter(|&row| wanted[row]).collect();
        for rows in rows.chunks(CHUNK) {
            let index = Tensor::from_iter(rows.iter().map(|&row| row as u32), hidden_nd.device())?;
            let hidden = Value::constant(&hidden_nd.index_select(&index, 0)?)?;
            let logits: Vec<Vec<f32>> = self.decoder.head().linear(&hidden)?.tensor().to_vec2()?;
            let results: Vec<T> = rows.par_iter().zip(&logits).map(|(&row, logits)| f(row, logits)).collect();
            rows.iter().zip(results).for_each(|(&row, result)| found[row] = Some(result));
        }
        Ok(found)
    }
}

/// An outcome, its log-probability, how often it was drawn.
type Entry = (u32, f32, u32);

fn gathered(rows: impl Iterator<Item = Vec<Entry>>) -> (SparseRows, Vec<u32>) {
    let (mut sparse, mut counts) = (SparseRows::default(), Vec::new());
    for row in rows {
        let ids: Vec<u32> = row.iter().map(|entry| entry.0).collect();
        let log_probs: Vec<f32> = row.iter().map(|entry| entry.1).collect();
        sparse.push(&ids, &log_probs);
        counts.extend(row.iter().map(|entry| entry.2));
    }
    (sparse, counts)
}

/// log sum exp(z / T), summed in f64.
fn log_normaliser(logits: &[f32], temperature: f64) -> f32 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|&z| (f64::from(z - top) / temperature).exp()).sum();
    (f64::from(top) / temperature + total.ln()) as f32
}

/// The `k` likeliest outcomes, the lower id first where two are equal.
fn likeliest(logits: &[f32], k: usize, temperature: f64) -> Vec<Entry> {
    let log_z = log_normaliser(logits, temperature);
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if k < order.len() {
        order.select_nth_unstable_by(k, by_logit);
        order.truncate(k);
    }
    order.sort_unstable_by(by_logit);
    let entry = |id: u32| (id, (f64::from(logits[id as usize]) / temperature) as f32 - log_z, 0);
    order.into_iter().map(entry).collect()
}

/// The outcomes that the uniform numbers `draws` fall on.
fn drawn(logits: &[f32], temperature: f64, mut draws: Vec<f64>) -> Vec<Entry> {
    let log_z = log_normaliser(logits, temperature);
    let log_p = |z: f32| (f64::from(z) / temperature) as f32 - log_z;
    draws.sort_unstable_by(f64::total_cmp);
    let total: f64 = logits.iter().map(|&z| f64::from(log_p(z)).exp()).sum();
    let (mut found, mut mass, mut next): (Vec<Entry>, f64, usize) = (Vec::new(), 0.0, 0);
    for (id, &z) in logits.iter().enumerate() {
        mass += f64::from(log_p(z)).exp();
        // The last outcome takes what rounding left over.
        let until = if id + 1 == logits.len() { f64::INFINITY } else { mass };
        let before = next;
        while next < draws.len() && draws[next] * total < until {
            next += 1;
        }
        if next > before {
            found.push((id as u32, log_p(z), (next - before) as u32));
        }
    }
    found
}

/// For each row the noise of its sequence, which its tokens and the seed decide.
fn keys(batch: &Batch, seed: u64) -> Vec<NoiseKey> {
    let mut keys = Vec::with_capacity(batch.len());
    for span in batch.offsets.windows(2) {
        let mut hasher = blake3::Hasher::new();
        batch.tokens[span[0]..span[1]].iter().for_each(|token| {
            hasher.update(&token.to_le_bytes());
        });
        let key = NoiseKey::new(seed, &hasher.finalize().to_hex(), 0);
        keys.resize(span[1], key);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_come_first_and_ties_by_id() {
        let found = likeliest(&[0.0, 2.0, 1.0, 2.0], 3, 1.0);
        assert_eq!(found.iter().map(|entry| entry.0).collect::<Vec<_>>(), [1, 3, 2]);
        let z = 2.0 * 2f64.exp() + 1f64.exp() + 1.0;
        assert!((f64::from(found[0].1) - (2.0 - z.ln())).abs() < 1e-6);
        assert_eq!(likeliest(&[1.0, 0.0], 9, 2.0).len(), 2);
    }

    #[test]
    fn draws_fall_where_the_mass_is() {
        // Probabilities 1/8, 3/4, 1/8.
        let logits = [0.0, 6f32.ln(), 0.0];
        let found = drawn(&logits, 1.0, vec![0.9, 0.0, 0.124, 0.126, 0.5, 0.874, 0.999_999_999_999]);
        let counts: Vec<(u32, u32)> = found.iter().map(|entry| (entry.0, entry.2)).collect();
        assert_eq!(counts, [(0, 2), (1, 3), (2, 2)]);
        assert!((found[1].1 - 0.75f32.ln()).abs() < 1e-6);
    }
}
