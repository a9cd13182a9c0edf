//! Opens what a user names: a model folder, `embedded`, `gym:...`, a file of problems.

use crate::architecture::Architecture;
use crate::hub;
use crate::placement::{Placed, Streamed};
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use candle_core::Device;
use retort_datagen::gym;
use retort_datagen::problem::Problem;
use retort_datagen::sources::{self, Columns, Reading, Selection};
use retort_model::Error;
use retort_model::cache::Precision;
use retort_model::chat::ChatTemplate;
use retort_model::checkpoint::{Checkpoint, fingerprint};
use retort_model::decoder::Decoder;
use retort_model::engine::{CacheSettings, Engine};
use retort_model::files::read_json;
use retort_model::folder::FolderFiles;
use retort_model::hub::{HubName, Want};
use retort_model::params::{Fresh, Source};
use retort_model::workers::Workers;
use retort_student::Trainee;
use retort_student::lora::{self, Adapter, LoraConfig, LoraSettings};
use std::path::{Path, PathBuf};

/// Sequences in flight: enough to keep two cores busy.
const SLOTS: usize = 128;

/// Which of the two embedded models `embedded` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    Teacher,
    Student,
}

/// A model of any family, generating.
pub type AnyEngine = Engine<Box<dyn Decoder>>;

/// A model's files before anything is built from them.
pub struct ModelFiles {
    pub name: String,
    pub files: FolderFiles,
    pub architecture: Architecture,
    weights: Weights,
    /// What other programs and later runs find the model under.
    reference: String,
    /// A folder with an adapter for it.
    adapter: Option<PathBuf>,
    /// The most memory that a run may take of what computes.
    memory: Option<usize>,
    /// What the model computes on.
    device: Device,
    /// Whether other models and a trainee are there, too.
    beside_others: bool,
}

enum Weights {
    Folder(PathBuf),
    Static(&'static [u8]),
}

impl ModelFiles {
    /// Opens a folder, a name on the hub or an embedded model; `role` says which of them a plain `embedded` means.
    pub fn open(name: &str, role: Embedded) -> Result<Self> {
        Self::fetch(name, role, Want::Everything)
    }

    /// The same without fetching weights from the hub; weights that are there already are used.
    pub fn look(name: &str, role: Embedded) -> Result<Self> {
        Self::fetch(name, role, Want::SmallFiles)
    }

    fn fetch(name: &str, role: Embedded, want: Want) -> Result<Self> {
        let embedded = match name {
            "embedded" => Some(role),
            "embedded-teacher" => Some(Embedded::Teacher),
            "embedded-student" => Some(Embedded::Student),
            _ => None,
        };
        if let Some(role) = embedded {
            let (name, reference, files, bytes) = match role {
                Embedded::Teacher => (
                    "embedded teacher",
                    "embedded-teacher",
                    retort_teacher::embedded::files(),
                    retort_teacher::embedded::WEIGHTS,
                ),
                Embedded::Student => (
                    "embedded student",
                    "embedded-student",
                    retort_student::embedded::files(),
                    retort_student::embedded::WEIGHTS,
                ),
            };
            return Self::new(name.into(), reference.into(), files, Weights::Static(bytes));
        }
        if let Some(name) = name.strip_prefix("hub:") {
            let name = HubName::parse(name).map_err(Error::from)?;
            let folder = hub::from_environment().folder(&name, want, &Progress::new())?;
            let reference = name.to_string();
            return Self::new(name.to_string(), reference, FolderFiles::open(&folder)?, Weights::Folder(folder));
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            bail!(
                "`{name}` is an address, and here the model's weights are needed: give a folder, `hub:org/name` or `embedded`"
            );
        }
        let folder = Path::new(name);
        if !folder.is_dir() {
            let hub = (name.contains('/') && HubName::parse(name).is_ok())
                .then(|| format!("; `hub:{name}` would fetch it from the hub"));
            let fault =
                if folder.exists() { "a file; a model is a folder with `config.json`" } else { "no folder here" };
            bail!("`{name}` is {fault}{}", hub.unwrap_or_default());
        }
        if folder.join(lora::CONFIG).is_file() && !folder.join("config.json").is_file() {
            return Self::adapted(folder, role, want);
        }
        let reference = folder.canonicalize().map_or(name.into(), |path| path.display().to_string());
        let shown = folder.file_name().map_or(name.into(), |last| last.to_string_lossy().into_owned());
        Self::new(shown, reference, FolderFiles::open(folder)?, Weights::Folder(folder.into()))
    }

