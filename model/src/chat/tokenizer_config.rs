//! What `tokenizer_config.json` says: the chat template and the special tokens.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The parts of `tokenizer_config.json` that prompts and vocabularies depend on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TokenizerConfig {
    chat_template: Option<Source>,
    bos_token: Option<TokenText>,
    eos_token: Option<TokenText>,
    unk_token: Option<TokenText>,
    pad_token: Option<TokenText>,
    sep_token: Option<TokenText>,
    cls_token: Option<TokenText>,
    mask_token: Option<TokenText>,
    /// Special tokens by their id.
    added_tokens_decoder: BTreeMap<u32, TokenText>,
}

/// One template, or several with names.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Source {
    One(String),
    Named(Vec<Named>),
}

#[derive(Debug, Clone, Deserialize)]
struct Named {
    name: String,
    template: String,
}

/// A token is written as a string or as an object with its `content`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum TokenText {
    Plain(String),
    Object { content: String },
}

impl TokenText {
    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Object { content: text } => text,
        }
    }
}

impl TokenizerConfig {
    /// Special tokens that are given by name, as templates know them.
    pub(super) fn named_tokens(&self) -> BTreeMap<&'static str, String> {
        let tokens = [
            ("bos_token", &self.bos_token),
            ("eos_token", &self.eos_token),
            ("unk_token", &self.unk_token),
            ("pad_token", &self.pad_token),
            ("sep_token", &self.sep_token),
            ("cls_token", &self.cls_token),
            ("mask_token", &self.mask_token),
        ];
        tokens.into_iter().filter_map(|(name, token)| Some((name, token.as_ref()?.text().to_string()))).collect()
    }

    /// Special tokens that are given by id.
    pub fn added_tokens(&self) -> BTreeMap<u32, &str> {
        self.added_tokens_decoder.iter().map(|(&id, token)| (id, token.text())).collect()
    }

    /// The source of its template: the only one, or the one called `default`; an error's reason where none is.
    pub(super) fn template(&self) -> Result<Option<&str>, &'static str> {
        match &self.chat_template {
            None => Ok(None),
            Some(Source::One(source)) => Ok(Some(source)),
            Some(Source::Named(named)) => match named.iter().find(|source| source.name == "default") {
                Some(source) => Ok(Some(&source.template)),
                None => Err("none of its named templates is called `default`"),
            },
        }
    }

    /// Whether it names a token that begins a text.
    pub(super) fn has_bos(&self) -> bool {
        self.bos_token.is_some()
    }
}
