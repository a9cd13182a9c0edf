//! `retort student init`: a student to be trained, with fresh weights or a teacher's where they fit.

use crate::args::StudentInit;
use crate::open::{Embedded, ModelFiles};
use crate::output::{count, say};
use anyhow::{Result, bail};
use candle_core::Device;
use retort_model::checkpoint::Stored;
use retort_model::decoder::Trainable;
use retort_model::folder::FolderFiles;
use retort_model::inventory::Totals;
use retort_model::params::Fresh;
use retort_student::Trainee;
use retort_student::initial::FromTeacher;
use retort_student::presets::{PRESETS, Preset};
use std::path::Path;
use std::process::ExitCode;

/// The preset of a name on the command line.
pub fn preset(name: &str) -> Result<&'static Preset, String> {
    let names = || PRESETS.map(|preset| preset.name).join(", ");
    Preset::find(name).ok_or_else(|| format!("presets are {}", names()))
}

/// The student of a preset with fresh weights, written to `folder` where it does not lie there from an earlier call.
pub fn fresh(name: &str, vocabulary: &str, seed: u64, folder: &Path) -> Result<ModelFiles> {
    let preset = preset(name).map_err(anyhow::Error::msg)?;
    if !folder.join("config.json").exists() {
        let (vocabulary, out) = (vocabulary.into(), folder.into());
        init(&StudentInit { preset, vocabulary, from: None, layers: None, seed, out })?;
    }
    ModelFiles::open(&folder.to_string_lossy(), Embedded::Student)
}

pub fn init(args: &StudentInit) -> Result<ExitCode> {
    if args.out.join("config.json").exists() {
        bail!("`{}` already holds a model; name another folder", args.out.display());
    }
    let vocabulary = ModelFiles::look(&args.vocabulary, Embedded::Student)?;
    let config = args.preset.config(vocabulary.architecture.vocab_size());
    let (model, taken) = match &args.from {
        None => (Trainee::new(config, Box::new(Fresh { seed: args.seed }), &Device::Cpu)?, 0),
        Some(name) => {
            let teacher = ModelFiles::open(name, Embedded::Teacher)?;
            let tokens = |files: &FolderFiles| files.vocabulary.as_ref().map(|v| v.file().1.to_string());
            if tokens(&teacher.files) != tokens(&vocabulary.files) {
                bail!("`{name}` has other tokens than `{}`, so its rows would stand for other text", args.vocabulary);
            }
            let (own, theirs) = (config.num_hidden_layers, teacher.architecture.layers());
            let layers = args.layers.clone().unwrap_or_else(|| FromTeacher::spread(own, theirs));
            if layers.len() != own || layers.iter().any(|&layer| layer >= theirs) {
                bail!("`--layers` takes {own} numbers below {theirs}, one for each of the student's layers");
            }
            let source = FromTeacher::new(teacher.checkpoint()?, layers, args.seed);
            let taken = source.fitting(&config);
            if taken == 0 {
                bail!("no tensor of `{name}` has the name and shape of one of the student's: nothing could be taken");
            }
            (Trainee::new(config, Box::new(source), &Device::Cpu)?, taken)
        }
    };
    let files = FolderFiles { config: serde_json::to_string_pretty(model.config())?, ..vocabulary.files };
    files.write(&args.out, &model.state()?, |_| Stored::F32)?;
    let (all, totals) = (model.parameters().len(), Totals::of(model.config().parts()));
    say!("{} parameters in `{}`; {taken} of {all} tensors taken", count(totals.total), args.out.display());
    Ok(ExitCode::SUCCESS)
}
