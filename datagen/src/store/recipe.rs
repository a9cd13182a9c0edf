//! `recipe.toml`: the settings by which a dataset was made from others, for people and for the next curation.
//!
//! The manifest holds them too, under its checksum. That is what the file is checked against and what it is written from,
//! so it is as well kept as the manifest; a flipped bit that leaves every value as it was, in a space say, is no damage.

use super::folder::Folder;
use super::manifest::{Manifest, Origin};
use crate::Error;
use serde_json::Value;

pub(super) const FILE: &str = "recipe.toml";

/// Writes it where the dataset was made by a recipe.
pub(super) fn write(folder: &Folder, manifest: &Manifest) -> Result<(), Error> {
    match settings(manifest).and_then(|settings| toml::to_string_pretty(&settings).ok()) {
        Some(text) => folder.write(FILE, text.as_bytes()),
        None => Ok(()),
    }
}

/// Refuses one that says something else than the manifest; one that is not there is fine.
pub(super) fn check(folder: &Folder, manifest: &Manifest) -> Result<(), Error> {
    let (Some(bytes), Some(expected)) = (folder.read(FILE)?, settings(manifest)) else { return Ok(()) };
    let damaged = |found: String| Error::Damaged {
        path: folder.path(FILE),
        part: "what it says",
        expected: "what the manifest says".into(),
        found,
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged("no text".into()))?;
    let found: toml::Table = text.parse().map_err(|error: toml::de::Error| damaged(error.message().to_owned()))?;
    if found == expected { Ok(()) } else { Err(damaged("something else".into())) }
}

/// The recipe in the manifest; `None` where the dataset was made otherwise.
fn settings(manifest: &Manifest) -> Option<toml::Table> {
    let Origin::Derived(derived) = &manifest.origin else { return None };
    let mut recipe = derived.settings.get("recipe")?.clone();
    without_nulls(&mut recipe);
    toml::Table::try_from(&recipe).ok()
}

/// TOML has no null: what is not set is not there.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}
