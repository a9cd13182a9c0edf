//! A benchmark's questions: the rows of its data, put as its definition says.

mod data;
mod options;
mod shots;

#[cfg(test)]
mod tests;

pub use data::Origin;
pub use options::Choices;

use crate::Error;
use crate::definition::{Continuation, Definition, QuestionPart};
use crate::stems::Stems;
use options::Options;
use regex::{NoExpand, Regex};
use retort_datagen::problem::Problem;
use retort_datagen::sources::Row;
use retort_model::chat::QuestionTemplate;
use serde_json::{Map, Value};
use shots::Examples;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// One question of a benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The question as the model reads it, examples included, and the gold: with options, the letter of the right one.
    pub problem: Problem,
    /// The row that it was made from.
    pub row: Map<String, Value>,
    pub choices: Option<Choices>,
    /// What the question shares with others; empty where nothing is known of it.
    pub stem: String,
}

/// A row that repeats an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// Where it stands: file and line or row.
    pub place: String,
    /// Where the earlier one stands.
    pub earlier: String,
}

/// The questions of a benchmark and what they were read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Items {
    pub items: Vec<Item>,
    /// How many the data has, whatever the limit.
    pub available: usize,
    /// Rows that ask what an earlier row asks, with the same gold.
    pub repeated: Vec<Repeated>,
    /// blake3 of the data: of the file, or, where there are several, of the lines of their hashes; in hexadecimal.
    pub data: String,
}

impl Items {
    /// Reads the first `limit` questions of `definition` from `origin`, or all of them.
    pub fn read(definition: &Definition, origin: &Origin, limit: Option<usize>) -> Result<Self, Error> {
        let (mut table, selection) = origin.open(definition)?;
        let mut files = table.files().to_vec();
        let maker = Maker::new(definition)?;
        let mut examples = match &definition.shots {
            None => None,
            Some(shots) => {
                let mut source = origin.open_split(&selection, &shots.split)?;
                files.extend(source.files().iter().cloned());
                Some(Examples::read(shots, &maker, &mut source, selection.split.as_deref() == Some(&shots.split))?)
            }
        };
        let (mut items, mut available) = (Vec::new(), 0);
        let (mut places, mut repeated) = (HashMap::new(), Vec::new());
        while let Some(row) = table.next_row()? {
            available += 1;
            if limit.is_some_and(|limit| limit < available) {
                continue;
            }
            let question = maker.question(&row)?;
            let before = examples.as_mut().map(|examples| examples.before(&row)).transpose()?;
            let place = row.place.to_string();
            let item = maker.item(row, question, &before.unwrap_or_default())?;
            match places.entry(item.problem.uuid.clone()) {
                Entry::Vacant(first) => drop(first.insert(place)),
                Entry::Occupied(first) => repeated.push(Repeated { place, earlier: first.get().clone() }),
            }
            items.push(item);
        }
        if items.is_empty() {
            return Err(Error::EmptyBenchmark { name: definition.name.clone() });
        }
        Ok(Self { items, available, repeated, data: data::hash(&files)? })
    }

    /// What to tell where rows repeat earlier ones: each counts, as lm-evaluation-harness counts them. The first are named.
    pub fn repeats(&self) -> Option<String> {
        const NAMED: usize = 3;
        let pairs =
            self.repeated.iter().take(NAMED).map(|Repeated { place, earlier }| format!("{place} repeats {earlier}"));
        let named = pairs.collect::<Vec<_>>().join("; ");
        let more = if self.repeated.len() > NAMED { "; ..." } else { "" };
        (!self.repeated.is_empty()).then(|| match self.repeated.len() {
            1 => format!("1 question repeats an earlier one and is counted again: {named}"),
            count => format!("{count} questions repeat earlier ones and are counted again: {named}{more}"),
        })
    }

    /// The questions as problems.
    pub fn problems(&self) -> Vec<Problem> {
        self.items.iter().map(|item| item.problem.clone()).collect()
    }

    /// Which of the questions belong together.
    pub fn stems(&self) -> Stems {
        self.items.iter().map(|item| (item.problem.uuid.as_str(), item.stem.as_str())).collect()
    }
}

/// A row as a question with its answer.
struct Question {
    text: String,
    /// What stands behind the question in an example.
    answer: String,
    /// The gold of a problem.
    gold: String,
    choices: Option<Choices>,
}

