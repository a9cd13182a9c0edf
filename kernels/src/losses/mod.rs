//! Losses of one row of logits, each with its gradient: what [`linear_loss`](crate::linear_loss) runs chunk by chunk.
//!
//! In all of them z is the student's row, p = softmax(z / T), q the teacher's distribution at the same temperature T, u =
//! z / T, and the loss is T^2 times what the file says, so that its gradient keeps its size when T changes (Hinton et al.,
//! arXiv 1503.02531, section 2). Each also has a `reference` in candle's own operations: the oracle of the tests, and what
//! runs where no fast form does.

mod cross_entropy;
mod dense;
mod entropy;
mod forward_kl;
mod jensen_shannon;
mod policy_gradient;
mod reference_kl;
mod reverse_kl;
mod sampled;
mod sampled_reverse_kl;
mod skewed_kl;
mod sorted;
mod sparse;
mod token;
mod told;
mod top_k;

pub use cross_entropy::CrossEntropy;
pub use dense::Dense;
pub use entropy::Entropy;
pub use forward_kl::ForwardKl;
pub use jensen_shannon::JensenShannon;
pub use policy_gradient::{Clipped, PolicyGradient};
pub use reference_kl::ReferenceKl;
pub use reverse_kl::ReverseKl;
pub use sampled::Sampled;
pub use sampled_reverse_kl::SampledReverseKl;
pub use skewed_kl::{SkewedKl, SkewedReverseKl};
pub use sorted::Sorted;
pub use sparse::SparseRows;
pub use token::{OfToken, Token};
pub use told::Told;
pub use top_k::TopK;

use crate::simd;
use candle_core::{D, Result, Tensor, bail};

/// The lowest log-probability there is, so that an impossible outcome stays a number: exp of it is 0, or next to it.
pub(crate) const LOWEST: f32 = -100.0;

/// The least probability whose logarithm is taken.
pub(crate) const TINY: f32 = 1e-37;

/// A loss of rows of logits.
pub trait RowLoss: Sync {
    /// The factor of row `row`; 0 skips it.
    fn weight(&self, row: usize) -> f32;

    /// Replaces the row's `logits` by the gradient of its weighted loss and returns that loss.
    ///
    /// `teacher` is the teacher's row of logits, empty where [`RowLoss::wants_teacher`] is false.
    fn row(&self, row: usize, logits: &mut [f32], teacher: &[f32], scratch: &mut Scratch) -> f64;

    /// Whether [`RowLoss::row`] reads the teacher's logits.
    fn wants_teacher(&self) -> bool {
        false
    }

    /// Refuses targets that `n` rows of `v` logits have no place for.
    fn check(&self, n: usize, v: usize) -> Result<()>;

    /// The weighted sum over the rows `at`, whose logits are given, in candle's own operations.
    fn reference(&self, at: &[usize], logits_kv: &Tensor, teacher_kv: Option<&Tensor>) -> Result<Tensor>;

    /// The same sum, and its gradient where it is wanted, if the logits are on a GPU that has passes for this loss.
    fn in_passes(&self, _rows: Rows, _wants_gradient: bool) -> Result<Option<Passed>> {
        Ok(None)
    }
}

/// Rows of a chunk for a GPU's passes.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Their numbers among all rows.
    pub at: &'a [usize],
    /// [k, v]
    pub logits: &'a Tensor,
    /// [k, w]
    pub teacher: Option<&'a Tensor>,
}

/// What a GPU's passes found of some rows.
pub struct Passed {
    /// The weighted sum of their losses, a scalar.
    pub loss: Tensor,
    /// [k, v]; none where none is wanted, or nothing to be minimised.
    pub gradient: Option<Tensor>,
}

/// Room for a row or two, kept by a thread from one row to the next.
#[derive(Default)]
pub struct Scratch {
    student: Vec<f32>,
    teacher: Vec<f32>,
}

/// How one outcome enters a divergence of q (teacher) and p (student) that is a sum over outcomes.
pub trait Pointwise: Sync {
    /// (f, h): the outcome's term and p df/dp, from p, q and their logarithms.
    ///
    /// The gradient of the sum in u is then h_i - p_i sum_j h_j.
    fn term(&self, p: f32, q: f32, log_p: f32, log_q: f32) -> (f32, f32);

    /// The terms of a whole tensor of log-probabilities.
    fn reference(&self, log_p: &Tensor, log_q: &Tensor) -> Result<Tensor>;

    /// Which divergence it is.
    fn divergence(&self) -> Divergence;
}

/// The divergences by name, for a GPU's passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Divergence {
    /// KL(q || alpha q + (1 - alpha) p)
    Forward { alpha: f64 },
    /// KL(p || (1 - alpha) q + alpha p)
    Reverse { alpha: f64 },
    /// beta KL(q || m) + (1 - beta) KL(p || m) with m = beta q + (1 - beta) p
    JensenShannon { beta: f64 },
}

/// x, but no less than `least`; what is no number stays so, which `f32::max` would hide.
#[inline(always)]
fn at_least(least: f32, x: f32) -> f32 {
    if x < least { least } else { x }
}

/// log sum_j exp(x_j / T), for the largest x and 1 / T.
#[inline(always)]
fn log_normaliser(x: &[f32], inverse_temperature: f32) -> f32 {
    let top = simd::max(x);
    let total = simd::sum(x, |x| simd::exp((x - top) * inverse_temperature));
    top * inverse_temperature + total.ln()
}

/// log softmax(x / T) over the last dimension.
fn log_softmax(x: &Tensor, temperature: f64) -> Result<Tensor> {
    let x = (x / temperature)?;
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// Those of `all` that belong to the rows `at`, as a tensor like `like`.
fn of_rows(all: &[f32], at: &[usize], like: &Tensor) -> Result<Tensor> {
    Tensor::from_iter(at.iter().map(|&row| all[row]), like.device())?.to_dtype(like.dtype())
}

/// sum_j weights_j x_j over the rows `at`.
fn weighted_sum(x_k: &Tensor, weights: &[f32], at: &[usize]) -> Result<Tensor> {
    (x_k * of_rows(weights, at, x_k)?)?.sum_all()
}

/// Each row's token; a row of weight 0 may name any, and gets id 0.
fn tokens_of<'a>(tokens: &'a [u32], weights: &'a [f32], at: &'a [usize]) -> impl Iterator<Item = u32> {
    at.iter().map(|&row| if weights[row] == 0.0 { 0 } else { tokens[row] })
}

/// The log-probability of each row's token.
fn log_p_of(tokens: &[u32], weights: &[f32], at: &[usize], logits_kv: &Tensor) -> Result<Tensor> {
    let ids = Tensor::from_iter(tokens_of(tokens, weights, at), logits_kv.device())?.unsqueeze(1)?;
    log_softmax(logits_kv, 1.0)?.gather(&ids, 1)?.squeeze(1)
}

/// Log-probabilities [n, w] with columns cut off or added to be `v`; what is added is as good as impossible.
fn fitted(log_q: &Tensor, v: usize) -> Result<Tensor> {
    let (n, w) = log_q.dims2()?;
    if w >= v {
        return log_q.narrow(1, 0, v);
    }
    let added = Tensor::full(LOWEST, (n, v - w), log_q.device())?.to_dtype(log_q.dtype())?;
    Tensor::cat(&[log_q, &added], 1)
}

fn check_rows(what: &str, n: usize, given: usize) -> Result<()> {
    if given != n {
        bail!("{what}: {given} rows of targets or weights for {n} rows");
    }
    Ok(())
}
