//! Recipes: TOML files with every setting of a stage, `--set key=value` on top, the result written beside the output.

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use toml::{Table, Value};

/// Reads a recipe file and applies `--set` changes.
pub fn read<T: DeserializeOwned>(path: &Path, set: &[String]) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("`{}` could not be read", path.display()))?;
    parse(&text, set).with_context(|| format!("recipe `{}` is not valid", path.display()))
}

/// Parses a recipe and applies `--set` changes.
pub fn parse<T: DeserializeOwned>(text: &str, set: &[String]) -> Result<T> {
    let mut table: Table = text.parse()?;
    for change in set {
        apply(&mut table, change)?;
    }
    // Through text once more, so that errors name line and key.
    Ok(toml::from_str(&toml::to_string(&table)?)?)
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

/// Writes the settings that a run really used to `recipe.toml` in its folder.
pub fn write(out: &Path, recipe: &impl Serialize) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("`{}` could not be created", out.display()))?;
    let text = toml::to_string_pretty(recipe)?;
    Ok(retort_model::checkpoint::write_bytes(&out.join("recipe.toml"), text.as_bytes())?)
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
}
