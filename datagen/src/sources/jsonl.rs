//! Problems from JSON lines. A line that is not a problem stops the reading: nothing is skipped silently.

use crate::Error;
use crate::problem::Problem;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Far above any problem; it bounds what a file without line breaks makes us hold.
const MAX_LINE: usize = 16 << 20;
/// The columns that may hold the question, the preferred one first.
const QUESTION_COLUMNS: [&str; 3] = ["problem", "question", "prompt"];
/// What GSM8K puts before the gold.
const GOLD_MARK: &str = "####";

pub(super) fn read(path: &Path, limit: Option<usize>) -> Result<Vec<Problem>, Error> {
    let io = |action, source| Error::Io { action, path: path.into(), source };
    let mut reader = BufReader::new(File::open(path).map_err(|source| io("opened", source))?);
    let source = path.file_name().unwrap_or_default().to_string_lossy();
    let mut problems = Vec::new();
    let mut bytes = Vec::new();
    let mut line = 0;
    while limit.is_none_or(|limit| problems.len() < limit) {
        bytes.clear();
        line += 1;
        let mut bounded = (&mut reader).take(MAX_LINE as u64 + 1);
        if bounded.read_until(b'\n', &mut bytes).map_err(|source| io("read", source))? == 0 {
            break;
        }
        if bytes.len() > MAX_LINE {
            return Err(Error::LineTooLong { path: path.into(), line, limit: MAX_LINE });
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::NotUtf8 { path: path.into(), line })?;
        // A byte order mark may open the file.
        let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if !text.trim().is_empty() {
            problems.push(Line { path, line }.problem(text, &source)?);
        }
    }
    if problems.is_empty() && limit != Some(0) {
        return Err(Error::NoProblems { path: path.into() });
    }
    Ok(problems)
}

/// Where a problem is read from, for what may have to be said about it.
struct Line<'a> {
    path: &'a Path,
    line: u64,
}

impl Line<'_> {
    fn problem(&self, text: &str, source: &str) -> Result<Problem, Error> {
        let (path, line) = (self.path.to_owned(), self.line);
        let object = match serde_json::from_str(text) {
            Ok(Value::Object(object)) => object,
            Ok(other) => return Err(Error::NotAnObject { path, line, found: kind(&other) }),
            Err(source) => return Err(Error::MalformedLine { path, line, source }),
        };
        let question_column = QUESTION_COLUMNS.into_iter().find(|&column| object.contains_key(column));
        let Some(question_column) = question_column else {
            return Err(self.missing("`problem`, `question` or `prompt`", &object));
        };
        let question = self.text(&object, question_column)?;
        if !object.contains_key("answer") {
            return Err(self.missing("`answer`", &object));
        }
        let answer = self.text(&object, "answer")?;
        let gold = match answer.rsplit_once(GOLD_MARK) {
            Some((_, gold)) if question_column == "question" => gold.trim(),
            _ => answer.trim(),
        };
        for (column, part, text) in [(question_column, "question", question.trim()), ("answer", "gold answer", gold)] {
            if text.is_empty() {
                return Err(Error::EmptyText { path, line, column: column.into(), part });
            }
        }
        let domain = self.label(&object, "subject", false)?;
        let difficulty = self.label(&object, "level", true)?;
        Ok(Problem::new(question.to_owned(), gold.to_owned(), source, &domain, &difficulty))
    }

    fn text<'o>(&self, object: &'o Map<String, Value>, column: &str) -> Result<&'o str, Error> {
        match object.get(column) {
            Some(Value::String(text)) => Ok(text),
            other => Err(self.wrong_type(column, "a string", other)),
        }
    }

    /// An optional column; `level` is a number in some files.
    fn label(&self, object: &Map<String, Value>, column: &str, number: bool) -> Result<String, Error> {
        match object.get(column) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(level)) if number => Ok(level.to_string()),
            other => Err(self.wrong_type(column, if number { "a string or a number" } else { "a string" }, other)),
        }
    }

    fn wrong_type(&self, column: &str, expected: &'static str, found: Option<&Value>) -> Error {
        let (path, column) = (self.path.to_owned(), column.to_owned());
        Error::WrongType { path, line: self.line, column, expected, found: found.map_or("nothing", kind) }
    }

    fn missing(&self, expected: &'static str, object: &Map<String, Value>) -> Error {
        let columns: Vec<String> = object.keys().take(8).map(|column| format!("`{column}`")).collect();
        let found = if columns.is_empty() { "none".to_owned() } else { columns.join(", ") };
        Error::MissingColumn { path: self.path.into(), line: self.line, expected, found }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
