//! A benchmark as a file: which data, how a row becomes a prompt and a gold answer, how it is asked and scored.
//!
//! The files in `evals/benchmarks/` are compiled in; a user's own is a TOML file of the same shape. Where the field asks
//! one set of problems in two ways, there are two files. What a file says is checked when it is read, so that a run does
//! not fail on its last question; the blake3 of its bytes stands in everything that is made by it.

mod check;
mod shipped;

#[cfg(test)]
mod tests;

pub use shipped::{SHIPPED, shipped};

use crate::Error;
use retort_datagen::verify::{Filtered, Rule};
use retort_model::sampling::Sampling;
use serde::{Deserialize, Serialize};

/// A benchmark's definition; exactly one of `generation` and `log_likelihood` is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object that defines a benchmark")]
pub struct Definition {
    pub name: String,
    /// Rises with every change that could change a score.
    pub version: u32,
    /// What it is and where it comes from, in a sentence.
    pub about: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    pub question: QuestionPart,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<OptionsPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean: Option<Clean>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shots: Option<Shots>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_likelihood: Option<LogLikelihood>,
    /// The file as it was read.
    #[serde(skip)]
    pub text: String,
}

/// Where the rows are published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object that says where the data is")]
pub struct Data {
    /// A dataset's name on the hub.
    pub hub: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    pub split: String,
}

/// How a row becomes a question. Texts are Jinja templates over the row's columns; columns are names or dotted paths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object that says how a question is put")]
pub struct QuestionPart {
    /// Comes before the examples and the question.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub preface: String,
    /// The question; it may name `options`, the texts of the options in the order in which they are put.
    pub text: String,
    /// The gold answer; with options, the label or the number (from 0) of the right one.
    pub gold: String,
    /// Between a question and its answer, in examples and before an answer whose likelihood is asked for.
    #[serde(default = "space")]
    pub delimiter: String,
    /// The column of the subject, by which scores are told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difficulty: Option<String>,
    /// The column that names what a question shares with others, such as the text that they are about: these are not drawn
    /// one by one, and intervals go by clusters of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The column of a row's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

fn space() -> String {
    " ".into()
}

/// The options of a multiple-choice question: `column` or `columns`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object that says where the options are")]
pub struct OptionsPart {
    /// A column that holds their list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// One column for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The column with the list of their labels, where the gold is one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Seeds the order in which they are put; without it they stay as they are. A question's order depends on the seed
    /// and its own texts alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle: Option<u64>,
}

/// What is taken out of questions and options, in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object that says how a text is cleaned")]
pub struct Clean {
    /// White space at both ends.
    #[serde(default)]
    pub trim: bool,
    /// Patterns, each with what takes its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<(String, String)>,
}

/// Examples with their answers before each question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object that says which examples are shown")]
pub struct Shots {
    pub count: usize,
    /// The split of the same data that they come from.
    pub split: String,
    pub order: Order,
    /// Seeds what is drawn; lm-evaluation-harness's is 1234.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
    /// A column in which examples and question must agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same: Option<String>,
    /// Between examples, and before the question.
    #[serde(default = "blank_line")]
    pub separator: String,
}

fn blank_line() -> String {
    "\n\n".into()
}

/// Which rows are taken as examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The first ones, for every question.
    First,
    /// Others for each question, drawn one question after the other by Python's generator: what
    /// lm-evaluation-harness draws.
    Drawn,
}

/// The model writes its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object that says how an answer is generated")]
pub struct Generation {
    pub prompt: PromptKind,
    /// Follows the question on a line of its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suffix: String,
    /// Samples per problem; without it, as many as the size of the set asks for ([`Generation::samples_for`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u32>,
    #[serde(default)]
    pub sampling: Sampling,
    /// Which answers are right: this, or the first of `filters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Rule>,
    /// lm-evaluation-harness's filters, each with a score of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
}

/// How a model is given the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptKind {
    /// As what a user says, in the model's own template.
    Chat,
    /// As text to go on with.
    Raw,
}

