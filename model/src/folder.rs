//! A model folder in Hugging Face's layout: everything beside the weights that it takes to use a model.

use crate::Error;
use crate::chat::{ChatTemplate, TokenizerConfig};
use crate::checkpoint::{Stored, write_bytes, write_tensors};
use crate::files::{parse_json, read_text};
use crate::tokenizer::Tokenizer;
use candle_core::Tensor;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The small files of a model, as text.
#[derive(Debug, Clone)]
pub struct FolderFiles {
    /// `config.json`
    pub config: String,
    /// `tokenizer.json`
    pub tokenizer: String,
    /// `tokenizer_config.json`, with the chat template
    pub tokenizer_config: String,
    /// `generation_config.json`
    pub generation_config: String,
    /// Where the files came from, for errors.
    pub origin: PathBuf,
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
    /// Reads the files of `folder`; `generation_config.json` may be missing.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let text = |name: &str| read_text(&folder.join(name));
        let optional = |name: &str| if folder.join(name).is_file() { text(name) } else { Ok("{}".into()) };
        Ok(Self {
            config: text("config.json")?,
            tokenizer: text("tokenizer.json")?,
            tokenizer_config: text("tokenizer_config.json")?,
            generation_config: optional("generation_config.json")?,
            origin: folder.into(),
        })
    }

    pub fn tokenizer(&self) -> Result<Tokenizer, Error> {
        Tokenizer::parse(self.tokenizer.as_bytes(), &self.origin.join("tokenizer.json"))
    }

    pub fn template(&self) -> Result<ChatTemplate, Error> {
        let path = self.origin.join("tokenizer_config.json");
        let config: TokenizerConfig = parse_json(&self.tokenizer_config, &path)?;
        ChatTemplate::new(&config, &self.origin.display().to_string())
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
        std::fs::create_dir_all(folder).map_err(|source| Error::Io {
            action: "created",
            path: folder.into(),
            source,
        })?;
        for (name, text) in [
            ("config.json", &self.config),
            ("tokenizer.json", &self.tokenizer),
            ("tokenizer_config.json", &self.tokenizer_config),
            ("generation_config.json", &self.generation_config),
        ] {
            write_bytes(&folder.join(name), text.as_bytes())?;
        }
        write_tensors(&folder.join("model.safetensors"), tensors, stored)
    }
}
