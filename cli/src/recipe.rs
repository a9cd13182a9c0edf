//! Recipes: TOML files with every setting of a stage, `--set key=value` on top, the result written beside the output.

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Reads a recipe file and applies `--set` changes.
pub fn read<T: DeserializeOwned>(path: &Path, set: &[String]) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("`{}` could not be read", path.display()))?;
    parse(&text, set).with_context(|| format!("recipe `{}` is not valid", path.display()))
}

/// A recipe of which the file at `path`, if there is one, and then `--set` change single settings.
pub fn over<T: Serialize + DeserializeOwned>(base: &T, path: Option<&Path>, set: &[String]) -> Result<T> {
    let Some(path) = path else {
        let mut table = Table::try_from(base)?;
        set.iter().try_for_each(|change| apply(&mut table, change))?;
        return T::deserialize(table).context("`--set` does not fit the recipe");
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("`{}` could not be read", path.display()))?;
    // Read by itself first: what is wrong with it has a line.
    let invalid = || format!("recipe `{}` is not valid", path.display());
    let changes: Table = toml::from_str::<T>(&text).and_then(|_| text.parse()).with_context(invalid)?;
    let mut table = Table::try_from(base)?;
    merge(&mut table, changes);
    set.iter().try_for_each(|change| apply(&mut table, change))?;
    T::deserialize(table).with_context(invalid)
}

/// Puts every value of `changes` in its place; sections are merged, everything else is replaced.
fn merge(table: &mut Table, changes: Table) {
    for (key, value) in changes {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(changes)) => merge(inner, changes),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}

/// Parses a recipe and applies `--set` changes.
pub fn parse<T: DeserializeOwned>(text: &str, set: &[String]) -> Result<T> {
    if set.is_empty() {
        return Ok(toml::from_str(text)?);
    }
    let mut table: Table = text.parse()?;
    for change in set {
        apply(&mut table, change)?;
    }
    // Without the text, whose lines the changes do not have; the error names the key.
    T::deserialize(table).with_context(|| format!("with `--set {}`", set.join(" --set ")))
}

fn apply(table: &mut Table, change: &str) -> Result<()> {
    let Some((key, value)) = change.split_once('=') else {
        bail!("`--set {change}` has no `=`; write `--set section.key=value`");
    };
    // What does not parse as a TOML value is a string.
    let value = format!("x = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("x"))
        .unwrap_or_else(|| Value::String(value.into()));
    let (sections, last) = match key.rsplit_once('.') {
        Some((sections, last)) => (sections.split('.').collect(), last),
        None => (vec![], key),
    };
    let mut place = table;
    for section in sections {
        let inner = place.entry(section).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = inner else { bail!("`--set {change}`: `{section}` is not a section") };
        place = inner;
    }
    place.insert(last.into(), value);
    Ok(())
}

/// Writes the settings that a run really uses to `recipe.toml` in its folder. A folder that holds a run with other
/// settings is refused, before anything in it changes.
pub fn claim(out: &Path, recipe: &impl Serialize) -> Result<()> {
    let path = out.join("recipe.toml");
    let text = toml::to_string_pretty(recipe)?;
    if path.is_file() {
        let before =
            std::fs::read_to_string(&path).with_context(|| format!("`{}` could not be read", path.display()))?;
        let before: Table =
            before.parse().with_context(|| format!("`{}` of an earlier run is not valid", path.display()))?;
        let (before, now) = (leaves(before), leaves(text.parse()?));
        let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let shown = |value: Option<&Value>| value.map_or("unset".into(), Value::to_string);
        let changed: Vec<String> = names
            .into_iter()
            .filter(|name| before.get(*name) != now.get(*name) && !is_of_memory(name))
            .map(|name| format!("{name} was {} and is {}", shown(before.get(name)), shown(now.get(name))))
            .collect();
        if !changed.is_empty() {
            return Err(OtherSettings { out: out.into(), changed: changed.join(", ") }.into());
        }
        if before == now {
            return Ok(());
        }
    }
    std::fs::create_dir_all(out).with_context(|| format!("`{}` could not be created", out.display()))?;
    Ok(retort_model::checkpoint::write_bytes(&path, text.as_bytes())?)
}

/// Whether a setting is one of memory alone, which a run may go on with others of.
fn is_of_memory(name: &str) -> bool {
    ["micro_batch_tokens", "recompute"].contains(&name.rsplit('.').next().unwrap_or(name))
}

/// A folder that holds a run with other settings.
#[derive(Debug)]
pub struct OtherSettings {
    out: PathBuf,
    changed: String,
}

impl std::fmt::Display for OtherSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` holds a run with other settings: {}", self.out.display(), self.changed)
    }
}

impl std::error::Error for OtherSettings {}

/// Values by their dotted keys.
fn leaves(table: Table) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                found.extend(leaves(inner).into_iter().map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            leaf => {
                found.insert(key, leaf);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Small {
        name: String,
        inner: Inner,
    }
    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        steps: u64,
        rate: f64,
    }

    #[test]
    fn changes_override_and_unknown_keys_are_refused() -> Result<()> {
        let text = "name = 'a'\n[inner]\nsteps = 1\nrate = 0.5\n";
        let changed: Small = parse(text, &["inner.steps=7".into(), "name=b c".into()])?;
        assert_eq!(changed, Small { name: "b c".into(), inner: Inner { steps: 7, rate: 0.5 } });
        assert!(parse::<Small>(text, &["inner.stepz=7".into()]).is_err());
        assert!(parse::<Small>(text, &["inner.steps".into()]).is_err());
        Ok(())
    }

    #[test]
    fn a_run_may_go_on_with_other_settings_of_memory_alone() -> Result<()> {
        let out = tempfile::tempdir()?;
        let recipe = |tokens: u32, rate: f64| {
            BTreeMap::from([("student", BTreeMap::from([("micro_batch_tokens", f64::from(tokens)), ("rate", rate)]))])
        };
        claim(out.path(), &recipe(4096, 0.5))?;
        assert!(claim(out.path(), &recipe(4096, 0.6)).is_err());
        claim(out.path(), &recipe(512, 0.5))?;
        assert!(std::fs::read_to_string(out.path().join("recipe.toml"))?.contains("512"));
        Ok(())
    }
}
