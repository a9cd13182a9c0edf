//! Where a benchmark's rows come from, and what they hash to.

use crate::Error;
use crate::definition::Definition;
use retort_datagen::Error as DataError;
use retort_datagen::sources::{self, Selection, Table};
use std::path::PathBuf;

/// A file with the rows, or the folder of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub path: PathBuf,
    /// Config and split, where they are not to be those of the definition.
    pub selection: Selection,
}

impl Origin {
    /// The rows of the questions, and which part of the data they are.
    pub(super) fn open(&self, definition: &Definition) -> Result<(Table, Selection), Error> {
        let published = definition.data.as_ref();
        let of = |asked: &Option<String>, published: Option<String>| asked.clone().or(published);
        let selection = Selection {
            config: of(&self.selection.config, published.and_then(|data| data.config.clone())),
            split: of(&self.selection.split, published.map(|data| data.split.clone())),
        };
        if !self.path.is_dir() {
            // A single file is the split.
            return Ok((Table::open(&self.path, &self.selection)?, selection));
        }
        match Table::open(&self.path, &selection) {
            // A folder of one's own need not have the configs that the hub has.
            Err(DataError::NoChoice { what: "config", .. }) if self.selection.config.is_none() => {
                let selection = Selection { config: None, ..selection };
                Ok((Table::open(&self.path, &selection)?, selection))
            }
            table => Ok((table?, selection)),
        }
    }

    /// The rows of another split.
    pub(super) fn open_split(&self, selection: &Selection, split: &str) -> Result<Table, Error> {
        if !self.path.is_dir() {
            return Err(Error::NoExamples { path: self.path.clone(), split: split.into() });
        }
        Ok(Table::open(&self.path, &Selection { split: Some(split.into()), ..selection.clone() })?)
    }
}

/// blake3 of one file, or of the lines of the hashes of several.
pub(super) fn hash(files: &[PathBuf]) -> Result<String, Error> {
    let hashes = files.iter().map(|path| Ok(sources::hash(path)?)).collect::<Result<Vec<_>, Error>>()?;
    Ok(match hashes.as_slice() {
        [one] => one.clone(),
        several => blake3::hash(several.join("\n").as_bytes()).to_hex().to_string(),
    })
}
