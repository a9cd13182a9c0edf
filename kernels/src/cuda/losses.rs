//! Passes over rows of logits: losses of one token and divergences, each with its gradient.

use super::{Arg, each, gpu_of, launch, numbers, room};
use crate::losses::Divergence;
use candle_core::{Result, Tensor, bail};

/// Log-probabilities of one token each, and what their gradient takes.
pub(crate) struct TokenLogProbs {
    /// [n]
    pub log_p: Tensor,
    log_z: Tensor,
    tokens: Tensor,
}

/// log softmax of `logits` [n, v] at `tokens`.
pub(crate) fn token_log_probs(logits: &Tensor, tokens: impl Iterator<Item = u32>) -> Result<Option<TokenLogProbs>> {
    let Some(log_z) = log_normalisers(logits, 1.0)? else { return Ok(None) };
    let tokens = numbers(tokens, logits.device())?;
    let log_p = (logits.gather(&tokens.unsqueeze(1)?, 1)?.squeeze(1)? - &log_z)?;
    Ok(Some(TokenLogProbs { log_p, log_z, tokens }))
}

/// factors_j times the gradient of the log-probability of row j, [n, v].
pub(crate) fn token_gradient(logits: &Tensor, of: &TokenLogProbs, factors: &Tensor) -> Result<Tensor> {
    let Some(gpu) = gpu_of(&[logits, &of.log_z, factors]) else {
        bail!("log-probabilities in a GPU's memory, and the logits in {:?} on {:?}", logits.dtype(), logits.device());
    };
    let ((n, v), y) = (logits.dims2()?, room(logits.shape(), logits.device())?);
    let inputs = [Arg::at(logits)?, Arg::at(&of.log_z)?, Arg::of::<u32>(&of.tokens)?, Arg::at(factors)?];
    each(gpu, "token_gradient", n * v, &[&inputs[..], &[Arg::at(&y)?, Arg::count(n)?, Arg::count(v)?]].concat())?;
    Ok(y)
}

/// The divergence of `logits` [n, v] from `teacher` [n, w], at one temperature: its sums over outcomes [n], and,
/// where factors are given, factors_j times their gradients in logits / temperature, [n, v].
pub(crate) fn divergence(
    logits: &Tensor,
    teacher: &Tensor,
    by: Divergence,
    temperature: f64,
    factors: Option<&Tensor>,
) -> Result<Option<(Tensor, Option<Tensor>)>> {
    let Some(gpu) = gpu_of(&[logits, teacher]) else { return Ok(None) };
    let (Some(log_z), Some(teacher_log_z)) =
        (log_normalisers(logits, temperature)?, log_normalisers(teacher, temperature)?)
    else {
        return Ok(None);
    };
    let ((n, v), known) = (logits.dims2()?, teacher.dim(1)?);
    let (fs, hs) = (room(n, logits.device())?, room(n, logits.device())?);
    let (kind, share) = code(by);
    let rows = [Arg::at(logits)?, Arg::at(&log_z)?, Arg::at(teacher)?, Arg::at(&teacher_log_z)?];
    let sizes = [Arg::count(v)?, Arg::count(known)?];
    let kind = [Arg::Count(kind), Arg::Number(share as f32), Arg::Number((1.0 / temperature) as f32)];
    let args = [&rows[..], &[Arg::at(&fs)?, Arg::at(&hs)?], &sizes, &kind].concat();
    launch(gpu, "divergence", n, 0, &args)?;
    let Some(factors) = factors else { return Ok(Some((fs, None))) };
    let y = room((n, v), logits.device())?;
    let outputs = [Arg::at(&hs)?, Arg::at(factors)?, Arg::at(&y)?, Arg::count(n)?];
    each(gpu, "divergence_gradient", n * v, &[&rows[..], &outputs, &sizes, &kind].concat())?;
    Ok(Some((fs, Some(y))))
}

/// A divergence as the source knows it: its kind and its share.
fn code(by: Divergence) -> (u32, f64) {
    match by {
        Divergence::Forward { alpha } => (0, alpha),
        Divergence::Reverse { alpha } => (1, alpha),
        Divergence::JensenShannon { beta } => (2, beta),
    }
}

/// log sum_i exp(x_i / temperature) of each row of `x` [n, v].
fn log_normalisers(x: &Tensor, temperature: f64) -> Result<Option<Tensor>> {
    let Some(gpu) = gpu_of(&[x]) else { return Ok(None) };
    let ((n, v), y) = (x.dims2()?, room(x.dim(0)?, x.device())?);
    let args = [Arg::at(x)?, Arg::at(&y)?, Arg::count(v)?, Arg::Number((1.0 / temperature) as f32)];
    launch(gpu, "log_normalisers", n, 0, &args)?;
    Ok(Some(y))
}

#[cfg(test)]
mod tests {
    use super::super::SOURCE;
    use super::*;
    use crate::losses::{LOWEST, TINY};

    #[test]
    fn bounds_and_kinds_are_those_of_the_source() {
        assert!(SOURCE.contains(&format!("#define LOWEST ({LOWEST:?}f)\n")));
        assert!(SOURCE.contains(&format!("#define TINY {TINY:?}f\n")));
        let (alpha, beta) = (0.1, 0.2);
        for (name, by, share) in [
            ("FORWARD", Divergence::Forward { alpha }, alpha),
            ("REVERSE", Divergence::Reverse { alpha }, alpha),
            ("JENSEN_SHANNON", Divergence::JensenShannon { beta }, beta),
        ] {
            let (kind, found) = code(by);
            assert_eq!(found, share);
            assert!(SOURCE.contains(&format!("#define {name} {kind}\n")), "{name}");
        }
    }
}
