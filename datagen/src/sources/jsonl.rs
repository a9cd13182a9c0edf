//! Problems from JSON lines.

use super::lines::{Line, Lines};
use crate::Error;
use crate::problem::Problem;
use std::path::Path;

const SHAPE: &str = "{\"problem\": \"...\", \"answer\": \"...\"}";
/// The columns that may hold the question, the preferred one first.
const QUESTION_COLUMNS: [&str; 3] = ["problem", "question", "prompt"];
/// What GSM8K puts before the gold.
const GOLD_MARK: &str = "####";

pub(super) fn read(path: &Path, limit: Option<usize>) -> Result<Vec<Problem>, Error> {
    let mut lines = Lines::open(path, SHAPE)?;
    let source = path.file_name().unwrap_or_default().to_string_lossy();
    let mut problems = Vec::new();
    while limit.is_none_or(|limit| problems.len() < limit)
        && let Some(line) = lines.next_line()?
    {
        problems.push(problem(&line, &source)?);
    }
    if problems.is_empty() && limit != Some(0) {
        return Err(Error::NoProblems { path: path.into() });
    }
    Ok(problems)
}

fn problem(line: &Line, source: &str) -> Result<Problem, Error> {
    let question_column = QUESTION_COLUMNS.into_iter().find(|&column| line.has(column));
    let question_column = question_column.ok_or_else(|| line.missing("`problem`, `question` or `prompt`"))?;
    let question = line.text(question_column)?;
    if !line.has("answer") {
        return Err(line.missing("`answer`"));
    }
    let answer = line.text("answer")?;
    let gold = match answer.rsplit_once(GOLD_MARK) {
        Some((_, gold)) if question_column == "question" => gold.trim(),
        _ => answer.trim(),
    };
    for (column, part, text) in [(question_column, "question", question.trim()), ("answer", "gold answer", gold)] {
        if text.is_empty() {
            return Err(line.empty(column, part));
        }
    }
    let domain = line.label("subject", false)?;
    let difficulty = line.label("level", true)?;
    Ok(Problem::new(question.to_owned(), gold.to_owned(), source, &domain, &difficulty))
}
