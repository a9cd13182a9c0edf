//! `retort bench quality`: the model answers problems greedily; along its answers, what packed matrices predict is held
//! against what the model as it is predicts.

use super::Quant;
use crate::args::BenchQuality;
use crate::commands::INTERRUPTED;
use crate::open::{self, Embedded, ModelFiles};
use crate::output::say;
use anyhow::{Result, bail};
use retort_datagen::gym::Split;
use retort_datagen::sources::Reading;
use retort_model::batch::Batch;
use retort_model::decoder::Decoder;
use retort_model::generate::{Completion, Generate, JobError, Jobs, Message, Request};
use retort_model::sampling::{NoiseKey, Sampling, greedy};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Length of an answer at most.
pub(super) const MAX_TOKENS: usize = 256;

pub fn run(args: &BenchQuality) -> Result<ExitCode> {
    let model = ModelFiles::open(&args.model, Embedded::Teacher)?;
    let problems = open::problems(&args.problems, Split::HeldOut, 0, &Reading::default(), Some(args.limit.get()))?;
    let engine = model.chat_engine()?;
    let mut jobs = Answers::new(problems.into_iter().map(|problem| problem.problem).collect(), MAX_TOKENS);
    engine.generate(&mut jobs)?;
    if crate::progress::cancelled() {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let answers: Vec<Completion> = jobs.done.into_values().filter(|answer| !answer.token_ids.is_empty()).collect();
    if answers.is_empty() {
        bail!("the model wrote nothing to compare along");
    }
    for quant in &args.quant {
        if crate::progress::cancelled() {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let packed = model.architecture.packed(model.checkpoint()?, quant.format())?;
        let found = compare(&engine.decoder, packed.as_ref(), &answers)?;
        say!("{}", line(&model.name, *quant, answers.len(), found));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(model: &str, quant: Quant, answers: usize, mut tokens: Vec<(f64, bool)>) -> serde_json::Value {
    let count = tokens.len() as f64;
    let mean = tokens.iter().map(|(kl, _)| kl).sum::<f64>() / count;
    let agreeing = tokens.iter().filter(|(_, agrees)| *agrees).count() as f64;
    tokens.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at = |share: f64| tokens[((count * share) as usize).min(tokens.len() - 1)].0;
    json!({
        "model": model, "quant": quant.name(), "bits_per_weight": quant.bits_per_weight(), "answers": answers,
        "tokens": tokens.len(), "kl_mean": mean, "kl_median": at(0.5), "kl_99th_percentile": at(0.99),
        "same_best_token": agreeing / count,
    })
}

/// For each token of the answers KL(exact || packed) in nats, and whether both find the same token likeliest.
fn compare(exact: &dyn Decoder, packed: &dyn Decoder, answers: &[Completion]) -> Result<Vec<(f64, bool)>> {
    let mut tokens = Vec::new();
    for answer in answers {
        let text: Vec<u32> = answer.prompt_token_ids.iter().chain(&answer.token_ids).copied().collect();
        let batch = Batch::packed([&text[..text.len() - 1]]);
        let rows = |model: &dyn Decoder| -> Result<Vec<Vec<f32>>> { Ok(model.logits(&batch, None)?.to_vec2()?) };
        let (exact, packed) = (rows(exact)?, rows(packed)?);
        tokens.extend(exact.iter().zip(&packed).skip(answer.prompt_token_ids.len() - 1).map(|(p, q)| divergence(p, q)));
    }
    Ok(tokens)
}

fn divergence(p_v: &[f32], q_v: &[f32]) -> (f64, bool) {
    let (log_p, log_q) = (log_softmax(p_v), log_softmax(q_v));
    let kl = log_p.iter().zip(&log_q).map(|(p, q)| p.exp() * (p - q)).sum();
    (kl, greedy(p_v) == greedy(q_v))
}

fn log_softmax(logits_v: &[f32]) -> Vec<f64> {
    let largest: f64 = logits_v.iter().copied().fold(f32::NEG_INFINITY, f32::max).into();
    let sum: f64 = logits_v.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
    logits_v.iter().map(|&x| f64::from(x) - largest - sum.ln()).collect()
}

/// Problems to answer greedily, and the answers by the problem's number.
pub(super) struct Answers {
    left: Vec<String>,
    max_tokens: usize,
    done: BTreeMap<u64, Completion>,
}

impl Answers {
    pub(super) fn new(problems: Vec<String>, max_tokens: usize) -> Self {
        Self { left: problems, max_tokens, done: BTreeMap::new() }
    }

    /// The tokens of all answers, one after the other.
    pub(super) fn tokens(&self) -> Vec<u32> {
        self.done.values().flat_map(|answer| &answer.token_ids).copied().collect()
    }
}

impl Jobs for Answers {
    fn next(&mut self) -> Option<Request> {
        let problem = self.left.pop()?;
        Some(Request {
            id: self.left.len() as u64,
            noise: NoiseKey::new(0, &problem, 0),
            capture: None,
            messages: vec![Message::user(problem)],
            sampling: Sampling { temperature: 0.0, max_tokens: self.max_tokens, ..Sampling::default() },
        })
    }

    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError> {
        self.done.insert(id, completion);
        Ok(())
    }

    fn cancelled(&self) -> bool {
        crate::progress::cancelled()
    }
}
