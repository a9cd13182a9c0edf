//! Opens what a user names: a model folder, `embedded`, `gym:...`, a file of problems.

use anyhow::{Context, Result, bail};
use candle_core::Device;
use retort_datagen::problem::Problem;
use retort_datagen::{gym, sources};
use retort_model::checkpoint::{Checkpoint, fingerprint};
use retort_model::decoder::Decoder;
use retort_model::engine::Engine;
use retort_model::folder::FolderFiles;
use retort_model::params::frozen;
use retort_model::workers::Workers;
use retort_student::Dense;
use retort_teacher::DeepSeek;
use retort_teacher::weights::Published;
use std::collections::BTreeMap;
use std::path::Path;

/// Sequences in flight: enough to keep two cores busy, few enough for the caches of a small machine.
const SLOTS: usize = 128;

/// The most memory for caches; a long context gets fewer slots.
const CACHE_BYTES: usize = 2 << 30;

/// Models with more parameters are computed from the bytes of their files; smaller ones are faster in f32, and cost little.
const WIDENED_PARAMETERS: u64 = 100_000_000;

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
    weights: Weights,
}

enum Weights {
    Folder(std::path::PathBuf),
    Static(&'static [u8]),
}

/// Sizes of a model's weights.
#[derive(Debug, Default)]
pub struct Parameters {
    pub total: u64,
    /// Parameters that one token goes through; a multi-token-prediction module counts in full.
    pub active: u64,
    pub bytes: u64,
    /// Parameters by the type they are stored in.
    pub dtypes: BTreeMap<String, u64>,
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
            return Ok(Self { name: name.into(), files, weights: Weights::Static(bytes) });
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
        Ok(Self { name: shown, files, weights: Weights::Folder(folder.into()) })
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        Ok(match &self.weights {
            Weights::Folder(folder) => Checkpoint::open(folder)?,
            Weights::Static(bytes) => Checkpoint::embedded(bytes, &self.name)?,
        })
    }

    /// `model_type` of the config.
    pub fn model_type(&self) -> Result<String> {
        let config: serde_json::Value = serde_json::from_str(&self.files.config)
            .with_context(|| format!("`{}/config.json` is not JSON", self.files.origin.display()))?;
        match config.get("model_type").and_then(serde_json::Value::as_str) {
            Some(model_type) => Ok(model_type.into()),
            None => bail!("`{}/config.json` has no `model_type`", self.files.origin.display()),
        }
    }

    fn config_path(&self) -> std::path::PathBuf {
        self.files.origin.join("config.json")
    }

    /// The model ready to run.
    pub fn decoder(&self) -> Result<Box<dyn Decoder>> {
        let mut checkpoint = self.checkpoint()?;
        if self.parameters()?.total > WIDENED_PARAMETERS {
            checkpoint = checkpoint.in_stored_form();
        }
        Ok(match self.model_type()?.as_str() {
            "deepseek_v2" | "deepseek_v3" | "kimi_k2" => {
                let config = retort_teacher::Config::parse(&self.files.config, &self.config_path())?;
                let source = Box::new(Published(checkpoint));
                Box::new(frozen(source, &Device::Cpu, |params| DeepSeek::new(config, params))?)
            }
            "llama" | "qwen2" => {
                let config = retort_student::Config::parse(&self.files.config, &self.config_path())?;
                Box::new(frozen(Box::new(checkpoint), &Device::Cpu, |params| Dense::new(config, params))?)
            }
            other => bail!("models of type `{other}` are not supported"),
        })
    }

    /// A student whose weights can be trained.
    pub fn trainee(&self) -> Result<retort_student::Trainee> {
        let config = retort_student::Config::parse(&self.files.config, &self.config_path())?;
        Ok(retort_student::Trainee::new(config, Box::new(self.checkpoint()?), &Device::Cpu)?)
    }

    /// The model with tokenizer and template, generating.
    pub fn engine(&self) -> Result<Engine<Box<dyn Decoder>>> {
        let tokenizer = self.files.tokenizer()?;
        let template = self.files.template()?;
        let eos = self.files.eos(&tokenizer, &template)?;
        let decoder = self.decoder()?;
        // f32 numbers for every slot and position.
        let slot_bytes = 4 * decoder.cache_spec().elements_per_token() * decoder.context_length();
        Ok(Engine {
            decoder,
            eos,
            tokenizer,
            template,
            name: self.name.clone(),
            fingerprint: self.fingerprint()?,
            slots: (CACHE_BYTES / slot_bytes.max(1)).clamp(1, SLOTS),
            workers: Workers::for_model(self.parameters()?.total as usize)?,
        })
    }

    /// How many parameters the weights hold, and how many of them a token uses.
    pub fn parameters(&self) -> Result<Parameters> {
        let checkpoint = self.checkpoint()?;
        let mut found = Parameters::default();
        // A token goes through `num_experts_per_tok` of `n_routed_experts` experts of each layer.
        let config: serde_json::Value = serde_json::from_str(&self.files.config)?;
        let number = |field: &str| config.get(field).and_then(serde_json::Value::as_u64);
        let (used, experts) = (number("num_experts_per_tok").unwrap_or(1), number("n_routed_experts").unwrap_or(1));
        let mut routed = 0;
        for name in checkpoint.names().filter(|name| !name.ends_with("_scale_inv")) {
            let count = checkpoint.shape(name).unwrap_or_default().iter().product::<usize>() as u64;
            found.total += count;
            if name.contains(".mlp.experts.") {
                routed += count;
            }
            *found.dtypes.entry(checkpoint.dtype(name).unwrap_or_default()).or_default() += count;
        }
        found.active = found.total - routed + routed * used / experts.max(1);
        found.bytes = checkpoint.bytes() as u64;
        Ok(found)
    }

    /// A hash over weights, tokenizer, template and config.
    pub fn fingerprint(&self) -> Result<String> {
        let FolderFiles { config, tokenizer, tokenizer_config, generation_config, .. } = &self.files;
        let small = [config, tokenizer, tokenizer_config, generation_config].map(String::as_bytes);
        Ok(fingerprint(&[&small.concat(), self.checkpoint()?.digest().as_bytes()]))
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