    fn new(name: String, reference: String, files: FolderFiles, weights: Weights) -> Result<Self> {
        let architecture = Architecture::parse(&files.config, &files.origin.join("config.json"))?;
        Ok(Self {
            name,
            files,
            architecture,
            weights,
            reference,
            adapter: None,
            memory: None,
            device: Device::Cpu,
            beside_others: false,
        })
    }

    /// The base model that an adapter's folder names, with the adapter.
    fn adapted(folder: &Path, role: Embedded, want: Want) -> Result<Self> {
        let path = folder.join(lora::CONFIG);
        let config: LoraConfig = read_json(&path)?;
        let Some(base) = config.base_model_name_or_path.filter(|base| !base.is_empty()) else {
            bail!("`{}` names no base model; `retort model merge` takes it as `--base`", path.display());
        };
        // PEFT writes hub names as they are.
        let here = Path::new(&base).is_dir() || base.starts_with("embedded") || base.starts_with("hub:");
        let base = if here { base } else { format!("hub:{base}") };
        let model = Self::fetch(&base, role, want)
            .with_context(|| format!("the base model of the adapter `{}` could not be opened", folder.display()))?;
        Ok(model.with_adapter(folder))
    }

    /// The same model with the adapter in `folder`.
    pub fn with_adapter(self, folder: &Path) -> Self {
        let shown = folder.file_name().map_or(self.name.clone(), |last| last.to_string_lossy().into_owned());
        Self { name: shown, adapter: Some(folder.into()), ..self }
    }

    /// The model's adapter, where it has one.
    pub fn adapter(&self) -> Result<Option<Adapter>> {
        self.adapter.as_deref().map(|folder| self.architecture.adapter(folder)).transpose()
    }

    /// The same, to be run in no more than `memory` bytes.
    pub fn within(self, memory: Option<usize>) -> Self {
        Self { memory, ..self }
    }

    /// The same, to be run on `device`.
    pub fn on(self, device: &Device) -> Self {
        Self { device: device.clone(), ..self }
    }

    /// The same, to be run beside a model that is trained there.
    pub fn beside_others(self, beside_others: bool) -> Self {
        Self { beside_others, ..self }
    }

