//! A model folder in Hugging Face's layout: everything beside the weights that it takes to use a model.

use crate::Error;
use crate::chat::{ChatTemplate, TokenizerConfig};
use crate::checkpoint::{Stored, write_bytes, write_tensors};
use crate::files::{parse_json, read_text};
use crate::tokenizer::Tokenizer;
use candle_core::Tensor;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The small files of a model, as text. Only `config.json` must be there.
#[derive(Debug, Clone)]
pub struct FolderFiles {
    /// `config.json`
    pub config: String,
    /// `tokenizer.json`, or another file that a tokenizer is made of
    pub vocabulary: Option<Vocabulary>,
    /// `tokenizer_config.json`, usually with the chat template; `{}` where it is missing
    pub tokenizer_config: String,
    /// `chat_template.jinja`; it goes before the template of `tokenizer_config.json`
    pub chat_template: Option<String>,
    /// `generation_config.json`; `{}` where it is missing
    pub generation_config: String,
    /// Where the files came from, for errors.
    pub origin: PathBuf,
}

/// The file that a tokenizer is made of.
#[derive(Debug, Clone)]
pub enum Vocabulary {
    /// `tokenizer.json`
    Json(String),
    /// `tiktoken.model`: Moonlight's and Kimi's tokens in order of their ranks
    Tiktoken(String),
}

impl Vocabulary {
    /// The name of the file and what it holds.
    pub fn file(&self) -> (&'static str, &str) {
        match self {
            Self::Json(text) => ("tokenizer.json", text),
            Self::Tiktoken(text) => ("tiktoken.model", text),
        }
    }
}

/// End-of-turn ids are one number or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

#[derive(Deserialize, Default)]
struct Ends {
    eos_token_id: Option<Ids>,
}

impl FolderFiles {
    /// Reads the files of `folder`; all but `config.json` may be missing.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let text = |name: &str| {
            let path = folder.join(name);
            if path.is_file() { read_text(&path).map(Some) } else { Ok(None) }
        };
        let vocabulary = match text("tokenizer.json")? {
            Some(json) => Some(Vocabulary::Json(json)),
            None => text("tiktoken.model")?.map(Vocabulary::Tiktoken),
        };
        Ok(Self {
            config: read_text(&folder.join("config.json"))?,
            vocabulary,
            tokenizer_config: text("tokenizer_config.json")?.unwrap_or_else(|| "{}".into()),
            chat_template: text("chat_template.jinja")?,
            generation_config: text("generation_config.json")?.unwrap_or_else(|| "{}".into()),
            origin: folder.into(),
        })
    }

    pub fn tokenizer(&self) -> Result<Tokenizer, Error> {
        match &self.vocabulary {
            Some(Vocabulary::Json(json)) => Tokenizer::parse(json.as_bytes(), &self.origin.join("tokenizer.json")),
            Some(Vocabulary::Tiktoken(text)) => {
                let config = self.tokenizer_config()?;
                Tokenizer::tiktoken(text, &config.added_tokens(), &self.origin.join("tiktoken.model"))
            }
            None => Err(Error::NoTokenizer { folder: self.origin.clone() }),
        }
    }

    fn tokenizer_config(&self) -> Result<TokenizerConfig, Error> {
        parse_json(&self.tokenizer_config, &self.origin.join("tokenizer_config.json"))
    }

    pub fn template(&self) -> Result<ChatTemplate, Error> {
        let model = self.origin.display().to_string();
        ChatTemplate::new(&self.tokenizer_config()?, self.chat_template.as_deref(), &model)
    }

    /// Prompts as they are, whatever template the model has, behind its BOS token where `bos` asks for it.
    pub fn raw_template(&self, bos: bool) -> Result<ChatTemplate, Error> {
        ChatTemplate::raw(&self.tokenizer_config()?, bos, &self.origin.display().to_string())
    }

    /// The small files' bytes, for fingerprints; empty for one that is missing.
    pub fn small_files(&self) -> [&[u8]; 5] {
        let vocabulary = self.vocabulary.as_ref().map_or("", |vocabulary| vocabulary.file().1);
        let template = self.chat_template.as_deref().unwrap_or_default();
        [self.config.as_str(), vocabulary, &self.tokenizer_config, &self.generation_config, template].map(str::as_bytes)
    }

    /// Ids that end a turn: those of `generation_config.json` and `config.json`, and the tokenizer's EOS token.
    pub fn eos(&self, tokenizer: &Tokenizer, template: &ChatTemplate) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        for (text, name) in [(&self.generation_config, "generation_config.json"), (&self.config, "config.json")] {
            match parse_json::<Ends>(text, &self.origin.join(name))?.eos_token_id {
                Some(Ids::One(id)) => ids.push(id),
                Some(Ids::Many(many)) => ids.extend(many),
                None => {}
            }
        }
        ids.extend(template.eos().and_then(|token| tokenizer.id(token)));
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Writes the folder, the weights last: a folder with weights is complete.
    pub fn write(
        &self,
        folder: &Path,
        tensors: &[(String, Tensor)],
        stored: impl Fn(&str) -> Stored,
    ) -> Result<(), Error> {
        self.write_small(folder)?;
        write_tensors(&folder.join("model.safetensors"), tensors, stored)
    }

    /// Writes everything but the weights.
    pub fn write_small(&self, folder: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(folder).map_err(|source| Error::Io {
            action: "created",
            path: folder.into(),
            source,
        })?;
        let always = [
            ("config.json", self.config.as_str()),
            ("tokenizer_config.json", &self.tokenizer_config),
            ("generation_config.json", &self.generation_config),
        ];
        let vocabulary = self.vocabulary.as_ref().map(Vocabulary::file);
        let template = self.chat_template.as_deref().map(|text| ("chat_template.jinja", text));
        for (name, text) in always.into_iter().chain(vocabulary).chain(template) {
            write_bytes(&folder.join(name), text.as_bytes())?;
        }
        Ok(())
    }
}
