//! `retort model convert` and `retort model merge`: the same model in another number format, or with its adapter added in.

use crate::open::{Embedded, ModelFiles};
use crate::output::say;
use crate::progress;
use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::ValueEnum;
use retort_kernels::{Bits, QUANTISED_BLOCK};
use retort_model::Error;
use retort_model::checkpoint::{Checkpoint, NumberFormat, Outgoing, Stored, write_outgoing};
use retort_model::inventory::is_table;
use retort_student::lora::{self, Merged};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
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
    fn format(self) -> NumberFormat {
        match self {
            Self::Fp8 => NumberFormat::Fp8,
            Self::Bf16 => NumberFormat::Bf16,
            Self::F16 => NumberFormat::F16,
            Self::F32 => NumberFormat::F32,
            Self::Q8 => NumberFormat::Quantised(Bits::Eight),
            Self::Q4 => NumberFormat::Quantised(Bits::Four),
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
    if out.join(lora::CONFIG).exists() {
        bail!("`{}` holds an adapter; name another folder for the merged model", out.display());
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
    let format = to.map(To::format);
    if let Some(format) = format {
        model.files.config = config(&model.files.config, format).context("its `config.json` could not be changed")?;
        say_what_stays(checkpoint, format)?;
    }
    let stored = |name: &str| match format {
        Some(format) => format.stored(name),
        None => match checkpoint.dtype(name).as_deref() {
            Some("BF16") => Stored::Bf16,
            Some("F16") => Stored::F16,
            Some("F8_E4M3") => Stored::Fp8,
            Some("Q8") => Stored::Quantised(Bits::Eight),
            Some("Q4") => Stored::Quantised(Bits::Four),
            _ => Stored::F32,
        },
    };
    say_what_is_rounded(&merged, &stored)?;
    std::fs::create_dir_all(out).with_context(|| format!("`{}` could not be created", out.display()))?;
    let tensors: Vec<Outgoing> = checkpoint
        .weights()
        .filter(|(name, _)| !is_table(name))
        .map(|(name, shape)| Outgoing {
            name: name.into(),
            shape,
            values: Box::new(|| match progress::cancelled() {
                true => Err(Error::Interrupted),
                false => Ok(merged.read(name, &Device::Cpu)?.flatten_all()?.to_vec1()?),
            }),
        })
        .collect();
    let path = out.join("model.safetensors");
    // The weights first: where they cannot be written, no folder is left that looks like a model.
    write_outgoing(&path, &tensors, stored)?;
    model.files.write_small(out)?;
    let (before, after) = (checkpoint.bytes(), std::fs::metadata(&path)?.len());
    say!("{} tensors in `{}`, {before} bytes before, {after} now", tensors.len(), path.display());
    Ok(ExitCode::SUCCESS)
}

/// Quantised blocks lie in whole tiles: tells of matrices that stay bf16, and refuses a format that none can have.
fn say_what_stays(checkpoint: &Checkpoint, format: NumberFormat) -> Result<()> {
    let is_meant =
        |name: &str, shape: &[usize]| shape.len() == 2 && matches!(format.stored(name), Stored::Quantised(_));
    let meant: Vec<_> = checkpoint.weights().filter(|(name, shape)| is_meant(name, shape)).collect();
    let mut left = meant.iter().filter(|(name, shape)| format.stored(name).of_shape(shape) == Stored::Bf16);
    let Some((name, shape)) = left.next() else { return Ok(()) };
    let count = 1 + left.count();
    if count == meant.len() {
        bail!("no matrix is a multiple of 16 x {QUANTISED_BLOCK}, as blocks need it: `{name}` is {shape:?}");
    }
    say!(
        "{count} of {} matrices stay bf16: `{name}`, {shape:?}, is no multiple of 16 x {QUANTISED_BLOCK}",
        meant.len()
    );
    Ok(())
}

/// Tells of sums with an adapter's updates that go into so few bits that small updates may be lost.
fn say_what_is_rounded(merged: &Merged, stored: &dyn Fn(&str) -> Stored) -> Result<()> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for (name, shape) in merged.base().weights().filter(|(name, _)| merged.adapts(name)) {
        let format = match stored(name).of_shape(&shape) {
            Stored::Fp8 => "fp8",
            Stored::Quantised(Bits::Eight) => "q8",
            Stored::Quantised(Bits::Four) => "q4",
            Stored::F32 | Stored::F16 | Stored::Bf16 => continue,
        };
        *counts.entry(format).or_default() += 1;
    }
    if !counts.is_empty() {
        let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} in {name}")).collect();
        say!(
            "matrices with the adapter's updates, rounded after them: {}, where small updates may be lost; `--to bf16` \
             keeps them, in 2 bytes a weight",
            counts.join(", ")
        );
    }
    Ok(())
}

/// The config with the number format that other programs read from it.
pub(super) fn config(json: &str, format: NumberFormat) -> Result<String> {
    let mut config: Map<String, Value> = serde_json::from_str(json)?;
    config.shift_remove("quantization_config");
    if let Some(quantisation) = format.quantization_config() {
        config.insert("quantization_config".into(), quantisation);
    }
    let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    config.insert(key.into(), format.dtype().into());
    Ok(serde_json::to_string_pretty(&config)?)
}
