//! Opens what a user names: a model folder, `embedded`, `gym:...`, a file of problems.

use crate::architecture::Architecture;
use anyhow::{Result, bail};
use candle_core::Device;
use retort_datagen::problem::Problem;
use retort_datagen::{gym, sources};
use retort_model::Error;
use retort_model::chat::ChatTemplate;
use retort_model::checkpoint::{Checkpoint, fingerprint};
use retort_model::decoder::Decoder;
use retort_model::engine::Engine;
use retort_model::folder::FolderFiles;
use retort_model::workers::Workers;
use std::path::Path;

/// Sequences in flight: enough to keep two cores busy, few enough for the caches of a small machine.
const SLOTS: usize = 128;

/// The most memory for caches; a long context gets fewer slots.
const CACHE_BYTES: usize = 2 << 30;

/// Which of the two embedded models `embedded` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    Teacher,
    Student,
}

/// A model's files before anything is built from them.
pub struct ModelFiles {
    pub name: String,
    pub files: FolderFiles,
    pub architecture: Architecture,
    weights: Weights,
}

enum Weights {
    Folder(std::path::PathBuf),
    Static(&'static [u8]),
}

impl ModelFiles {
    /// Opens a folder or an embedded model; `role` says which of them a plain `embedded` means.
    pub fn open(name: &str, role: Embedded) -> Result<Self> {
        let embedded = match name {
            "embedded" => Some(role),
            "embedded-teacher" => Some(Embedded::Teacher),
            "embedded-student" => Some(Embedded::Student),
            _ => None,
        };
        if let Some(role) = embedded {
            let (name, files, bytes) = match role {
                Embedded::Teacher => {
                    ("embedded teacher", retort_teacher::embedded::files(), retort_teacher::embedded::WEIGHTS)
                }
                Embedded::Student => {
                    ("embedded student", retort_student::embedded::files(), retort_student::embedded::WEIGHTS)
                }
            };
            return Self::new(name.into(), files, Weights::Static(bytes));
        }
        for (scheme, what) in [("hub:", "hub names"), ("http://", "endpoints"), ("https://", "endpoints")] {
            if name.starts_with(scheme) {
                bail!("{what} such as `{name}` are not supported yet; give a folder, `embedded` or `embedded-student`");
            }
        }
        let folder = Path::new(name);
        if !folder.is_dir() {
            bail!("`{name}` is not a model folder");
        }
        let files = FolderFiles::open(folder)?;
        let shown = folder.file_name().map_or(name.into(), |last| last.to_string_lossy().into_owned());
        Self::new(shown, files, Weights::Folder(folder.into()))
    }

    fn new(name: String, files: FolderFiles, weights: Weights) -> Result<Self> {
        let architecture = Architecture::parse(&files.config, &files.origin.join("config.json"))?;
        Ok(Self { name, files, architecture, weights })
    }

    /// The weights, held against the config.
    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        let checkpoint = match &self.weights {
            Weights::Folder(folder) => Checkpoint::open(folder)?,
            Weights::Static(bytes) => Checkpoint::embedded(*bytes, &self.name)?,
        };
        self.architecture.check(&checkpoint)?;
        Ok(checkpoint)
    }

    /// The weights, or none where the folder has only the small files.
    pub fn checkpoint_if_any(&self) -> Result<Option<Checkpoint>, Error> {
        match self.checkpoint() {
            Err(Error::NoWeights { .. }) => Ok(None),
            checkpoint => checkpoint.map(Some),
        }
    }

    /// The model ready to run.
    pub fn decoder(&self) -> Result<Box<dyn Decoder>> {
        self.architecture.decoder(self.checkpoint()?)
    }

    /// A student whose weights can be trained.
    pub fn trainee(&self) -> Result<retort_student::Trainee> {
        let config = retort_student::Config::parse(&self.files.config, &self.files.origin.join("config.json"))?;
        Ok(retort_student::Trainee::new(config, Box::new(self.checkpoint()?), &Device::Cpu)?)
    }

    /// The model with its tokenizer and its own template, generating.
    pub fn chat_engine(&self) -> Result<Engine<Box<dyn Decoder>>> {
        self.engine(self.files.template()?)
    }

    /// The model with its tokenizer, generating from prompts that `template` renders.
    pub fn engine(&self, template: ChatTemplate) -> Result<Engine<Box<dyn Decoder>>> {
        let tokenizer = self.files.tokenizer()?;
        let eos = self.files.eos(&tokenizer, &template)?;
        let checkpoint = self.checkpoint()?;
        let fingerprint = self.fingerprint(&checkpoint);
        let decoder = self.architecture.decoder(checkpoint)?;
        // f32 numbers for every slot and position.
        let slot_bytes = 4 * decoder.cache_spec().elements_per_token() * decoder.context_length();
        Ok(Engine {
            decoder,
            eos,
            tokenizer,
            template,
            name: self.name.clone(),
            fingerprint,
            slots: (CACHE_BYTES / slot_bytes.max(1)).clamp(1, SLOTS),
            workers: Workers::for_model(self.architecture.totals().total as usize)?,
        })
    }

    /// A hash over weights, tokenizer, template and config.
    pub fn fingerprint(&self, checkpoint: &Checkpoint) -> String {
        fingerprint(&[&self.files.small_files(), checkpoint.digest().as_bytes()])
    }
}

/// Whether `name` means generated problems.
pub fn is_gym(name: &str) -> bool {
    name == "gym" || name.starts_with("gym:") || name.starts_with("gym@")
}

/// Problems from the gym (`gym`, `gym:countdown@3`) or from a file; the held-out side of the gym unless `train`.
pub fn problems(name: &str, split: gym::Split, seed: u64, limit: Option<usize>) -> Result<Vec<Problem>> {
    if is_gym(name) {
        let selection = gym::parse_spec(name)?.with(split, seed);
        let cells = selection.families.len() * selection.levels.len();
        let wanted = limit.unwrap_or(GYM_DEFAULT);
        let mut problems = gym::problems(&selection, wanted.div_ceil(cells.max(1)))?;
        problems.truncate(wanted);
        return Ok(problems);
    }
    Ok(sources::read(Path::new(name), limit)?)
}

/// Gym problems where no limit is given.
const GYM_DEFAULT: usize = 300;
