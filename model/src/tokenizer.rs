//! Text to token ids and back, from a `tokenizer.json` or a `tiktoken.model`; and byte-level BPE vocabularies trained
//! from scratch.

mod tiktoken;

use crate::Error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tiktoken::Tiktoken;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
    TokenizerBuilder,
};

/// What merges may not cross: a digit stands alone, as arithmetic needs it; a word has the space before it; signs have
/// the space before them and, where a digit or a new line follows, what comes between (` + `, `.\n`).
const PIECES: &str = r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+(?:\n+| (?=\p{N}))?|\s+";

/// A tokenizer and where it came from.
pub struct Tokenizer {
    kind: Kind,
    path: PathBuf,
}

enum Kind {
    Json(Box<tokenizers::Tokenizer>),
    Tiktoken(Box<Tiktoken>),
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let text = crate::files::read_text(path)?;
        Self::parse(text.as_bytes(), path)
    }

    /// Reads the bytes of a `tokenizer.json`; `path` names it in errors.
    pub fn parse(json: &[u8], path: &Path) -> Result<Self, Error> {
        let inner = tokenizers::Tokenizer::from_bytes(json)
            .map_err(|e| Error::Tokenizer { path: path.into(), reason: format!("cannot be read: {e}") })?;
        Ok(Self { kind: Kind::Json(Box::new(inner)), path: path.into() })
    }

    /// Reads the text of a `tiktoken.model` with the special tokens of its `tokenizer_config.json`; `path` names it in
    /// errors.
    pub fn tiktoken(text: &str, special: &BTreeMap<u32, &str>, path: &Path) -> Result<Self, Error> {
        match Tiktoken::parse(text, special) {
            Ok(inner) => Ok(Self { kind: Kind::Tiktoken(Box::new(inner)), path: path.into() }),
            Err(reason) => Err(Error::Tokenizer { path: path.into(), reason }),
        }
    }

    /// Trains a byte-level BPE vocabulary of `size` entries over pieces of text: single digits, words, signs.
    ///
    /// `special` tokens come first and are never split. The same texts give the same vocabulary.
    pub fn train(texts: &[String], size: usize, special: &[&str]) -> Result<Self, Error> {
        let path = PathBuf::from("tokenizer.json");
        let failed = |e: tokenizers::Error| Error::Tokenizer { path: path.clone(), reason: format!("failed: {e}") };
        let added = |token: &&str| AddedToken::from(*token, true);
        let byte_level = || ByteLevel::new(false, true, false);
        let pattern = SplitPattern::Regex(PIECES.into());
        let pieces = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(failed)?;
        let split = PreTokenizerWrapper::Sequence(Sequence::new(vec![
            PreTokenizerWrapper::Split(pieces),
            PreTokenizerWrapper::ByteLevel(byte_level()),
        ]));
        let mut tokenizer =
            TokenizerBuilder::<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>::new(
            )
            .with_model(BPE::default())
            .with_pre_tokenizer(Some(split))
            .with_decoder(Some(DecoderWrapper::ByteLevel(byte_level())))
            .build()
            .map_err(failed)?;
        let mut trainer = BpeTrainerBuilder::new()
            .show_progress(false)
            .vocab_size(size)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(special.iter().map(added).collect())
            .build();
        tokenizer.train(&mut trainer, texts.iter()).map_err(failed)?;
        let json = tokenizer.to_string(false).map_err(failed)?;
        Self::parse(json.as_bytes(), &path)
    }

    /// Token ids of `text`; special tokens written in the text are recognised, none is added.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let ids = match &self.kind {
            Kind::Json(inner) => {
                inner.encode_fast(text, false).map(|ids| ids.get_ids().to_vec()).map_err(|e| e.to_string())
            }
            Kind::Tiktoken(inner) => inner.encode(text),
        };
        ids.map_err(|e| Error::Tokenizer { path: self.path.clone(), reason: format!("failed to encode: {e}") })
    }

    /// Text of token ids, special tokens included.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        match &self.kind {
            Kind::Json(inner) => inner
                .decode(ids, false)
                .map_err(|e| Error::Tokenizer { path: self.path.clone(), reason: format!("failed to decode: {e}") }),
            Kind::Tiktoken(inner) => Ok(inner.decode(ids)),
        }
    }

    /// The id of a token by its exact text.
    pub fn id(&self, token: &str) -> Option<u32> {
        match &self.kind {
            Kind::Json(inner) => inner.token_to_id(token),
            Kind::Tiktoken(inner) => inner.id(token),
        }
    }

    /// Number of entries, added tokens included.
    pub fn vocab_size(&self) -> usize {
        match &self.kind {
            Kind::Json(inner) => inner.get_vocab_size(true),
            Kind::Tiktoken(inner) => inner.vocab_size(),
        }
    }

    /// The `tokenizer.json` of this tokenizer; a `tiktoken.model` has none.
    pub fn to_json(&self) -> Result<String, Error> {
        let json = match &self.kind {
            Kind::Json(inner) => inner.to_string(true).map_err(|e| e.to_string()),
            Kind::Tiktoken(_) => Err("it is no list of merges".into()),
        };
        json.map_err(|e| Error::Tokenizer {
            path: self.path.clone(),
            reason: format!("cannot be written as JSON: {e}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Tokenizer {
        let texts: Vec<String> = (0..200).map(|i| format!("Tom has {i} red apples and {} pears.", i * 7)).collect();
        Tokenizer::train(&texts, 400, &["<s>", "</s>"]).expect("training works")
    }

    #[test]
    fn any_text_comes_back() -> Result<(), Error> {
        let tokenizer = small();
        for text in ["Tom has 12 red apples", "naïve — 漢字 \n\t{}", "<s>x</s>", ""] {
            assert_eq!(tokenizer.decode(&tokenizer.encode(text)?)?, text);
        }
        Ok(())
    }

    #[test]
    fn digits_stand_alone_and_specials_stay_whole() -> Result<(), Error> {
        let tokenizer = small();
        assert_eq!(tokenizer.encode("4827")?.len(), 4);
        assert_eq!(tokenizer.encode("<s>")?, [tokenizer.id("<s>").expect("special")]);
        Ok(())
    }

    #[test]
    fn merges_stay_within_words_and_join_signs_to_the_digits_after_them() -> Result<(), Error> {
        let texts: Vec<String> = (0..300).map(|i| format!("so {i} + {} = {}.\nso it is", i + 1, 2 * i + 1)).collect();
        let tokenizer = Tokenizer::train(&texts, 400, &[])?;
        let pieces = |text: &str| -> Result<Vec<String>, Error> {
            tokenizer.encode(text)?.into_iter().map(|id| tokenizer.decode(&[id])).collect()
        };
        assert_eq!(
            pieces("so 7 + 8 = 15.\nso it is")?,
            ["so", " ", "7", " + ", "8", " = ", "1", "5", ".\n", "so", " it", " is"]
        );
        Ok(())
    }

    #[test]
    fn training_is_deterministic() -> Result<(), Error> {
        assert_eq!(small().to_json()?, small().to_json()?);
        Ok(())
    }
}