    /// What the model computes on.
    pub fn device(&self) -> &Device {
        &self.device
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

    /// The model ready to run, all of it where it computes.
    pub fn decoder(&self) -> Result<Box<dyn Decoder>> {
        self.architecture.decoder(self.checkpoint()?, self.adapter()?, &self.device)
    }

    /// The weights as they lie while the model runs.
    fn placed(&self) -> Result<Placed> {
        let checkpoint = self.checkpoint()?;
        match (self.device.is_cpu(), self.memory) {
            (true, Some(limit)) => Ok(Placed::within(limit, checkpoint)?),
            (true, None) => Ok(Placed::whole(checkpoint)),
            // What shares a GPU must not take all of it as it goes.
            (false, _) if self.beside_others => Ok(Placed::whole(checkpoint)),
            (false, limit) => {
                let bytes = self.architecture.device_bytes(&checkpoint, self.adapter()?.as_ref());
                Ok(Placed::on_gpu(&self.device, limit, checkpoint, bytes)?)
            }
        }
    }

    /// A student to be trained: all its weights; the adapter it has; or, with `lora`, a fresh adapter drawn from `seed`.
    pub fn trainee(&self, lora: Option<&LoraSettings>, seed: u64) -> Result<Trainee> {
        let config = retort_student::Config::parse(&self.files.config, &self.files.origin.join("config.json"))?;
        let checkpoint = self.checkpoint()?;
        let (settings, matrices): (LoraConfig, Box<dyn Source>) = match (self.adapter()?, lora) {
            (None, None) => return Ok(Trainee::new(config, Box::new(checkpoint), &self.device)?),
            (Some(adapter), None) => (adapter.config.clone(), Box::new(adapter)),
            (None, Some(settings)) => {
                let settings = LoraConfig::new(settings, &self.reference);
                let ranks = LoraConfig::ranks(&config);
                if !ranks.contains(&settings.r) {
                    let (rank, widest) = (settings.r, ranks.end());
                    bail!("`lora.rank` = {rank} is out of range: from 1 to the model's width, {widest}");
                }
                settings.check(&config, Path::new("[lora]"))?;
                (settings, Box::new(Fresh { seed }))
            }
            (Some(_), Some(_)) => {
                bail!("`{}` is an adapter and keeps its settings: leave `[lora]` out of the recipe", self.name)
            }
        };
        // Nothing is trained in the base, so it may stay in the bytes of its file.
        let base = Box::new(self.architecture.in_working_form(checkpoint));
        Ok(Trainee::with_lora(config, settings, base, matrices, &self.device)?)
    }

    /// The model with its tokenizer and its own template, generating.
    pub fn chat_engine(&self) -> Result<AnyEngine> {
        // A folder without weights says so first, whatever else it lacks.
        self.checkpoint()?;
        self.engine(self.files.template()?)
    }

    /// The model with its tokenizer, generating from prompts that `template` renders.
    pub fn engine(&self, template: ChatTemplate) -> Result<AnyEngine> {
        Ok(self.engine_and_stream(template)?.0)
    }

    /// The same, with what counts the weights that are not where they are multiplied.
    pub fn engine_and_stream(&self, template: ChatTemplate) -> Result<(AnyEngine, Option<Streamed>)> {
        let tokenizer = self.files.tokenizer()?;
        let eos = self.files.eos(&tokenizer, &template)?;
        let Placed { checkpoint, streamed, cache_bytes } = self.placed()?;
        let fingerprint = self.fingerprint(&checkpoint)?;
        let decoder = self.architecture.decoder(checkpoint, self.adapter()?, &self.device)?;
        let cache = CacheSettings { precision: Precision::beside(decoder.head()), bytes: cache_bytes };
        let engine = Engine {
            context: decoder.context_length(),
            decoder,
            eos,
            tokenizer,
            template,
            name: self.name.clone(),
            fingerprint,
            slots: SLOTS,
            cache,
            draft: false,
            draft_count: Default::default(),
            workers: self.workers()?,
        };
        Ok((engine, streamed))
    }

    /// Threads that work on it side by side.
    pub fn workers(&self) -> Result<Workers, Error> {
        Workers::beside(&self.device, self.architecture.totals().total as usize)
    }

    /// A hash over weights, tokenizer, template and config, and the adapter's weights and settings where there is one.
    pub fn fingerprint(&self, checkpoint: &Checkpoint) -> Result<String> {
        let weights = checkpoint.digest()?;
        let [config, vocabulary, tokenizer, generation, template] = self.files.small_files();
        let adapter = match self.adapter()? {
            Some(adapter) => Some(format!("{} {}", adapter.digest()?, serde_json::to_string(&adapter.config)?)),
            None => None,
        };
        let base = [config, vocabulary, tokenizer, generation, template, weights.as_bytes()];
        let parts: Vec<&[u8]> = base.into_iter().chain(adapter.as_deref().map(str::as_bytes)).collect();
        Ok(fingerprint(&parts))
    }
}

/// Whether `name` means generated problems.
pub fn is_gym(name: &str) -> bool {
    name == "gym" || name.starts_with("gym:") || name.starts_with("gym@")
}

/// Problems from the gym (`gym`, `gym:countdown@3`) or from a file or folder, which is read as `reading` says; of the gym
/// the side that `split` names.
pub fn problems(
    name: &str,
    split: gym::Split,
    seed: u64,
    reading: &Reading,
    limit: Option<usize>,
) -> Result<Vec<Problem>> {
    if !is_gym(name) {
        return Ok(sources::read(Path::new(name), reading, limit)?);
    }
    if reading.selection != Selection::default() || reading.columns != Columns::default() {
        bail!("`--config`, `--split` and `problems.*` are for files and folders, and `{name}` is generated");
    }
    let selection = gym::parse_spec(name)?.with(split, seed);
    let cells = selection.families.len() * selection.levels.len();
    let wanted = limit.unwrap_or(GYM_DEFAULT);
    let mut problems = gym::problems(&selection, wanted.div_ceil(cells.max(1)))?;
    problems.truncate(wanted);
    reading.put(&mut problems)?;
    Ok(problems)
}

/// Gym problems where no limit is given.
const GYM_DEFAULT: usize = 300;
