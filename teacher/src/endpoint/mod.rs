//! Teachers behind an OpenAI-compatible endpoint: vLLM, SGLang, DeepSeek's API, `retort serve`, and whoever speaks so.
//!
//! A request travels: `prompt.rs` puts it into the server's dialect (`profile.rs`), `pump.rs` sends it when `gate.rs` lets
//! it and the money is admitted, `transport.rs` carries it under its deadlines, `events.rs` and `answer.rs` read what comes
//! back, and `failure.rs` says what a failure means. `echo.rs` has given text scored. What is not certainly a whole answer is not a sample.

mod address;
mod answer;
mod attempt;
mod batch;
mod breaker;
mod echo;
mod error;
mod events;
mod failure;
mod gate;
mod key;
mod logprobs;
mod profile;
mod prompt;
mod pump;
mod settings;
mod transport;

pub use address::Address;
pub use batch::{Batch, Report, Results};
pub use error::Error;
pub use key::ApiKey;
pub use profile::{Finish, Profile};
pub use prompt::Renderer;
pub use settings::{Api, Settings};

use failure::{Class, Failure};
use pump::Pump;
use retort_model::generate::{Generate, GenerateError, Jobs};
use retort_model::observe::Observer;
use serde_json::Value;
use settings::Deadlines;
use std::sync::Arc;
use tokio::runtime::{Builder, Handle, Runtime};
use transport::Transport;

/// A model behind an address.
pub struct Endpoint<'a> {
    way: Arc<Way>,
    settings: Settings,
    renderer: Option<Renderer>,
    fingerprint: String,
    /// What the server says of it.
    context: Option<usize>,
    observer: &'a (dyn Observer + Sync),
    /// Runs the sockets; `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// What an attempt needs to know.
struct Way {
    transport: Transport,
    profile: Profile,
    model: String,
    answers_as: Vec<String>,
    api: Api,
}

impl<'a> Endpoint<'a> {
    /// Asks the server at `address` for its models and makes ready to use `model`.
    ///
    /// With a `renderer`, prompts are rendered here and sent to `/completions`, as token ids where the server takes them.
    pub fn open(
        address: &str,
        model: &str,
        key: Option<ApiKey>,
        settings: Settings,
        renderer: Option<Renderer>,
        observer: &'a (dyn Observer + Sync),
    ) -> Result<Self, Error> {
        settings.check()?;
        let address = Address::parse(address)?;
        let named = settings.profile.as_deref().map(Profile::find).transpose()?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Error::Runtime)?;
        let transport = Transport::new(address, key, Deadlines::of(&settings))?;
        let entry = match runtime.block_on(transport.models()) {
            Ok(body) => offered(&body, model, &transport)?,
            Err(failure) => unlisted(failure, &transport)?,
        };
        let profile = match named {
            Some(profile) => profile,
            None => Profile::of_owner(entry["owned_by"].as_str().unwrap_or_default())?,
        };
        let rendered = renderer.is_some() && profile.token_id_prompts;
        let api = settings.api.unwrap_or(if rendered { Api::Completions } else { Api::Chat });
        if api == Api::Completions && renderer.is_none() {
            let expected = "`completions` only with `--teacher-tokenizer`, which renders the prompts";
            return Err(Error::Setting { setting: "api", found: "completions".into(), expected });
        }
        if !profile.ignores.is_empty() {
            let ignored = profile.ignores.join(", ");
            observer.remark(&format!("`{}` takes these settings and does not heed them: {ignored}", profile.name));
        }
        let fingerprint = fingerprint(transport.address(), model, &profile, api, &settings);
        let answers_as = settings.answers_as.clone();
        let way = Arc::new(Way { transport, profile, model: model.into(), answers_as, api });
        let context = echo::context(&entry);
        Ok(Self { way, settings, renderer, fingerprint, context, observer, runtime: Some(runtime) })
    }

    /// The dialect that is spoken.
    pub fn profile(&self) -> &Profile {
        &self.way.profile
    }

    fn runtime(&self) -> &Handle {
        self.runtime.as_ref().expect("it is there until the endpoint is dropped").handle()
    }
}

impl Drop for Endpoint<'_> {
    fn drop(&mut self) {
        // Nothing waits for a name that does not resolve.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Generate for Endpoint<'_> {
    fn name(&self) -> &str {
        &self.way.model
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn is_reproducible(&self) -> bool {
        false
    }

    fn generate(&self, jobs: &mut dyn Jobs) -> Result<(), GenerateError> {
        Pump::new(self, jobs).run()
    }
}

/// The entry of `model` on a server whose list of models is `body`; an error where it is not on the list.
fn offered(body: &[u8], model: &str, transport: &Transport) -> Result<Value, Error> {
    let list: Value = serde_json::from_slice(body).unwrap_or_default();
    let entries = list["data"].as_array().map_or(&[][..], Vec::as_slice);
    let found = entries.iter().find(|entry| entry["id"] == model);
    if found.is_none() && !entries.is_empty() {
        const SHOWN: usize = 10;
        let names = entries.iter().filter_map(|entry| entry["id"].as_str()).take(SHOWN).collect::<Vec<_>>();
        let offered = names.iter().map(|name| format!("`{}`", transport.shown(name))).collect::<Vec<_>>().join(", ");
        return Err(Error::NoModel { address: transport.address().to_string(), model: model.into(), offered });
    }
    Ok(found.cloned().unwrap_or_default())
}

/// A server without a list of models may still answer; one that is not there or wants another key will not.
fn unlisted(failure: Failure, transport: &Transport) -> Result<Value, Error> {
    let (address, reason) = (transport.address().to_string(), failure.detail);
    match failure.class {
        Class::NotSent | Class::Away | Class::Broken => Err(Error::Unreachable { address, reason }),
        Class::Access => Err(Error::Access { address, reason, key: transport.key_place() }),
        Class::Quota => Err(Error::Quota { address, reason }),
        Class::Redirect => Err(Error::Redirect { address, reason }),
        Class::Unusable if !reason.starts_with("status") => Err(Error::Unusable { address, reason }),
        _ => Ok(Value::Null),
    }
}

/// A hash of whatever decides what the endpoint is asked, as far as it can be told from here.
fn fingerprint(address: &Address, model: &str, profile: &Profile, api: Api, settings: &Settings) -> String {
    let extra = Value::Object(settings.extra.clone()).to_string();
    let api = if api == Api::Chat { "chat" } else { "completions" };
    let mut hasher = blake3::Hasher::new_derive_key("retort endpoint v1");
    for part in [address.to_string().as_str(), model, &profile.name, api, &extra] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..16].into()
}
