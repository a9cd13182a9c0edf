//! Why an endpoint cannot be used, or cannot be used any further.

use std::path::PathBuf;

/// Errors of endpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the endpoint's address is not valid: {reason}")]
    Address { reason: &'static str },
    #[error("there is no dialect profile `{name}`; there are {known}")]
    UnknownProfile { name: String, known: String },
    #[error("the dialect profile `{path}` could not be read")]
    ProfileFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the dialect profile `{name}` is not valid")]
    Profile {
        name: String,
        #[source]
        source: toml::de::Error,
    },
    #[error("`endpoint.{setting}` is {found}; it takes {expected}")]
    Setting { setting: &'static str, found: String, expected: &'static str },
    #[error("the prompts could not be rendered")]
    Render(#[source] retort_model::Error),
    #[error("the sockets could not be set up")]
    Runtime(#[source] std::io::Error),
    #[error("{address} could not be reached: {reason}")]
    Unreachable { address: String, reason: String },
    #[error("{address} does not offer `{model}`; it offers {offered}")]
    NoModel { address: String, model: String, offered: String },
    #[error("{address} refuses access: {reason}")]
    Access {
        address: String,
        reason: String,
        /// Where the key stands that was sent, in words; `None` where none was.
        key: Option<String>,
    },
    #[error("{address} says that the account is used up: {reason}")]
    Quota { address: String, reason: String },
    #[error("{address} redirects to another address, which is not followed: {reason}")]
    Redirect { address: String, reason: String },
    #[error("{address} answered as `{found}` where `{expected}` was asked")]
    OtherModel { address: String, expected: String, found: String },
    #[error("{address} does not work as an endpoint: {reason}")]
    Unusable { address: String, reason: String },
    #[error("{failed} of the last {of} requests to {address} failed, the last one so: {reason}")]
    TooManyFailures { address: String, failed: usize, of: usize, reason: String },
    #[error("{address} answered nothing and refused {refused} requests, the last one so: {reason}")]
    AllRefused { address: String, refused: usize, reason: String },
    #[error("the results in `{path}` could not be read")]
    ResultsFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("line {line} of `{path}` is no result of a batch: {reason}")]
    ResultsLine { path: PathBuf, line: u64, reason: String },
    #[error("the money is used up: {reason}")]
    Money { reason: String },
}

impl Error {
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Address { .. } => {
                "give it as `http://host:port/v1`; a key goes into the environment or a file".into()
            }
            Self::UnknownProfile { .. } => "a profile of your own is a file whose name ends in `.toml`".into(),
            Self::Setting { setting, .. } => format!("change `endpoint.{setting}` in the recipe"),
            Self::Unreachable { .. } => "check the address, and whether the server runs".into(),
            Self::NoModel { .. } => "give one of those names with `--teacher-model`".into(),
            Self::Access { key: Some(place), .. } => {
                format!("the key was that in {place}: correct it and run the same command again; what was finished is stored")
            }
            Self::Access { key: None, .. } => {
                "no key was sent: set it in `RETORT_API_KEY` or in the variable that `--key-env` names, or give its file \
                 with `--key-file`; what was finished is stored"
                    .into()
            }
            Self::Quota { .. } => {
                "add to the account and run the same command again; it continues where it stopped".into()
            }
            Self::Redirect { .. } => "give the address that it redirects to, if it is to have the key".into(),
            Self::OtherModel { .. } => "name that model, or list it in `endpoint.answers_as` of the recipe".into(),
            Self::TooManyFailures { .. } => {
                "the model, the profile or the template does not fit; `attempts.jsonl` lists every attempt".into()
            }
            Self::AllRefused { .. } => {
                "the model, the profile or the settings do not fit, and nothing of it was stored: the same command asks \
                 again; `--set endpoint.max_failures=1` takes what a server refuses as its answer"
                    .into()
            }
            Self::ResultsLine { .. } => {
                "each line is `{\"custom_id\": \"...\", \"response\": {...}}`, as a batch API gives it back".into()
            }
            Self::Money { .. } => "run the same command again with a higher `--max-cost`; it continues".into(),
            _ => return None,
        })
    }

    /// Whether the same command continues once the user has seen to what stopped it.
    pub fn is_pause(&self) -> bool {
        matches!(self, Self::Access { .. } | Self::Quota { .. } | Self::Money { .. })
    }
}
