//! `retort model ...`: look into a model and run it.

use super::{convert, generate, inspect};
use crate::args::Model;
use crate::device::On;
use crate::open::{Embedded, ModelFiles};
use anyhow::{Result, bail};
use retort_model::Error;
use retort_model::batch::Batch;
use retort_model::checkpoint::{Stored, write_tensors};
use std::path::Path;
use std::process::ExitCode;

pub fn run(command: Model) -> Result<ExitCode> {
    match command {
        Model::Inspect { model, json } => inspect::run(&model, json),
        Model::Convert { model, to, out } => convert::run(&model, to, &out),
        Model::Merge { adapter, base, to, out } => convert::merge(&adapter, base.as_deref(), to, &out),
        Model::Logits { model, tokens, out, on } => logits(&model, &tokens, &out, on),
        Model::Generate(args) => generate::run(&args),
    }
}

fn logits(name: &str, tokens: &[u32], out: &Path, on: On) -> Result<ExitCode> {
    let place = |path: &Path| path.canonicalize().ok();
    // The folder of a bare name is the empty path.
    let folder = out.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let of_model = place(Path::new(name)).is_some_and(|model| folder.and_then(place) == Some(model));
    if of_model && place(out).is_some() {
        bail!("`{}` is a file of the model, which the logits would overwrite; name another", out.display());
    }
    let device = on.open()?;
    let decoder = ModelFiles::open(name, Embedded::Teacher)?.on(&device).decoder()?;
    let (vocabulary, context) = (decoder.head().rows(), decoder.context_length());
    if let Some(bad) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
        bail!("token {bad} is outside the vocabulary of {vocabulary}");
    }
    if tokens.len() > context {
        bail!("{} tokens are more than the model's context of {context}", tokens.len());
    }
    let logits = decoder.logits(&Batch::packed([tokens]), None)?;
    let numbers: Vec<f32> = logits.flatten_all()?.to_vec1()?;
    if let Some(&value) = numbers.iter().find(|value| !value.is_finite()) {
        return Err(Error::LogitNotFinite { value }.into());
    }
    write_tensors(out, &[("logits".into(), logits)], |_| Stored::F32)?;
    Ok(ExitCode::SUCCESS)
}