/// Makes questions of rows.
struct Maker<'a> {
    definition: &'a Definition,
    preface: QuestionTemplate,
    text: QuestionTemplate,
    gold: QuestionTemplate,
    replace: Vec<(Regex, &'a str)>,
}

impl<'a> Maker<'a> {
    fn new(definition: &'a Definition) -> Result<Self, Error> {
        // They were compiled when the definition was checked.
        let bad = |field: &str, reason: String| Error::BadDefinition {
            origin: definition.name.clone(),
            field: field.into(),
            reason,
        };
        let template = |field: &str, text: &str| {
            // Jinja takes one line break from a template's end; here every one is part of the prompt.
            let end = if text.ends_with('\n') { "\n" } else { "" };
            QuestionTemplate::new(&format!("{text}{end}")).map_err(|reason| bad(field, reason))
        };
        let QuestionPart { preface, text, gold, .. } = &definition.question;
        let replace = definition.clean.iter().flat_map(|clean| &clean.replace).map(|(pattern, with)| {
            let pattern = Regex::new(pattern).map_err(|error| bad("clean.replace", error.to_string()))?;
            Ok((pattern, with.as_str()))
        });
        Ok(Self {
            definition,
            preface: template("question.preface", preface)?,
            text: template("question.text", text)?,
            gold: template("question.gold", gold)?,
            replace: replace.collect::<Result<_, Error>>()?,
        })
    }

    fn question(&self, row: &Row) -> Result<Question, Error> {
        let render = |template: &QuestionTemplate, columns: &Map<String, Value>| {
            template.render(columns).map_err(|reason| Error::BadRow { place: row.place.to_string(), reason })
        };
        let stated = render(&self.gold, &row.object)?.trim().to_owned();
        if stated.is_empty() {
            return Err(Error::BadRow { place: row.place.to_string(), reason: "its gold answer is empty".into() });
        }
        let Some(part) = &self.definition.options else {
            let text = self.cleaned(&render(&self.text, &row.object)?);
            return Ok(Question { text, answer: stated.clone(), gold: stated, choices: None });
        };
        let options = Options::of(part, row, &stated, |text| self.cleaned(text))?;
        let mut columns = row.object.clone();
        columns.insert("options".into(), options.texts.iter().cloned().map(Value::String).collect());
        let text = self.cleaned(&render(&self.text, &columns)?);
        let letter = options.letter().to_string();
        let choices = match self.definition.log_likelihood.as_ref().map(|scored| scored.of) {
            Some(Continuation::Letters) => options.as_letters(),
            Some(Continuation::Texts) | None => options.as_texts(),
        };
        let answer = if self.definition.generation.is_some() { letter.clone() } else { choices.gold().to_owned() };
        Ok(Question { text, answer, gold: letter, choices: Some(choices) })
    }

    /// The question behind what comes before it.
    fn item(&self, row: Row, question: Question, before: &str) -> Result<Item, Error> {
        let QuestionPart { domain, difficulty, cluster, id, .. } = &self.definition.question;
        let Question { text, gold, choices, .. } = question;
        let label = |column: &Option<String>| match column.as_deref().map(|column| (column, row.get(column))) {
            None | Some((_, None)) => Ok(String::new()),
            Some((_, Some(Value::String(text)))) => Ok(text.clone()),
            Some((_, Some(Value::Number(number)))) => Ok(number.to_string()),
            Some((column, Some(_))) => {
                let reason = format!("its column `{column}` holds neither text nor a number");
                Err(Error::BadRow { place: row.place.to_string(), reason })
            }
        };
        let name = &self.definition.name;
        let source = match label(id)? {
            id if id.is_empty() => name.clone(),
            id => format!("{name}#{id}"),
        };
        let preface = self.preface.render(&row.object);
        let preface = preface.map_err(|reason| Error::BadRow { place: row.place.to_string(), reason })?;
        let problem =
            Problem::new(format!("{preface}{before}{text}"), gold, &source, &label(domain)?, &label(difficulty)?);
        let stem = label(cluster)?;
        Ok(Item { problem, row: row.object, choices, stem })
    }

    fn cleaned(&self, text: &str) -> String {
        let trim = self.definition.clean.as_ref().is_some_and(|clean| clean.trim);
        let mut text = if trim { text.trim() } else { text }.to_owned();
        for (pattern, with) in &self.replace {
            text = pattern.replace_all(&text, NoExpand(with)).into_owned();
        }
        text
    }
}
