//! Values inside a row: found by their path, named by their kind.

use serde_json::{Map, Value};

/// The value under `name`: a column of that very name first, else a path whose steps are parted by dots.
pub(super) fn find<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(name) {
        return Some(value);
    }
    let mut steps = name.split('.');
    let first = object.get(steps.next()?)?;
    steps.try_fold(first, |value, step| match value {
        Value::Object(inner) => inner.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Columns, and the fields of those that are objects themselves, as paths.
pub(super) fn names(object: &Map<String, Value>) -> Vec<String> {
    let paths = object.iter().flat_map(|(column, value)| match value {
        Value::Object(inner) if !inner.is_empty() => {
            inner.keys().map(|field| format!("{column}.{field}")).collect::<Vec<_>>()
        }
        _ => vec![column.clone()],
    });
    paths.collect()
}

/// What a value is, for a sentence.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
