//! `retort model inspect`: what a model is and costs, from its config alone or held against its weights.

use crate::open::{Embedded, ModelFiles};
use crate::output::{self, say};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// The answer; `--json` prints it as it is.
#[derive(Serialize)]
struct Facts {
    name: String,
    model_type: String,
    /// Parameters of the model without multi-token prediction.
    parameters: u64,
    /// Parameters that one token reads: not the input embedding, and of the experts only those it is sent to.
    active_parameters: u64,
    /// Parameters of the multi-token-prediction module, without what it shares with the model.
    mtp_parameters: u64,
    kv_bytes_per_token_bf16: u64,
    /// The same cache with every head's keys and values in place of latents.
    kv_bytes_per_token_bf16_expanded: Option<u64>,
    kv_saving: Option<f64>,
    context_length: usize,
    /// Bytes of the weights; none without weights.
    bytes: Option<u64>,
    /// Numbers in the weights by the type they are stored in.
    dtypes: Option<BTreeMap<String, u64>>,
    fingerprint: Option<String>,
}

/// Bytes of a number in bf16.
const BF16: usize = 2;

pub fn run(name: &str, json: bool) -> Result<ExitCode> {
    let files = ModelFiles::look(name, Embedded::Teacher)?;
    let model = &files.architecture;
    let checkpoint = files.checkpoint_if_any()?;
    let totals = model.totals();
    let kept = (BF16 * model.cache_spec().elements_per_token()) as u64;
    let expanded = model.expanded_cache_spec().map(|spec| (BF16 * spec.elements_per_token()) as u64);
    let facts = Facts {
        name: files.name.clone(),
        model_type: model.model_type().into(),
        parameters: totals.total,
        active_parameters: totals.active,
        mtp_parameters: totals.ahead,
        kv_bytes_per_token_bf16: kept,
        kv_bytes_per_token_bf16_expanded: expanded,
        kv_saving: expanded.map(|expanded| expanded as f64 / kept as f64),
        context_length: model.context_length(),
        bytes: checkpoint.as_ref().map(|checkpoint| checkpoint.bytes() as u64),
        dtypes: checkpoint.as_ref().map(|checkpoint| checkpoint.dtypes()),
        fingerprint: checkpoint.as_ref().map(|checkpoint| files.fingerprint(checkpoint)).transpose()?,
    };
    if json {
        say!("{}", serde_json::to_string_pretty(&facts)?);
    } else {
        print(&facts)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(facts: &Facts) -> Result<()> {
    let line = |name: &str, text: String| output::line(format_args!("{name:<18}{text}"));
    line("name", facts.name.clone())?;
    line("type", facts.model_type.clone())?;
    let (total, active) = (output::count(facts.parameters), output::count(facts.active_parameters));
    line("parameters", format!("{total}, of which a token reads {active}"))?;
    if facts.mtp_parameters > 0 {
        line("", format!("{} more for multi-token prediction", output::count(facts.mtp_parameters)))?;
    }
    let kept = output::kibibytes(facts.kv_bytes_per_token_bf16);
    match facts.kv_bytes_per_token_bf16_expanded.zip(facts.kv_saving) {
        Some((expanded, saving)) => {
            let expanded = output::kibibytes(expanded);
            line(
                "cache per token",
                format!("{kept} of latents in bf16, {saving:.1} times less than {expanded} of keys and values"),
            )?;
        }
        None => line("cache per token", format!("{kept} of keys and values in bf16"))?,
    }
    line("context", format!("{} tokens", facts.context_length))?;
    match (facts.bytes, &facts.dtypes, &facts.fingerprint) {
        (Some(bytes), Some(dtypes), Some(fingerprint)) => {
            let kinds: Vec<String> =
                dtypes.iter().map(|(name, &numbers)| format!("{} in {name}", output::count(numbers))).collect();
            line("weights", format!("{}: {}", output::bytes(bytes), kinds.join(", ")))?;
            line("fingerprint", fingerprint.clone())
        }
        _ => line("weights", "none in this folder; sizes are those of `config.json`".into()),
    }
}
