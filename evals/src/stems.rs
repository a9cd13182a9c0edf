//! Which problems of a run share a stem, by the benchmark's `cluster` column; kept beside the run.

use crate::Error;
use retort_model::durable;
use std::collections::BTreeMap;
use std::path::Path;

/// The file's name in a run's folder: a JSON object of stems by uuid. It is not there where no problem has one.
const FILE: &str = "clusters.json";

/// Stems by the uuids of problems.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stems(BTreeMap<String, String>);

impl<'a> FromIterator<(&'a str, &'a str)> for Stems {
    /// From uuids with their stems; an empty stem is none.
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let named = pairs.into_iter().filter(|(_, stem)| !stem.is_empty());
        Self(named.map(|(uuid, stem)| (uuid.into(), stem.into())).collect())
    }
}

impl Stems {
    /// No problem shares anything.
    pub const fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// What a problem shares with others.
    pub fn of(&self, uuid: &str) -> Option<&str> {
        self.0.get(uuid).map(String::as_str)
    }

    /// Reads those of the run in `dir`.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Self).map_err(|source| Error::BadStems { path, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(Error::Io { action: "read", path, source }),
        }
    }

    /// Writes them beside the run in `dir`, where there are any.
    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let path = dir.join(FILE);
        let text = serde_json::to_vec(&self.0).map_err(Error::Unserialisable)?;
        durable::replace(&path, &text).map_err(|source| Error::Io { action: "written", path, source })
    }
}
