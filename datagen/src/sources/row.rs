//! One row of a source: a JSON object and where it stands.

use super::cell;
use crate::Error;
use serde_json::{Map, Value};
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Far above any problem with its traces; it bounds what one row of a hostile file makes us hold.
pub(super) const MAX_ROW: usize = 64 << 20;

/// Where a row stands, for errors: `line 3 of problems.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub path: Arc<PathBuf>,
    /// Text files have lines, others rows; both are counted from 1.
    pub unit: &'static str,
    pub number: u64,
}

impl Place {
    pub(super) fn line(path: &Arc<PathBuf>, number: u64) -> Self {
        Self { path: path.clone(), unit: "line", number }
    }

    pub(super) fn row(path: &Arc<PathBuf>, number: u64) -> Self {
        Self { path: path.clone(), unit: "row", number }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of `{}`", self.unit, self.number, self.path.display())
    }
}

/// A row and its place.
#[derive(Debug, Clone)]
pub struct Row {
    pub place: Place,
    pub object: Map<String, Value>,
}

/// What every source yields.
pub(super) trait Rows {
    /// The next row; `None` at the end. After an error there is nothing more.
    fn next_row(&mut self) -> Result<Option<Row>, Error>;
}

impl Row {
    /// The file that it stands in.
    pub(crate) fn file(&self) -> &Path {
        &self.place.path
    }

    /// The value under a name: a column, or a dotted path into one (`reward_model.ground_truth`, `answers.0`). A value
    /// that is null counts as not there.
    pub fn get(&self, name: &str) -> Option<&Value> {
        cell::find(&self.object, name).filter(|value| !value.is_null())
    }

    /// The text in a column that must be there.
    pub(crate) fn text(&self, column: &str) -> Result<&str, Error> {
        match cell::find(&self.object, column) {
            Some(Value::String(text)) => Ok(text),
            other => Err(self.wrong_type(column, "a string", other)),
        }
    }

    pub(crate) fn wrong_type(&self, column: &str, expected: &'static str, found: Option<&Value>) -> Error {
        let (place, column) = (self.place.clone(), column.to_owned());
        Error::WrongType { place, column, expected, found: found.map_or("nothing", cell::kind) }
    }

    /// The error of a row without the columns `expected`; it lists those that are there.
    pub(crate) fn missing(&self, expected: impl Into<String>, remedy: impl Into<String>) -> Error {
        const SHOWN: usize = 16;
        let names = cell::names(&self.object);
        let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
        let found = match names.len() {
            0 => "none".to_owned(),
            1..=SHOWN => shown.join(", "),
            more => format!("{} and {} more", shown.join(", "), more - SHOWN),
        };
        Error::MissingColumn { place: self.place.clone(), expected: expected.into(), found, remedy: remedy.into() }
    }

    pub(crate) fn empty(&self, column: &str, part: &'static str) -> Error {
        Error::EmptyText { place: self.place.clone(), column: column.into(), part }
    }
}
