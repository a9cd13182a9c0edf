//! `retort model convert`: the same model in another number format.

use crate::open::{Embedded, ModelFiles};
use crate::output::say;
use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::ValueEnum;
use retort_model::checkpoint::{Outgoing, Stored, write_outgoing};
use serde_json::{Map, Value};
use std::path::Path;
use std::process::ExitCode;

/// The formats that projections and experts can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// e4m3 in blocks of 128 x 128, as DeepSeek publishes it; embedding, head, norms and router stay bf16
    Fp8,
    Bf16,
    F32,
}

pub fn run(name: &str, to: To, out: &Path) -> Result<ExitCode> {
    if out.join("model.safetensors").exists() || out.join("model.safetensors.index.json").exists() {
        bail!("`{}` already holds a model; name another folder", out.display());
    }
    let mut model = ModelFiles::open(name, Embedded::Teacher)?;
    let checkpoint = model.checkpoint()?;
    model.files.config = config(&model.files.config, to).context("its `config.json` could not be changed")?;
    model.files.write_small(out)?;
    let tensors: Vec<Outgoing> = checkpoint
        .weights()
        .map(|(name, shape)| Outgoing {
            name: name.into(),
            shape: shape.into(),
            values: Box::new(|| Ok(checkpoint.read(name, &Device::Cpu)?.flatten_all()?.to_vec1()?)),
        })
        .collect();
    let path = out.join("model.safetensors");
    write_outgoing(&path, &tensors, |name| match to {
        To::Fp8 => retort_teacher::weights::stored(name),
        To::Bf16 if name.ends_with("e_score_correction_bias") => Stored::F32,
        To::Bf16 => Stored::Bf16,
        To::F32 => Stored::F32,
    })?;
    let (before, after) = (checkpoint.bytes(), std::fs::metadata(&path)?.len());
    say!("{} tensors in `{}`, {before} bytes before, {after} now", tensors.len(), path.display());
    Ok(ExitCode::SUCCESS)
}

/// The config with the number format that other programs read from it.
fn config(json: &str, to: To) -> Result<String> {
    let mut config: Map<String, Value> = serde_json::from_str(json)?;
    config.shift_remove("quantization_config");
    if to == To::Fp8 {
        config.insert("quantization_config".into(), retort_teacher::weights::quantization_config());
    }
    let dtype = if to == To::F32 { "float32" } else { "bfloat16" };
    let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    config.insert(key.into(), dtype.into());
    Ok(serde_json::to_string_pretty(&config)?)
}