/// A filter by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with the `name` and the `pattern` of a filter")]
pub struct Filter {
    pub name: String,
    pub pattern: String,
    #[serde(default)]
    pub select: i64,
    #[serde(default)]
    pub ignore: Vec<String>,
    #[serde(default)]
    pub ignore_case: bool,
    #[serde(default)]
    pub ignore_punctuation: bool,
}

/// The model says how likely each option is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object that says what is scored")]
pub struct LogLikelihood {
    pub of: Continuation,
    /// The first decides which questions count as right.
    pub metrics: Vec<ChoiceMetric>,
}

/// What is taken as the answer after the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Continuation {
    /// The options' texts.
    Texts,
    /// `A`, `B`, `C`, ...
    Letters,
}

/// Which option a model is taken to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChoiceMetric {
    /// The likeliest.
    Acc,
    /// The likeliest by log-likelihood per character of its text.
    AccNorm,
}

impl ChoiceMetric {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
        }
    }
}

impl Definition {
    /// The same with so many examples before each question; 0 leaves them out. It is another definition, with a hash of its
    /// own.
    pub fn with_shots(&self, count: usize) -> Result<Self, Error> {
        let bad = |reason: &str| Error::BadDefinition {
            origin: self.name.clone(),
            field: "shots".into(),
            reason: reason.into(),
        };
        let mut table: toml::Table = self.text.parse().map_err(|_| bad("the definition cannot be read again"))?;
        match table.get_mut("shots").and_then(toml::Value::as_table_mut) {
            None if count == 0 => return Ok(self.clone()),
            None => return Err(bad("it does not say where examples come from")),
            Some(_) if count == 0 => {
                table.remove("shots");
            }
            Some(shots) => {
                let count = i64::try_from(count).map_err(|_| bad("that many examples are nowhere"))?;
                shots.insert("count".into(), count.into());
            }
        }
        let text = toml::to_string(&table).map_err(|_| bad("the definition cannot be written again"))?;
        Self::parse(&text, &self.name)
    }

    /// Reads a definition; `origin` names it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        let bad = |field: String, reason: String| Error::BadDefinition { origin: origin.into(), field, reason };
        let document = toml::Deserializer::parse(text);
        let document = document.map_err(|error| bad("the file".into(), error.message().into()))?;
        let read: Result<Self, _> = serde_path_to_error::deserialize(document);
        let definition = read.map_err(|error| {
            let field = match error.path().to_string() {
                path if path == "." => "the file".into(),
                path => format!("`{path}`"),
            };
            bad(field, error.inner().message().into())
        })?;
        match definition.fault() {
            Some((field, reason)) => Err(bad(format!("`{field}`"), reason)),
            None => Ok(Self { text: text.into(), ..definition }),
        }
    }

    /// blake3 of the file, in hexadecimal.
    pub fn blake3(&self) -> String {
        blake3::hash(self.text.as_bytes()).to_hex().to_string()
    }
}

impl Generation {
    /// The rule behind the verdicts.
    pub fn rule(&self) -> Rule {
        let first = || self.filters.first().map(|filter| Rule::Filtered(filter.filtered()));
        self.verify.clone().or_else(first).unwrap_or_default()
    }

    /// Samples for each of so many problems where the file does not say: about 2,000 in all, a power of two from 4 to 64.
    /// "k is typically between 4 and 64, depending on the test set size" (arXiv 2501.12948, section 3); this rule gives
    /// what is in use: 64 for AIME, 8 for GPQA, 4 for MATH-500.
    pub fn samples_for(&self, problems: usize) -> u32 {
        const SAMPLES: usize = 2000;
        let fits = SAMPLES / problems.max(1);
        self.samples.unwrap_or(if fits >= 64 { 64 } else { 1 << fits.max(4).ilog2() })
    }
}

impl Filter {
    /// The filter without its name.
    pub fn filtered(&self) -> Filtered {
        let Self { name: _, pattern, select, ignore, ignore_case, ignore_punctuation } = self.clone();
        Filtered { pattern, select, ignore, ignore_case, ignore_punctuation }
    }
}
