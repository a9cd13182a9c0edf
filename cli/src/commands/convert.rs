//! `retort model convert` and `retort model merge`: the same model in another number format, or with its adapter added in.

use crate::open::{Embedded, ModelFiles};
use crate::output::say;
use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::ValueEnum;
use retort_kernels::Bits;
use retort_model::checkpoint::{Outgoing, Stored, write_outgoing};
use retort_student::lora::{self, Merged};
use serde_json::{Map, Value, json};
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
    /// Blocks of 32 with 8 bits each and a scale, embedding and head too; read by this program alone
    Q8,
    /// Blocks of 32 with 4 bits each and a scale; embedding and head have 8 bits
    Q4,
}

impl To {
    fn stored(self, name: &str) -> Stored {
        let matrix = |bits| match retort_teacher::weights::stored(name) {
            Stored::Fp8 => Stored::Quantised(bits),
            // Every prediction passes through them, and each is read once for all layers.
            _ if name.ends_with("embed_tokens.weight") || name == "lm_head.weight" => Stored::Quantised(Bits::Eight),
            other => other,
        };
        match self {
            Self::Fp8 => retort_teacher::weights::stored(name),
            Self::Bf16 | Self::F16 if name.ends_with("e_score_correction_bias") => Stored::F32,
            Self::Bf16 => Stored::Bf16,
            Self::F16 => Stored::F16,
            Self::F32 => Stored::F32,
            Self::Q8 => matrix(Bits::Eight),
            Self::Q4 => matrix(Bits::Four),
        }
    }
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
            shape,
            values: Box::new(|| Ok(merged.read(name, &Device::Cpu)?.flatten_all()?.to_vec1()?)),
        })
        .collect();
    let path = out.join("model.safetensors");
    write_outgoing(&path, &tensors, |name| match to {
        Some(to) => to.stored(name),
        None => match checkpoint.dtype(name).as_deref() {
            Some("BF16") => Stored::Bf16,
            Some("F16") => Stored::F16,
            Some("F8_E4M3") => Stored::Fp8,
            Some("Q8") => Stored::Quantised(Bits::Eight),
            Some("Q4") => Stored::Quantised(Bits::Four),
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
    let quantisation = match to {
        To::Fp8 => Some(retort_teacher::weights::quantization_config()),
        To::Q8 => Some(json!({ "quant_method": "retort", "bits": 8, "group_size": 32 })),
        To::Q4 => Some(json!({ "quant_method": "retort", "bits": 4, "group_size": 32 })),
        To::Bf16 | To::F16 | To::F32 => None,
    };
    if let Some(quantisation) = quantisation {
        config.insert("quantization_config".into(), quantisation);
    }
    let dtype = match to {
        To::F32 => "float32",
        To::F16 => "float16",
        To::Bf16 | To::Fp8 | To::Q8 | To::Q4 => "bfloat16",
    };
    let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    config.insert(key.into(), dtype.into());
    Ok(serde_json::to_string_pretty(&config)?)
}
