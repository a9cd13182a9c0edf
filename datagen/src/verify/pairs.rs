//! Pairs of a gold and an answer from JSON lines, graded one by one.

use super::math::{self, Grade};
use crate::Error;
use crate::sources::Lines;
use std::path::Path;

const SHAPE: &str = "{\"gold\": \"...\", \"answer\": \"...\"}";

/// Grades every line of the file at `path`, in order. The first line that is no pair ends it.
pub fn grade_file(path: &Path) -> Result<impl Iterator<Item = Result<Grade, Error>>, Error> {
    Ok(read_pairs(path)?.map(|pair| pair.map(|(gold, answer)| math::compare(&gold, &answer))))
}

/// The gold and the answer of every line. The first line that is no pair ends it.
pub fn read_pairs(path: &Path) -> Result<impl Iterator<Item = Result<(String, String), Error>>, Error> {
    let mut lines = Lines::open(path, SHAPE)?;
    let mut broken = false;
    Ok(std::iter::from_fn(move || {
        if broken {
            return None;
        }
        let pair = next(&mut lines).transpose();
        broken = matches!(pair, Some(Err(_)));
        pair
    }))
}

fn next(lines: &mut Lines) -> Result<Option<(String, String)>, Error> {
    let Some(line) = lines.next_line()? else { return Ok(None) };
    for (column, named) in [("gold", "`gold`"), ("answer", "`answer`")] {
        if !line.object.contains_key(column) {
            return Err(line.missing(named, format!("write each line as `{SHAPE}`")));
        }
    }
    Ok(Some((line.text("gold")?.into(), line.text("answer")?.into())))
}
