//! Cross-entropy on a packed batch: the next token, the tokens further ahead where the model predicts them, and the
//! model's own regularisers. Normalised by the targets of the whole step, so that accumulation changes nothing.

use crate::data::{Example, pack, targets};
use candle_core::Result;
use retort_kernels::{Value, add, linear_cross_entropy, scale};
use retort_model::decoder::Trainable;

/// The parts of a loss.
pub(crate) struct Loss {
    /// What is differentiated.
    pub total: Value,
    /// Mean cross-entropy of the next token over the step's targets; this micro-batch's share of it.
    pub next_token: f64,
    /// Other terms by name, as they enter the total.
    pub terms: Vec<(&'static str, f64)>,
}

/// The loss of one micro-batch of a step with `step_targets` targets in `step_sequences` sequences.
pub(crate) fn loss(
    model: &dyn Trainable,
    examples: &[Example],
    step_targets: usize,
    step_sequences: usize,
) -> Result<Loss> {
    let batch = pack(examples);
    let output = model.forward_train(&batch)?;
    let share = 1.0 / step_targets as f64;
    let cross_entropy = |hidden: &Value, distance: usize, weight: f64| {
        let targets = targets(examples, &batch, distance);
        let weights: Vec<f32> = targets.iter().map(|t| t.map_or(0.0, |_| (weight * share) as f32)).collect();
        let targets: Vec<u32> = targets.iter().map(|target| target.unwrap_or(0)).collect();
        linear_cross_entropy(hidden, &output.head_vd, &targets, &weights)
    };
    let mut total = cross_entropy(&output.hidden_nd, 1, 1.0)?;
    let next_token = total.to_scalar()?;
    let mut terms = Vec::new();
    for ahead in &output.ahead {
        let term = cross_entropy(&ahead.hidden_nd, ahead.distance, ahead.weight)?;
        terms.push(("ahead", term.to_scalar()?));
        total = add(&total, &term)?;
    }
    for (name, term) in output.regularisers {
        let term = scale(&term, 1.0 / step_sequences as f64)?;
        terms.push((name, term.to_scalar()?));
        total = add(&total, &term)?;
    }
    Ok(Loss { total, next_token, terms })
}
