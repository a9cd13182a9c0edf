//! Generators that a user names: a model to run here, or one behind an address; and what the latter may cost.

use crate::device::{On, Place};
use crate::open::{Embedded, ModelFiles};
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use clap::Args;
use retort_datagen::spend::{Budget, Money, PriceTable};
use retort_model::folder::FolderFiles;
use retort_model::generate::Generate;
use retort_model::score::Score;
use retort_model::tokenizer::Tokenizer;
use retort_teacher::endpoint::{Api, ApiKey, Endpoint, Renderer, Settings};
use std::path::{Path, PathBuf};

/// Options for a model behind an address.
#[derive(Debug, Args)]
#[command(next_help_heading = "Endpoints (a URL in place of a model)")]
pub struct EndpointArgs {
    /// The model's name at the endpoint
    #[arg(long, visible_alias = "model-name", value_name = "NAME")]
    pub teacher_model: Option<String>,
    /// Model folder or `hub:org/name` whose tokenizer and template render the prompts here
    #[arg(long, value_name = "DIR")]
    pub teacher_tokenizer: Option<String>,
    /// The environment variable that holds the API key; without it, `RETORT_API_KEY` where that is set
    #[arg(long, value_name = "NAME", conflicts_with = "key_file")]
    pub key_env: Option<String>,
    /// A file that holds the API key
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// What tokens cost, a TOML file: `currency`, and `[[price]]` with `model`, `input`, `output` per million tokens
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Never spend more, in the currency of the prices
    #[arg(long, value_name = "AMOUNT", requires = "prices", value_parser = amount)]
    pub max_cost: Option<Money>,
}

fn amount(text: &str) -> Result<Money, String> {
    text.parse().ok().and_then(Money::of).ok_or_else(|| "an amount from 0 to 1000000, such as `2.50`".into())
}

/// A model that is asked what it makes of given text.
pub struct Scoring<'a> {
    /// As the user names it.
    pub name: String,
    pub model: Box<dyn Score + Sync + 'a>,
    /// Its tokenizer and chat template.
    pub files: FolderFiles,
}

impl Scoring<'_> {
    /// The token that `tokenizer`, the model's own, has its texts begin with.
    pub fn bos(&self, tokenizer: &Tokenizer) -> Result<Option<u32>> {
        let template = self.files.raw_template(true)?;
        let unknown = |token: &str| format!("the tokenizer of `{}` has no token `{token}`", self.name);
        template.bos().map(|token| tokenizer.id(token).with_context(|| unknown(token))).transpose()
    }
}

/// Where and within what a model runs that is no endpoint.
#[derive(Debug, Clone, Copy, Default)]
pub struct Here {
    pub place: Place,
    /// Whether a student is trained there, too.
    pub beside_student: bool,
}

impl Here {
    /// For a teacher `name` beside a student on this device, which says nothing to an endpoint.
    pub fn beside_student(on: On, name: &str) -> Self {
        if is_address(name) {
            Self::default()
        } else {
            Self { place: Place { on, memory: None }, beside_student: true }
        }
    }
}

/// Whether `name` is an address.
fn is_address(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://")
}

impl EndpointArgs {
    /// What may be spent.
    pub fn budget(&self) -> Result<Budget> {
        let Some(path) = &self.prices else { return Ok(Budget::default()) };
        let prices: PriceTable =
            crate::recipe::read(path, &[]).with_context(|| format!("the prices in `{}`", path.display()))?;
        Ok(Budget { prices: Some(prices), max_cost: self.max_cost })
    }

