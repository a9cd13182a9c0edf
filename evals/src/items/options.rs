//! The options of a multiple-choice question: where a row holds them, in which order they are put, which is right.

use crate::Error;
use crate::definition::OptionsPart;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use retort_datagen::sources::Row;
use serde_json::Value;

/// Answers to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// What stands behind the question, in the order of the options.
    pub texts: Vec<String>,
    /// The place of the right one.
    pub gold: usize,
}

impl Choices {
    pub fn gold(&self) -> &str {
        &self.texts[self.gold]
    }
}

/// The options in the order in which they are put; `gold` is one of them.
pub(super) struct Options {
    pub(super) texts: Vec<String>,
    gold: usize,
}

const LETTERS: std::ops::RangeInclusive<char> = 'A'..='Z';

impl Options {
    /// The options of a row whose right one is stated by its label or its number from 0.
    pub(super) fn of(
        part: &OptionsPart,
        row: &Row,
        stated: &str,
        cleaned: impl Fn(&str) -> String,
    ) -> Result<Self, Error> {
        let bad = |reason: String| Error::BadRow { place: row.place.to_string(), reason };
        let texts: Vec<String> = match &part.column {
            Some(column) => list(row, column)?,
            None => part.columns.iter().map(|column| text(row, column)).collect::<Result<_, _>>()?,
        };
        let gold = match &part.labels {
            Some(column) => list(row, column)?.iter().position(|label| label == stated),
            None => stated.parse().ok(),
        };
        let gold = gold.filter(|&gold| gold < texts.len());
        let gold = gold.ok_or_else(|| bad(format!("its gold `{stated}` is none of its {} options", texts.len())))?;
        if !(2..=LETTERS.count()).contains(&texts.len()) {
            return Err(bad(format!("it has {} options, and a choice has 2 to {}", texts.len(), LETTERS.count())));
        }
        let texts: Vec<String> = texts.iter().map(|text| cleaned(text)).collect();
        let Some(seed) = part.shuffle else { return Ok(Self { texts, gold }) };
        let order = order(seed, &texts);
        let gold = order.iter().position(|&at| at == gold).unwrap_or(gold);
        Ok(Self { texts: order.iter().map(|&at| texts[at].clone()).collect(), gold })
    }

    /// The letter of the right option.
    pub(super) fn letter(&self) -> char {
        (b'A' + self.gold as u8) as char
    }

    pub(super) fn as_texts(&self) -> Choices {
        Choices { texts: self.texts.clone(), gold: self.gold }
    }

    pub(super) fn as_letters(&self) -> Choices {
        Choices { texts: LETTERS.take(self.texts.len()).map(String::from).collect(), gold: self.gold }
    }
}

/// A permutation that depends on the seed and the texts alone, all being equally likely (Fisher and Yates).
fn order(seed: u64, texts: &[String]) -> Vec<usize> {
    let mut hasher = blake3::Hasher::new_derive_key("retort option order v1");
    hasher.update(&seed.to_le_bytes());
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    let mut random = ChaCha8Rng::from_seed(*hasher.finalize().as_bytes());
    let mut order: Vec<usize> = (0..texts.len()).collect();
    for last in (1..order.len()).rev() {
        // 64 bits for at most 26 options: no bias that could be seen.
        order.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
    }
    order
}

fn list(row: &Row, column: &str) -> Result<Vec<String>, Error> {
    let values = row.get(column).and_then(Value::as_array);
    let texts = values.map(|values| values.iter().map(plain).collect::<Option<Vec<_>>>());
    let reason = || format!("its column `{column}` holds no list of texts");
    texts.flatten().ok_or_else(|| Error::BadRow { place: row.place.to_string(), reason: reason() })
}

fn text(row: &Row, column: &str) -> Result<String, Error> {
    let reason = || format!("its column `{column}` holds no text");
    row.get(column).and_then(plain).ok_or_else(|| Error::BadRow { place: row.place.to_string(), reason: reason() })
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
