//! `retort bench draft`: what a model's multi-token-prediction module saves, measured in one run.

use super::quality::{Answers, MAX_TOKENS};
use crate::args::BenchDraft;
use crate::commands::INTERRUPTED;
use crate::open::{self, Embedded, ModelFiles};
use crate::output::say;
use anyhow::{Result, bail};
use retort_datagen::gym::Split;
use retort_datagen::sources::Reading;
use retort_model::engine::DraftCount;
use retort_model::generate::Generate;
use serde_json::json;
use std::process::ExitCode;
use std::sync::PoisonError;
use std::time::Instant;

pub fn run(args: &BenchDraft) -> Result<ExitCode> {
    let model = ModelFiles::open(&args.model, Embedded::Teacher)?;
    let problems = open::problems(&args.problems, Split::HeldOut, 0, &Reading::default(), Some(args.limit.get()))?;
    let problems: Vec<String> = problems.into_iter().map(|problem| problem.problem).collect();
    let mut engine = model.chat_engine()?;
    if engine.decoder.draft_cache_spec().is_none() {
        bail!("`{}` has no multi-token-prediction module to draft with", model.name);
    }
    engine.slots = args.batch.get();
    // Tokens per second without drafts and with them, by turns, so that both see the same machine.
    let (mut rates, mut written) = ([Vec::new(), Vec::new()], Vec::new());
    for _ in 0..args.repeats.get() {
        for draft in [false, true] {
            engine.draft = draft;
            let mut jobs = Answers::new(problems.clone(), MAX_TOKENS);
            let begin = Instant::now();
            engine.generate(&mut jobs)?;
            if crate::progress::cancelled() {
                return Ok(ExitCode::from(INTERRUPTED));
            }
            let tokens = jobs.tokens();
            rates[usize::from(draft)].push(tokens.len() as f64 / begin.elapsed().as_secs_f64());
            written.push(tokens);
        }
    }
    if written.iter().any(|tokens| *tokens != written[0]) {
        bail!("drafts changed the tokens of `{}`, which they must not", model.name);
    }
    let DraftCount { drafted, accepted } = *engine.draft_count.lock().unwrap_or_else(PoisonError::into_inner);
    let [without, with] = rates.map(median);
    say!(
        "{}",
        json!({
            "model": model.name, "batch": args.batch, "problems": problems.len(), "repeats": args.repeats,
            "tokens": written[0].len(), "drafted": drafted / args.repeats.get() as u64,
            "acceptance": accepted as f64 / drafted.max(1) as f64,
            "tokens_per_second": with, "tokens_per_second_without": without, "speed_up": with / without,
            "same_tokens": true,
        })
    );
    Ok(ExitCode::SUCCESS)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
