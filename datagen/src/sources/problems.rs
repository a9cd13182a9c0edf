//! What a row means: where its question, gold answer and labels stand.

use super::row::Row;
use super::table::{Selection, Table};
use crate::Error;
use crate::problem::Problem;
use crate::verify::extract_boxed;
use retort_model::chat::QuestionTemplate;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// The columns that may hold the question, the preferred one first.
const QUESTIONS: [&str; 3] = ["problem", "question", "prompt"];
/// The same for the gold answer; the last is a solution whose box holds it, as in MATH.
const ANSWERS: [&str; 5] = ["answer", "expected_answer", "ground_truth", "reward_model.ground_truth", "solution"];
const DOMAINS: [&str; 4] = ["subject", "domain", "problem_type", "type"];
const DIFFICULTIES: [&str; 2] = ["level", "difficulty"];
/// What GSM8K puts before the gold.
const GOLD_MARK: &str = "####";
const REMEDY: &str = "rename the column, or name yours with `--set problems.question=COLUMN` and \
                      `--set problems.answer=COLUMN`; a path such as `reward_model.ground_truth` leads into objects";

/// Columns by name or dotted path, where they are not found by themselves: the section `[problems]` of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difficulty: Option<String>,
    /// Stands behind the file's name in `source`: `problems.jsonl#17`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// How problems are read from a source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    pub selection: Selection,
    pub columns: Columns,
    /// A Jinja template over a row's columns that makes the question, in place of one column.
    pub template: Option<String>,
}

impl Reading {
    /// Makes the questions of problems that have no row by the template, over their own fields.
    pub fn put(&self, problems: &mut [Problem]) -> Result<(), Error> {
        let Some(template) = self.compiled()? else { return Ok(()) };
        for problem in problems {
            let question = template.render(&*problem).map_err(|reason| Error::PromptTemplate { reason })?;
            let Problem { answer, source, domain, difficulty, .. } = &*problem;
            *problem = Problem::new(question, answer.clone(), source, domain, difficulty);
        }
        Ok(())
    }

    fn compiled(&self) -> Result<Option<QuestionTemplate>, Error> {
        let template = self.template.as_deref().map(QuestionTemplate::new).transpose();
        template.map_err(|reason| Error::PromptTemplate { reason })
    }
}

/// Reads the first `limit` problems of the file or dataset folder at `path`, or all of them; nothing behind them is read.
///
/// Without a mapping the question stands in `problem`, `question` or `prompt` (text, or a chat with one message of the
/// user), the gold in `answer`, `expected_answer`, `ground_truth`, `reward_model.ground_truth` or the box of `solution`.
/// A `question` whose `answer` ends in `#### gold` is GSM8K's shape: the gold is what follows the mark. `subject`,
/// `domain`, `problem_type` or `type` becomes the domain, `level` or `difficulty` the difficulty.
pub fn read(path: &Path, reading: &Reading, limit: Option<usize>) -> Result<Vec<Problem>, Error> {
    let template = reading.compiled()?;
    let mut table = Table::open(path, &reading.selection)?;
    let mut problems = Vec::new();
    while limit.is_none_or(|limit| problems.len() < limit)
        && let Some(row) = table.next_row()?
    {
        problems.push(problem(&row, &reading.columns, template.as_ref())?);
    }
    if problems.is_empty() && limit != Some(0) {
        return Err(Error::NoRows { path: path.into() });
    }
    Ok(problems)
}

fn problem(row: &Row, columns: &Columns, template: Option<&QuestionTemplate>) -> Result<Problem, Error> {
    let (column, question) = match template {
        None => question_of(row, columns)?,
        Some(template) => {
            let made = template.render(&row.object);
            let made = made.map_err(|reason| Error::NoPrompt { place: row.place.clone(), reason })?;
            // The shape of the answer may depend on what the question's column is called.
            (question_of(row, columns).map(|(column, _)| column).unwrap_or_default(), made)
        }
    };
    if question.trim().is_empty() {
        return Err(row.empty(&column, "question"));
    }
    let Some(gold) = gold_of(row, columns, &column)? else {
        return Err(row.missing("`answer`", REMEDY));
    };
    let (source, domain, difficulty) = labels(row, columns)?;
    Ok(Problem::new(question, gold, &source, &domain, &difficulty))
}