    /// The model called `name`, running `here` or asked at its address, in its own chat template.
    pub fn open<'a>(
        &self,
        name: &str,
        settings: Option<&Settings>,
        here: Here,
        observer: &'a Progress,
    ) -> Result<Box<dyn Generate + 'a>> {
        if !is_address(name) {
            return Ok(Box::new(self.local(name, settings, here)?.chat_engine()?));
        }
        let renderer = match self.tokenizer_files()? {
            None => None,
            Some(files) => Some(Renderer { template: files.template()?, tokenizer: files.tokenizer()? }),
        };
        Ok(Box::new(self.remote(name, settings, here, renderer, observer)?))
    }

    /// The same for prompts that are given as they are, behind BOS or not.
    pub fn open_raw<'a>(
        &self,
        name: &str,
        settings: Option<&Settings>,
        here: Here,
        bos: bool,
        observer: &'a Progress,
    ) -> Result<Box<dyn Generate + 'a>> {
        if !is_address(name) {
            let model = self.local(name, settings, here)?;
            return Ok(Box::new(model.engine(model.files.raw_template(bos)?)?));
        }
        let files = self.needed_tokenizer_files(name)?;
        let renderer = Renderer { template: files.raw_template(bos)?, tokenizer: files.tokenizer()? };
        let settings = Settings { api: Some(Api::Completions), ..settings.cloned().unwrap_or_default() };
        Ok(Box::new(self.remote(name, Some(&settings), here, Some(renderer), observer)?))
    }

    /// The model called `name` to be asked about given text, in tokens.
    pub fn scoring<'a>(&self, name: &str, here: Here, observer: &'a Progress) -> Result<Scoring<'a>> {
        if !is_address(name) {
            let model = self.local(name, None, here)?;
            let engine = model.engine(model.files.raw_template(false)?)?;
            return Ok(Scoring { name: model.name, model: Box::new(engine), files: model.files });
        }
        if self.prices.is_some() {
            bail!("`--prices` is for answers that are written: log-likelihoods are counted by nobody");
        }
        let files = self.needed_tokenizer_files(name)?;
        let model = self.remote(name, None, here, None, observer)?;
        Ok(Scoring { name: name.into(), model: Box::new(model), files })
    }

    /// Refuses every option where `name` is the only model.
    pub fn refuse(&self, name: &str) -> Result<()> {
        self.refuse_all(name, None)
    }

    fn remote<'a>(
        &self,
        name: &str,
        settings: Option<&Settings>,
        here: Here,
        renderer: Option<Renderer>,
        observer: &'a Progress,
    ) -> Result<Endpoint<'a>> {
        let given = [("--memory", here.place.memory.is_some()), ("--device", here.place.on.device.is_some())];
        if let Some((flag, _)) = given.into_iter().find(|(_, given)| *given) {
            bail!("`{flag}` is for a model that runs here, and `{name}` is an address");
        }
        let Some(model) = &self.teacher_model else {
            bail!("an endpoint needs the model's name: `--teacher-model NAME`");
        };
        let settings = settings.cloned().unwrap_or_default();
        Ok(Endpoint::open(name, model, self.key()?, settings, renderer, observer)?)
    }

    fn tokenizer_files(&self) -> Result<Option<FolderFiles>> {
        let look = |name: &String| Ok(ModelFiles::look(name, Embedded::Teacher)?.files);
        self.teacher_tokenizer.as_ref().map(look).transpose()
    }

    fn needed_tokenizer_files(&self, name: &str) -> Result<FolderFiles> {
        self.tokenizer_files()?.with_context(|| {
            format!("what `{name}` reads goes there as tokens: name the model's folder by `--teacher-tokenizer`")
        })
    }

    /// The model called `name`, which is one to run `here`.
    fn local(&self, name: &str, settings: Option<&Settings>, here: Here) -> Result<ModelFiles> {
        self.refuse_all(name, settings)?;
        let device = here.place.on.open()?;
        Ok(ModelFiles::open(name, Embedded::Teacher)?
            .within(here.place.memory)
            .on(&device)
            .beside_others(here.beside_student))
    }

    /// A setting that would be ignored is an error.
    fn refuse_all(&self, name: &str, settings: Option<&Settings>) -> Result<()> {
        let Self { teacher_model, teacher_tokenizer, key_env, key_file, prices, max_cost } = self;
        let given = [
            ("--teacher-model", teacher_model.is_some()),
            ("--teacher-tokenizer", teacher_tokenizer.is_some()),
            ("--key-env", key_env.is_some()),
            ("--key-file", key_file.is_some()),
            ("--prices", prices.is_some()),
            ("--max-cost", max_cost.is_some()),
            ("endpoint", settings.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((setting, _)) => bail!("`{setting}` is for an endpoint, and `{name}` is a model that runs here"),
            None => Ok(()),
        }
    }

    fn key(&self) -> Result<Option<ApiKey>> {
        key(self.key_file.as_deref(), self.key_env.as_deref())
    }
}

/// The variable that is looked at where none is named.
const KEY_ENV: &str = "RETORT_API_KEY";

/// The key in a file, or in an environment variable, or none. Never a part of the command line, which others can see.
pub fn key(file: Option<&Path>, variable: Option<&str>) -> Result<Option<ApiKey>> {
    let Some(text) = key_text(file, variable)? else { return Ok(None) };
    let variable = variable.unwrap_or(KEY_ENV);
    let place = file.map_or_else(|| format!("the variable `{variable}`"), |file| format!("`{}`", file.display()));
    match ApiKey::new(&text, &place) {
        Some(key) => Ok(Some(key)),
        None => bail!("{place} holds no API key: it takes printable ASCII characters without spaces"),
    }
}

/// The same as text. A variable that is named must hold something.
pub fn key_text(file: Option<&Path>, variable: Option<&str>) -> Result<Option<String>> {
    if let Some(path) = file {
        let text = std::fs::read_to_string(path);
        return Ok(Some(text.with_context(|| format!("the key file `{}` could not be read", path.display()))?));
    }
    let found = std::env::var(variable.unwrap_or(KEY_ENV)).ok().filter(|text| !text.trim().is_empty());
    match (found, variable) {
        (None, Some(variable)) => bail!("`--key-env {variable}`: the variable `{variable}` is not set, or is empty"),
        (found, _) => Ok(found),
    }
}
