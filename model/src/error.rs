//! Why a model could not be read, built, run or written.

use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("`{path}` could not be {action}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` is not the JSON expected here")]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("`{folder}` holds neither `model.safetensors` nor `model.safetensors.index.json`")]
    NoWeights { folder: PathBuf },
    #[error("`{path}` is not a valid safetensors file: {reason}")]
    Safetensors { path: PathBuf, reason: String },
    #[error("tensor `{name}` stands in both `{path}` and `{other}`")]
    DuplicateTensor { name: String, path: PathBuf, other: PathBuf },
    #[error("tensor `{name}` is missing from `{path}`")]
    MissingTensor { name: String, path: PathBuf },
    #[error("tensor `{name}` in `{path}` has shape {found:?}, the model needs {expected:?}")]
    TensorShape { name: String, path: PathBuf, expected: Vec<usize>, found: Vec<usize> },
    #[error("tensor `{name}` in `{path}` has type {found}, which is not supported")]
    TensorType { name: String, path: PathBuf, found: String },
    #[error("tensor `{name}` in `{path}` holds a number that is not finite, at element {at}")]
    NotFinite { name: String, path: PathBuf, at: usize },
    #[error("the index in `{folder}` points outside the folder: `{file}`")]
    ShardPath { folder: PathBuf, file: String },
    #[error("`{field}` = {value} in `{path}` is not supported")]
    Unsupported { field: String, value: String, path: PathBuf },
    #[error("the tokenizer `{path}` {reason}")]
    Tokenizer { path: PathBuf, reason: String },
    #[error("the chat template of `{model}` failed: {reason}")]
    Template { model: String, reason: String },
    #[error("the model computed a logit of {value}")]
    LogitNotFinite { value: f32 },
    #[error("worker threads could not be started: {0}")]
    Threads(String),
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoWeights { .. } => {
                Some("point at a folder with safetensors weights; pickle files (`.bin`, `.pt`) are not read because loading them runs code".into())
            }
            Self::Safetensors { .. } | Self::NotFinite { .. } => {
                Some("the file is damaged or incomplete: copy or download it again".into())
            }
            Self::MissingTensor { .. } | Self::TensorShape { .. } => {
                Some("`config.json` and the weights belong to different models, or the download is incomplete".into())
            }
            Self::LogitNotFinite { .. } => {
                Some("its weights or its `config.json` are damaged: compare them with where they came from".into())
            }
            _ => None,
        }
    }
}
