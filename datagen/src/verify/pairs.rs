//! Pairs of a gold and an answer from JSON lines, graded one by one.

use super::math::{self, Grade};
use crate::Error;
use crate::sources::Lines;
use std::path::Path;

const SHAPE: &str = "{\"gold\": \"...\", \"answer\": \"...\"}";

/// Grades every line of the file at `path`, in order. The first line that is no pair ends it.
pub fn grade_file(path: &Path) -> Result<impl Iterator<Item = Result<Grade, Error>>, Error> {
    let mut lines = Lines::open(path, SHAPE)?;
    let mut broken = false;
    Ok(std::iter::from_fn(move || {
        if broken {
            return None;
        }
        let grade = next(&mut lines).transpose();
        broken = matches!(grade, Some(Err(_)));
        grade
    }))
}

fn next(lines: &mut Lines) -> Result<Option<Grade>, Error> {
    let Some(line) = lines.next_line()? else { return Ok(None) };
    for (column, named) in [("gold", "`gold`"), ("answer", "`answer`")] {
        if !line.object.contains_key(column) {
            return Err(line.missing(named, format!("write each line as `{SHAPE}`")));
        }
    }
    Ok(Some(math::compare(line.text("gold")?, line.text("answer")?)))
}
