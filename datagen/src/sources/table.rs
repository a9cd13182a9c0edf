//! A source as one sequence of rows: a file, or the files of a dataset's folder that make up one split.

use super::lines::Lines;
use super::row::{Row, Rows};
use super::{columns, compressed, dataset, delimited, ipc};
use crate::Error;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Which part of a dataset's folder is meant, where it has several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    pub config: Option<String>,
    pub split: Option<String>,
}

/// The rows of a source, in the order of its files.
pub struct Table {
    files: std::vec::IntoIter<PathBuf>,
    all: Vec<PathBuf>,
    current: Option<Box<dyn Rows>>,
}

const SHAPE: &str = "{\"problem\": \"...\", \"answer\": \"...\"}";
const READABLE: &str =
    "`.jsonl`, `.csv`, `.tsv` (also with `.gz` or `.zst` behind), `.parquet`, `.arrow`, or a dataset's folder";

/// Endings of the files that rows are read from, without those of compression.
pub(super) const ENDINGS: [&str; 8] = ["jsonl", "ndjson", "csv", "tsv", "parquet", "arrow", "feather", "ipc"];

/// The ending that tells a file's format: that before `.gz` or `.zst`, where it ends so.
pub(super) fn ending(path: &Path) -> Option<&str> {
    let ending = path.extension()?.to_str()?;
    if !compressed::ENDINGS.contains(&ending) {
        return Some(ending);
    }
    // Only text is compressed as a whole.
    Path::new(path.file_stem()?).extension()?.to_str().filter(|inner| ENDINGS[..4].contains(inner))
}

impl Table {
    /// Opens a file, or the folder of a dataset as the hub's tools leave it.
    pub fn open(path: &Path, selection: &Selection) -> Result<Self, Error> {
        if path.is_dir() {
            let files = dataset::files(path, selection)?;
            return Ok(Self { all: files.clone(), files: files.into_iter(), current: None });
        }
        for (what, asked) in [("config", &selection.config), ("split", &selection.split)] {
            if let Some(asked) = asked {
                let (path, asked, choices) = (path.to_path_buf(), asked.clone(), "none: it is a single file".into());
                return Err(Error::NoChoice { path, what, asked, choices });
            }
        }
        let mut table = Self { files: Vec::new().into_iter(), all: vec![path.into()], current: None };
        // At once, so that what is wrong with the only file is said when it is named.
        table.current = Some(open_file(path)?);
        Ok(table)
    }

    /// Whether the name of a file is that of one with rows.
    pub fn reads(path: &Path) -> bool {
        ending(path).is_some_and(|ending| ENDINGS.contains(&ending))
    }

    /// The files that it is read from.
    pub fn files(&self) -> &[PathBuf] {
        &self.all
    }

    /// The next row; `None` behind the last one.
    pub fn next_row(&mut self) -> Result<Option<Row>, Error> {
        loop {
            if let Some(rows) = &mut self.current
                && let Some(row) = rows.next_row()?
            {
                return Ok(Some(row));
            }
            match self.files.next() {
                Some(file) => self.current = Some(open_file(&file)?),
                None => return Ok(None),
            }
        }
    }
}

fn open_file(path: &Path) -> Result<Box<dyn Rows>, Error> {
    Ok(match ending(path) {
        Some("jsonl" | "ndjson") => Box::new(Lines::open(path, SHAPE)?),
        Some("csv") => Box::new(delimited::Delimited::open(path, b',')?),
        Some("tsv") => Box::new(delimited::Delimited::open(path, b'\t')?),
        Some("parquet") => Box::new(columns::parquet(path)?),
        Some("arrow" | "feather" | "ipc") => Box::new(ipc::open(path)?),
        _ if !path.exists() => {
            return Err(Error::Io { action: "read", path: path.into(), source: ErrorKind::NotFound.into() });
        }
        ending => {
            let found = ending.or(path.extension().and_then(|ending| ending.to_str())).unwrap_or_default().to_owned();
            return Err(Error::UnknownFormat { path: path.into(), expected: READABLE, found });
        }
    })
}