/// The column that holds the question, and the question.
fn question_of(row: &Row, columns: &Columns) -> Result<(String, String), Error> {
    let column = match &columns.question {
        Some(mapped) => mapped_column(row, mapped)?,
        None => {
            let found = QUESTIONS.into_iter().find(|&column| row.object.contains_key(column));
            found.ok_or_else(|| row.missing("`problem`, `question` or `prompt`", REMEDY))?
        }
    };
    let question = match row.get(column).and_then(asked_in_chat) {
        Some(question) => question.to_owned(),
        None => text_at(row, column)?,
    };
    Ok((column.to_owned(), question))
}

/// The gold answer of a row, trimmed and not empty; `None` where no column holds one. `question` is the question's column.
pub(crate) fn gold_of(row: &Row, columns: &Columns, question: &str) -> Result<Option<String>, Error> {
    let column = match &columns.answer {
        Some(mapped) => mapped_column(row, mapped)?,
        None => {
            let boxed = |column: &&str| *column != "solution" || boxed_in(row).is_some();
            let mut candidates = ANSWERS.into_iter().filter(|column| row.get(column).is_some()).filter(boxed);
            // A column that is there and null is a row without an answer, and said to be one.
            match candidates.next().or(row.object.contains_key("answer").then_some("answer")) {
                Some(column) => column,
                None => return Ok(None),
            }
        }
    };
    let text = number_or_text(row, column)?;
    let gold = match text.rsplit_once(GOLD_MARK) {
        Some((_, gold)) if question == "question" => gold.trim(),
        // A worked solution ends with its answer in a box.
        _ if column.ends_with("solution") => extract_boxed(&text).unwrap_or(&text).trim(),
        _ => text.trim(),
    };
    if gold.is_empty() {
        return Err(row.empty(column, "gold answer"));
    }
    Ok(Some(gold.to_owned()))
}

fn boxed_in(row: &Row) -> Option<&str> {
    extract_boxed(row.get("solution")?.as_str()?)
}

/// Source, domain and difficulty of a row.
pub(crate) fn labels(row: &Row, columns: &Columns) -> Result<(String, String, String), Error> {
    let file = row.file().file_name().unwrap_or_default().to_string_lossy();
    let source = match &columns.id {
        Some(column) => format!("{file}#{}", number_or_text(row, mapped_column(row, column)?)?),
        None => file.into_owned(),
    };
    let label = |mapped: &Option<String>, usual: &[&str]| match mapped {
        Some(column) => label_at(row, mapped_column(row, column)?),
        None => usual.iter().find(|column| row.get(column).is_some()).map_or(Ok(String::new()), |c| label_at(row, c)),
    };
    Ok((source, label(&columns.domain, &DOMAINS)?, label(&columns.difficulty, &DIFFICULTIES)?))
}

fn mapped_column<'a>(row: &Row, column: &'a str) -> Result<&'a str, Error> {
    match super::cell::find(&row.object, column) {
        Some(_) => Ok(column),
        None => {
            Err(row.missing(format!("`{column}`"), "correct the name under `problems` in the recipe or in `--set`"))
        }
    }
}

fn value_at<'a>(row: &'a Row, column: &str) -> Option<&'a Value> {
    super::cell::find(&row.object, column)
}

fn text_at(row: &Row, column: &str) -> Result<String, Error> {
    match value_at(row, column) {
        Some(Value::String(text)) => Ok(text.clone()),
        other => Err(row.wrong_type(column, "a string", other)),
    }
}

fn number_or_text(row: &Row, column: &str) -> Result<String, Error> {
    match value_at(row, column) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        other => Err(row.wrong_type(column, "a string or a number", other)),
    }
}

/// Text, a number, or a list of texts; null is none.
fn label_at(row: &Row, column: &str) -> Result<String, Error> {
    let other = match value_at(row, column) {
        None | Some(Value::Null) => return Ok(String::new()),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            return Ok(items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "));
        }
        other => other,
    };
    match other {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        other => Err(row.wrong_type(column, "a string or a number", other)),
    }
}

/// What the user asks in a chat of which they wrote one message.
fn asked_in_chat(value: &Value) -> Option<&str> {
    let mut asked = value.as_array()?.iter().filter(|message| message["role"] == "user");
    let question = asked.next()?["content"].as_str()?;
    asked.next().is_none().then_some(question)
}
