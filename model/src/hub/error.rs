//! Why a model could not be fetched.

use std::path::PathBuf;

/// Errors of the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    #[error("`hub:{name}` is not the name of a model")]
    Name { name: String },
    #[error("`{endpoint}` gives no usable answer: {reason}")]
    NoAnswer { endpoint: String, reason: String },
    #[error("`{name}` is not in the cache, and the network may not be asked")]
    NotCached { name: String },
    #[error("access to `{name}` was refused (status {status})")]
    Refused { name: String, status: u16 },
    #[error("the hub knows no `{name}`")]
    Unknown { name: String },
    #[error("`{name}` has no `config.json`")]
    NoModel { name: String },
    #[error("`{url}` answered what was not expected: {reason}")]
    Answer { url: String, reason: String },
    #[error("`{file}` arrived damaged: {reason}")]
    Damaged { file: String, reason: String },
    #[error("another process is writing `{path}`")]
    Busy { path: PathBuf },
    #[error("the download was interrupted")]
    Interrupted,
    #[error("`{path}` could not be {action}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl HubError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Name { .. } => "write `hub:org/name`, or `hub:org/name@revision` for a branch, tag or commit",
            Self::NoAnswer { .. } => {
                "check the network or try again later, point `HF_ENDPOINT` at a mirror, or copy the model's folder here and give its path"
            }
            Self::NotCached { .. } => "unset `HF_HUB_OFFLINE`, or copy the model's folder here and give its path",
            Self::Refused { .. } => {
                "it is private or gated: accept its conditions on its page and set `HF_TOKEN` to a token that may read it"
            }
            Self::Unknown { .. } => "check the spelling; a private model is unknown to those without `HF_TOKEN`",
            Self::NoModel { .. } => "it may hold an adapter, GGUF files or a dataset: name the model itself",
            Self::Answer { .. } => "if `HF_ENDPOINT` is set, check that it names a hub",
            Self::Damaged { .. } => "run the command again; what arrived was thrown away",
            Self::Busy { .. } => "wait for it to end and run the command again",
            Self::Interrupted => "run the command again to continue",
            Self::Io { .. } => return None,
        };
        Some(hint.into())
    }
}
