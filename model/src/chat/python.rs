//! What Jinja templates expect of the Python around them: how values print, `json.dumps`, `strftime`.

use super::template::LONGEST;
use jiff::tz::TimeZone;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Output, State, Value};
use std::fmt::Write;

/// Nesting that values may have when they are printed; they come from templates, and templates from strangers.
const DEEPEST: usize = 64;

/// Writes a value into the prompt as Python's `str` writes it.
pub(super) fn print(out: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => out.write_str(text),
        None if value.is_undefined() => Ok(()),
        None => out.write_str(&text(value)?),
    }
    .map_err(Error::from)
}

/// Python's `repr` of anything but a string at the outside.
fn text(value: &Value) -> Result<String, Error> {
    let style = Style { json: false, item: ", ", key: ": ", indent: None, sorted: false };
    let mut out = String::new();
    style.write(&mut out, value, 0)?;
    Ok(out)
}

/// `json.dumps(value, ensure_ascii=False, indent=..., separators=..., sort_keys=...)`.
pub(super) fn dumps(value: &Value, options: &Kwargs) -> Result<Value, Error> {
    let indent: Option<Value> = options.get("indent")?;
    let indent = match indent {
        Some(indent) if indent.as_str().is_some() => indent.as_str().map(str::to_string),
        Some(indent) => indent.as_usize().map(|width| " ".repeat(width.min(DEEPEST))),
        None => None,
    };
    let separators: Option<Vec<String>> = options.get("separators")?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.as_str(), key.as_str()),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "`separators` takes two strings")),
        None if indent.is_some() => (",", ": "),
        None => (", ", ": "),
    };
    let sorted: Option<bool> = options.get("sort_keys")?;
    // Text in other scripts is written as it is, whatever `ensure_ascii` asks: no template is known to ask for escapes.
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    if ascii == Some(true) {
        return Err(Error::new(ErrorKind::InvalidOperation, "`tojson(ensure_ascii=true)` is not supported"));
    }
    options.assert_all_used()?;
    let style = Style { json: true, item, key, indent, sorted: sorted.unwrap_or(false) };
    let mut out = String::new();
    style.write(&mut out, value, 0)?;
    Ok(Value::from_safe_string(out))
}

/// One of the two ways in which Python writes values: JSON, or `repr`.
struct Style<'a> {
    json: bool,
    item: &'a str,
    key: &'a str,
    indent: Option<String>,
    sorted: bool,
}

impl Style<'_> {
    fn write(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(Error::new(ErrorKind::InvalidOperation, "a value is nested too deeply to be written"));
        }
        // A few steps make a value of lists that share their parts, and of far more text than memory holds.
        if out.len() > LONGEST {
            return Err(Error::new(ErrorKind::InvalidOperation, "a value is too long to be written"));
        }
        let word = |json: &'static str, python: &'static str| if self.json { json } else { python };
        match value.kind() {
            ValueKind::Undefined if self.json => {
                return Err(Error::new(ErrorKind::InvalidOperation, "an undefined value cannot be written as JSON"));
            }
            ValueKind::Undefined => out.push_str("Undefined"),
            ValueKind::None => out.push_str(word("null", "None")),
            ValueKind::Bool if value.is_true() => out.push_str(word("true", "True")),
            ValueKind::Bool => out.push_str(word("false", "False")),
            ValueKind::String => match value.as_str() {
                Some(text) if self.json => out.push_str(&serde_json::Value::from(text).to_string()),
                Some(text) => quote(out, text),
                None => {}
            },
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sorted {
                    keys.sort();
                }
                self.bracket(out, ('{', '}'), depth, &keys, |out, key| {
                    // JSON's keys are strings whatever they were.
                    match (key.as_str(), self.json) {
                        (None, true) => out.push_str(&serde_json::Value::from(text(key)?).to_string()),
                        _ => self.write(out, key, depth + 1)?,
                    }
                    out.push_str(self.key);
                    self.write(out, &value.get_item(key)?, depth + 1)
                })?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.bracket(out, ('[', ']'), depth, &items, |out, item| self.write(out, item, depth + 1))?;
            }
            _ => {
                // Numbers write themselves.
                let _ = write!(out, "{value}");
            }
        }
        Ok(())
    }

    fn bracket(
        &self,
        out: &mut String,
        (open, close): (char, char),
        depth: usize,
        items: &[Value],
        each: impl Fn(&mut String, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(self.item);
            }
            self.new_line(out, depth + 1);
            each(out, item)?;
        }
        if !items.is_empty() {
            self.new_line(out, depth);
        }
        out.push(close);
        Ok(())
    }

    fn new_line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    }
}

/// A string between quotes, single ones unless it holds only those.
fn quote(out: &mut String, text: &str) {
    let sign = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(sign);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter == sign => out.extend(['\\', sign]),
            letter if letter.is_control() => {
                let _ = write!(out, "\\x{:02x}", letter as u32);
            }
            letter => out.push(letter),
        }
    }
    out.push(sign);
}

/// The time now, in UTC, by one of `strftime`'s formats.
pub(super) fn strftime_now(format: &str) -> Result<String, Error> {
    strftime(format, jiff::Timestamp::now())
}

fn strftime(format: &str, time: jiff::Timestamp) -> Result<String, Error> {
    jiff::fmt::strtime::format(format, &time.to_zoned(TimeZone::UTC))
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("`strftime_now`: {error}")))
}

/// An error with the causes that it keeps behind it.
pub(super) fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_python_writes_them() {
        let time = jiff::Timestamp::from_second(1_753_800_000).expect("a time"); // 2025-07-29 14:40:00
        for (format, expected) in [
            ("%d %b %Y", "29 Jul 2025"),
            ("%Y-%m-%d %H:%M:%S", "2025-07-29 14:40:00"),
            ("%A, %B %d, %y, %j, %I %p", "Tuesday, July 29, 25, 210, 02 PM"),
        ] {
            assert_eq!(strftime(format, time).expect(format), expected);
        }
        assert!(strftime("%", time).is_err());
    }
}
