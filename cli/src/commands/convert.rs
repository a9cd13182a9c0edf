//! `retort model convert` and `retort model merge`: the same model in another number format, or with its adapter added in.

use crate::open::{Embedded, ModelFiles};
use crate::output::say;
use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::ValueEnum;
use retort_model::checkpoint::{Outgoing, Stored, write_outgoing};
use retort_student::lora::{self, Merged};
use serde_json::{Map, Value};
use std::path::Path;
use std::process::ExitCode;

/// The formats that projections and experts can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// e4m3 in blocks of 128 x 128, as DeepSeek publishes it; embedding, head, norms and router stay bf16
    Fp8,
    Bf16,
    F16,
    F32,
}

pub fn run(name: &str, to: To, out: &Path) -> Result<ExitCode> {
    write(ModelFiles::open(name, Embedded::Teacher)?, Some(to), out)
}

/// Adds the adapter in `folder` to the weights of `base`, or of the model that it names; without `to`, in their format.
pub fn merge(folder: &Path, base: Option<&str>, to: Option<To>, out: &Path) -> Result<ExitCode> {
    if !folder.join(lora::CONFIG).is_file() {
        bail!("`{}` holds no adapter: there is no `{}`", folder.display(), lora::CONFIG);
    }
    let model = match base {
        Some(base) => ModelFiles::open(base, Embedded::Student)?.with_adapter(folder),
        None => ModelFiles::open(&folder.to_string_lossy(), Embedded::Student)?,
    };
    write(model, to, out)
}

fn write(mut model: ModelFiles, to: Option<To>, out: &Path) -> Result<ExitCode> {
    if out.join("model.safetensors").exists() || out.join("model.safetensors.index.json").exists() {
        bail!("`{}` already holds a model; name another folder", out.display());
    }
    let merged = Merged::new(model.checkpoint()?, model.adapter()?);
    let checkpoint = merged.base();
    if let Some(to) = to {
        model.files.config = config(&model.files.config, to).context("its `config.json` could not be changed")?;
    }
    model.files.write_small(out)?;
    let tensors: Vec<Outgoing> = checkpoint
        .weights()
        .map(|(name, shape)| Outgoing {
            name: name.into(),
            shape: shape.into(),
            values: Box::new(|| Ok(merged.read(name, &Device::Cpu)?.flatten_all()?.to_vec1()?)),
        })
        .collect();
    let path = out.join("model.safetensors");
    write_outgoing(&path, &tensors, |name| match to {
        Some(To::Fp8) => retort_teacher::weights::stored(name),
        Some(To::Bf16 | To::F16) if name.ends_with("e_score_correction_bias") => Stored::F32,
        Some(To::Bf16) => Stored::Bf16,
        Some(To::F16) => Stored::F16,
        Some(To::F32) => Stored::F32,
        None => match checkpoint.dtype(name).as_deref() {
            Some("BF16") => Stored::Bf16,
            Some("F16") => Stored::F16,
            Some("F8_E4M3") => Stored::Fp8,
            _ => Stored::F32,
        },
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
    let dtype = match to {
        To::F32 => "float32",
        To::F16 => "float16",
        To::Bf16 | To::Fp8 => "bfloat16",
    };
    let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    config.insert(key.into(), dtype.into());
    Ok(serde_json::to_string_pretty(&config)?)
}
