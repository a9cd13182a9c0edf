//! `model.safetensors.index.json`: which shard holds which tensor. It is input, and held against the shards themselves.

use crate::Error;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

#[derive(Deserialize)]
struct Json {
    weight_map: BTreeMap<String, String>,
}

/// An index whose shards are all there.
pub(super) struct Index {
    /// File name by tensor.
    places: BTreeMap<String, String>,
    /// The shards, each once.
    pub files: Vec<PathBuf>,
}

/// Reads the index at `path`; every shard must be a file of `folder`.
pub(super) fn shards(folder: &Path, path: &Path) -> Result<Index, Error> {
    let Json { weight_map: places } = crate::files::read_json(path)?;
    if places.is_empty() {
        return Err(Error::EmptyIndex { index: path.into() });
    }
    let mut seen = BTreeSet::new();
    for (name, file) in &places {
        if !seen.insert(file) {
            continue;
        }
        let refuse = |found: &str| {
            Err(Error::Index { index: path.into(), name: name.clone(), fault: format!("`{file}`, {found}") })
        };
        // The index may not lead out of its folder.
        if !Path::new(file).components().eq([Component::Normal(file.as_ref())]) {
            return refuse("which is not the name of a file beside it");
        }
        if !folder.join(file).is_file() {
            return refuse("which is not there");
        }
    }
    let files = seen.into_iter().map(|file| folder.join(file)).collect();
    Ok(Index { places, files })
}

impl Index {
    /// Every tensor must be where the index says, and the index must say so of every tensor.
    pub(super) fn check<'a>(
        &self,
        path: &Path,
        mut names: impl Iterator<Item = &'a str>,
        found: impl Fn(&str) -> Option<&'a Path>,
    ) -> Result<(), Error> {
        let refuse = |name: &str, fault: String| Err(Error::Index { index: path.into(), name: name.into(), fault });
        for (name, file) in &self.places {
            match found(name) {
                None => return refuse(name, format!("`{file}`, which does not hold it")),
                Some(path) if path.file_name() != Some(file.as_ref()) => {
                    return refuse(name, format!("`{file}`, but it is in `{}`", path.display()));
                }
                Some(_) => {}
            }
        }
        if let Some(name) = names.find(|name| !self.places.contains_key(*name)) {
            let place = found(name).map(|path| path.display().to_string()).unwrap_or_default();
            return refuse(name, format!("no shard, but it is in `{place}`"));
        }
        Ok(())
    }
}
