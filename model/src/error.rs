//! Why a model could not be read, built, run or written.

use candle_core::Device;
use retort_kernels::device::{Memory, is_out_of_memory, memory, operation};
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
    #[error("`{path}` is not the JSON expected here{}", if place == "." { String::new() } else { format!(": `{place}`") })]
    Json {
        path: PathBuf,
        /// The field, `.` where it is the whole.
        place: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("`{folder}` holds neither `model.safetensors` nor `model.safetensors.index.json`")]
    NoWeights { folder: PathBuf },
    #[error("`{path}` holds pickled weights, and nothing beside it in safetensors")]
    Pickle { path: PathBuf },
    #[error("`{path}` is not a valid safetensors file: {reason}")]
    Safetensors { path: PathBuf, reason: String },
    #[error("tensor `{name}` stands in both `{path}` and `{other}`")]
    DuplicateTensor { name: String, path: PathBuf, other: PathBuf },
    #[error("tensor `{name}` is missing from `{path}`")]
    MissingTensor { name: String, path: PathBuf },
    #[error("tensor `{name}` in `{path}` is none of the model's")]
    ExtraTensor { name: String, path: PathBuf },
    #[error("tensor `{name}` in `{path}` has shape {found:?}, the model needs {expected:?}")]
    TensorShape { name: String, path: PathBuf, expected: Vec<usize>, found: Vec<usize> },
    #[error("tensor `{name}` in `{path}` has type {found}, which is not supported")]
    TensorType { name: String, path: PathBuf, found: String },
    #[error("tensor `{name}` in `{path}` holds a number that is not finite, at element {at}")]
    NotFinite { name: String, path: PathBuf, at: usize },
    #[error("tensor `{name}` holds {value:e} at element {at}, too large for {format}: `{path}` was not written")]
    TooLarge { name: String, path: PathBuf, at: usize, value: f32, format: &'static str },
    #[error("`{index}` puts tensor `{name}` into {fault}")]
    Index { index: PathBuf, name: String, fault: String },
    #[error("`{index}` lists no tensors")]
    EmptyIndex { index: PathBuf },
    #[error("`{field}` = {value} in `{path}` is not supported")]
    Unsupported { field: String, value: String, path: PathBuf },
    #[error("`{path}` says nothing of `{field}`")]
    MissingField { field: &'static str, path: PathBuf },
    #[error("`{path}` has an `lm_head.weight` of its own, and `config.json` ties the head to the embedding")]
    HeadNotTied { path: PathBuf },
    #[error("`{folder}` holds neither `tokenizer.json` nor `tiktoken.model`")]
    NoTokenizer { folder: PathBuf },
    #[error("the tokenizer `{path}` {reason}")]
    Tokenizer { path: PathBuf, reason: String },
    #[error("`{model}` has no chat template: neither `chat_template.jinja` nor one in `tokenizer_config.json`")]
    NoTemplate { model: String },
    #[error("the chat template of `{model}` failed: {reason}")]
    Template { model: String, reason: String },
    #[error("the model computed a logit of {value}")]
    LogitNotFinite { value: f32 },
    #[error("it was interrupted")]
    Interrupted,
    #[error("`{path}` is no file")]
    NoFile { path: PathBuf },
    #[error("`{path}` has {bytes} bytes, more than any file of its kind")]
    TooLong { path: PathBuf, bytes: u64 },
    #[error("the tokenizer of `{model}` gave the token {token}, and the model has {vocabulary}")]
    OtherVocabulary { model: String, token: u32, vocabulary: usize },
    #[error("worker threads could not be started: {0}")]
    Threads(String),
    #[error("{} MiB of memory are too few: this model needs {} MiB", memory >> 20, needed.div_ceil(1 << 20))]
    Memory { memory: usize, needed: usize, has_experts: bool },
    #[error("the GPU has no memory left for {what}: {} of its {} MiB are in use", used >> 20, total >> 20)]
    DeviceMemory { what: String, used: usize, total: usize, remedy: &'static str },
    #[error("{} MiB of a GPU's memory are too few: this model needs {} MiB", limit >> 20, needed.div_ceil(1 << 20))]
    DeviceRoom { limit: usize, needed: usize },
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// The same error; where a GPU ran out of memory, with what it was for and what would lower that.
    pub fn of_memory(self, device: &Device, what: impl FnOnce() -> String, remedy: &'static str) -> Self {
        let Self::Tensor(error) = &self else { return self };
        if !is_out_of_memory(error) {
            return self;
        }
        let what = match operation(error) {
            Some(operation) => format!("{operation} ({})", what()),
            None => what(),
        };
        let Memory { used, total } = memory(device).unwrap_or_default();
        Self::DeviceMemory { what, used, total, remedy }
    }
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTemplate { .. } => {
                Some("a base model completes text: `retort model generate --raw` gives it the prompt as it is".into())
            }
            Self::NoTokenizer { .. } => {
                Some("copy it from where the model came from; `retort model logits` takes token ids and needs none".into())
            }
            Self::MissingField { .. } => Some("take the file as it was published; what silence means differs".into()),
            Self::Unsupported { .. } => Some(
                "what runs: DeepSeek V2 and V3 with their kin (R1, Moonlight, Kimi-K2), Llama, SmolLM2, Qwen2 and Qwen3, \
                 as published; a setting that is not followed would make another model of it"
                    .into(),
            ),
            Self::HeadNotTied { .. } => {
                Some("set `tie_word_embeddings` to false where the head was trained, or leave the tensor out".into())
            }
            Self::NoWeights { .. } => Some("point at a folder with safetensors weights".into()),
            Self::Pickle { .. } => {
                Some("loading a pickle runs code, so none is read: convert it with `transformers` (`save_pretrained` writes safetensors)".into())
            }
            Self::Safetensors { .. } | Self::NotFinite { .. } | Self::Index { .. } | Self::EmptyIndex { .. } => {
                Some("the file is damaged or incomplete: copy or download it again".into())
            }
            Self::OtherVocabulary { .. } => Some("tokenizer and weights belong to different models".into()),
            Self::MissingTensor { .. } | Self::ExtraTensor { .. } | Self::TensorShape { .. } => {
                Some("`config.json` and the weights belong to different models, or the download is incomplete".into())
            }
            Self::LogitNotFinite { .. } => {
                Some("its weights or its `config.json` are damaged: compare them with where they came from".into())
            }
            Self::TooLarge { .. } => {
                Some("write it as bf16 or f32, and look at this tensor: sound weights are far smaller".into())
            }
            Self::Memory { has_experts: true, .. } => {
                Some("raise `--memory`; experts may stay on disk, everything else may not".into())
            }
            Self::Memory { has_experts: false, .. } => {
                Some(
                    "raise `--memory`; weights can be packed (`retort model convert --to q4`), cache and working room not"
                        .into(),
                )
            }
            Self::DeviceRoom { .. } => Some(
                "end other programs on that GPU, raise `--memory` where it was given, pack the weights (`retort model convert \
                 --to q4`; f32 cannot stay with the host), or compute it by `--device cpu`"
                    .into(),
            ),
            Self::DeviceMemory { remedy, .. } => Some((*remedy).into()),
            Self::Hub(error) => error.hint(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_a_gpus_memory_says_for_what_and_what_to_do() {
        let error = |text: &str| Error::Tensor(candle_core::Error::Cuda(text.into()));
        let named = |error: Error| error.of_memory(&Device::Cpu, || "the weight `w`".into(), "take a smaller model");
        let full = named(error("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")"));
        assert!(full.to_string().contains("no memory left for the weight `w`"), "{full}");
        assert_eq!(full.hint().as_deref(), Some("take a smaller model"));
        assert!(matches!(named(error("DriverError(CUDA_ERROR_INVALID_VALUE)")), Error::Tensor(_)));
        assert!(matches!(named(Error::Interrupted), Error::Interrupted));
    }
}
