//! Answers that must be JSON of a given shape.
//!
//! The part of JSON Schema (draft 2020-12) that describes answers: `type`, `enum`, `const`, `properties`, `required`,
//! `additionalProperties`, `items`, the bounds of lengths and numbers, `pattern`, `allOf`, `anyOf`, `oneOf`, `not`. Any
//! other keyword that could refuse something is refused itself, by name. Written here because the libraries for all of it
//! change how every number of the program is parsed, and bring in some fifty others.

use super::{Judgement, Verifier, quote};
use crate::problem::Problem;
use crate::sample::Verdict;
use regex::Regex;
use retort_model::generate::Completion;
use serde_json::{Map, Value};

/// Takes a response that is a JSON document of this schema, or whose last fenced block is one.
pub(super) struct JsonSchema(pub Schema);

impl Verifier for JsonSchema {
    fn verify(&self, _: &Problem, turn: &Completion) -> Judgement {
        let text = last_block(&turn.response).unwrap_or(&turn.response).trim();
        let Ok(document) = serde_json::from_str::<Value>(text) else {
            return Judgement::new(Verdict::NoAnswer, format!("no JSON: {}", quote(text)));
        };
        match self.0.fault(&document, "") {
            None => Judgement::new(Verdict::Right, "it has the shape asked for"),
            Some(fault) => Judgement::new(Verdict::Wrong, format!("another shape: {fault}")),
        }
    }
}

/// What stands in the last closed block between lines of three backticks.
fn last_block(response: &str) -> Option<&str> {
    let (before, _) = response.rsplit_once("```")?;
    let (_, block) = before.rsplit_once("```")?;
    // The rest of the opening line names the language.
    block.split_once('\n').map(|(_, block)| block)
}

/// One keyword, ready to be asked.
enum Check {
    Never,
    Types(Vec<String>),
    OneOf(Vec<Value>),
    Properties(Vec<(String, Schema)>),
    Required(Vec<String>),
    /// What a property must be that is none of these.
    Others(Vec<String>, Schema),
    Items(Schema),
    /// Of a text in characters, a list in items, an object in properties.
    Length(Of, u64, u64),
    Number(Bound, f64),
    Pattern(Regex),
    All(Vec<Schema>),
    Any(Vec<Schema>),
    ExactlyOne(Vec<Schema>),
    Not(Schema),
}

#[derive(Clone, Copy)]
enum Of {
    Text,
    List,
    Object,
}

#[derive(Clone, Copy)]
enum Bound {
    Least,
    Most,
    Above,
    Below,
}

/// A schema, ready to be asked.
pub(super) struct Schema(Vec<Check>);

/// Keywords that refuse nothing.
const NOTES: [&str; 9] =
    ["$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated", "format"];

/// Schemas inside schemas may go this deep.
const DEPTH: usize = 64;

impl Schema {
    /// Reads a schema; the error names the keyword that is not supported or malformed.
    pub(super) fn new(schema: &Value) -> Result<Self, String> {
        Self::at(schema, DEPTH)
    }

    fn at(schema: &Value, depth: usize) -> Result<Self, String> {
        let depth = depth.checked_sub(1).ok_or("it is nested too deeply")?;
        match schema {
            Value::Bool(true) => Ok(Self(vec![])),
            Value::Bool(false) => Ok(Self(vec![Check::Never])),
            Value::Object(keywords) => {
                let checks = keywords.iter().filter(|(key, _)| !NOTES.contains(&key.as_str()));
                Ok(Self(checks.map(|(key, value)| check(key, value, keywords, depth)).collect::<Result<_, _>>()?))
            }
            other => Err(format!("{other} is no schema")),
        }
    }

    /// Where and why a document does not fit.
    fn fault(&self, document: &Value, place: &str) -> Option<String> {
        self.0.iter().find_map(|check| check.fault(document, place))
    }

    fn fits(&self, document: &Value) -> bool {
        self.fault(document, "").is_none()
    }
}

fn check(key: &str, value: &Value, keywords: &Map<String, Value>, depth: usize) -> Result<Check, String> {
    let malformed = || format!("`{key}` is {value}");
    let schema = || Schema::at(value, depth);
    let schemas = || -> Result<Vec<Schema>, String> {
        value.as_array().ok_or_else(malformed)?.iter().map(|schema| Schema::at(schema, depth)).collect()
    };
    let texts = || -> Result<Vec<String>, String> {
        let texts = value.as_array().ok_or_else(malformed)?.iter().map(|text| text.as_str().map(str::to_owned));
        texts.collect::<Option<_>>().ok_or_else(malformed)
    };
    let properties = || keywords.get("properties").and_then(Value::as_object).into_iter().flatten();
    let count = || value.as_u64().ok_or_else(malformed);
    let number = || value.as_f64().ok_or_else(malformed);
    Ok(match key {
        "type" => {
            let types = if let Some(one) = value.as_str() { vec![one.to_owned()] } else { texts()? };
            let known = ["null", "boolean", "integer", "number", "string", "array", "object"];
            if types.iter().any(|name| !known.contains(&name.as_str())) {
                return Err(malformed());
            }
            Check::Types(types)
        }
        "enum" => Check::OneOf(value.as_array().ok_or_else(malformed)?.clone()),
        "const" => Check::OneOf(vec![value.clone()]),
        "properties" => {
            let parts = value.as_object().ok_or_else(malformed)?.iter();
            Check::Properties(
                parts
                    .map(|(name, part)| Ok((name.clone(), Schema::at(part, depth)?)))
                    .collect::<Result<_, String>>()?,
            )
        }
        "required" => Check::Required(texts()?),
        "additionalProperties" => Check::Others(properties().map(|(name, _)| name.clone()).collect(), schema()?),
        "items" => Check::Items(schema()?),
        "minLength" => Check::Length(Of::Text, count()?, u64::MAX),
        "maxLength" => Check::Length(Of::Text, 0, count()?),
        "minItems" => Check::Length(Of::List, count()?, u64::MAX),
        "maxItems" => Check::Length(Of::List, 0, count()?),
        "minProperties" => Check::Length(Of::Object, count()?, u64::MAX),
        "maxProperties" => Check::Length(Of::Object, 0, count()?),
        "minimum" => Check::Number(Bound::Least, number()?),
        "maximum" => Check::Number(Bound::Most, number()?),
        "exclusiveMinimum" => Check::Number(Bound::Above, number()?),
        "exclusiveMaximum" => Check::Number(Bound::Below, number()?),
        "pattern" => Check::Pattern(value.as_str().and_then(|text| Regex::new(text).ok()).ok_or_else(malformed)?),
        "allOf" => Check::All(schemas()?),
        "anyOf" => Check::Any(schemas()?),
        "oneOf" => Check::ExactlyOne(schemas()?),
        "not" => Check::Not(schema()?),
        _ => return Err(format!("the keyword `{key}` is not supported")),
    })
}

impl Check {
    fn fault(&self, document: &Value, place: &str) -> Option<String> {
        let here = if place.is_empty() { "the document" } else { place };
        let refuse =
            |fits: bool, what: &str| (!fits).then(|| format!("{here} {what}: {}", quote(&document.to_string())));
        match self {
            Self::Never => refuse(false, "must not be there"),
            Self::Types(types) => refuse(types.iter().any(|name| is_a(document, name)), "is no ")
                .map(|fault| fault.replacen("is no ", &format!("is no {}", types.join(" or ")), 1)),
            Self::OneOf(values) => refuse(values.iter().any(|value| same(value, document)), "is none of the values"),
            Self::Properties(parts) => parts.iter().find_map(|(name, schema)| {
                document.get(name).and_then(|part| schema.fault(part, &format!("{place}/{name}")))
            }),
            Self::Required(names) => {
                let object = document.as_object()?;
                let missing = names.iter().find(|name| !object.contains_key(*name))?;
                Some(format!("{here} has no `{missing}`"))
            }
            Self::Others(known, schema) => {
                let mut others = document.as_object()?.iter().filter(|(name, _)| !known.contains(name));
                others.find_map(|(name, part)| schema.fault(part, &format!("{place}/{name}")))
            }
            Self::Items(schema) => {
                let mut items = document.as_array()?.iter().enumerate();
                items.find_map(|(at, item)| schema.fault(item, &format!("{place}/{at}")))
            }
            Self::Length(of, least, most) => {
                let length = match (of, document) {
                    (Of::Text, Value::String(text)) => text.chars().count(),
                    (Of::List, Value::Array(items)) => items.len(),
                    (Of::Object, Value::Object(parts)) => parts.len(),
                    _ => return None,
                };
                refuse((*least..=*most).contains(&(length as u64)), "is too short or too long")
            }
            Self::Number(bound, limit) => {
                let number = document.as_f64()?;
                let fits = match bound {
                    Bound::Least => number >= *limit,
                    Bound::Most => number <= *limit,
                    Bound::Above => number > *limit,
                    Bound::Below => number < *limit,
                };
                refuse(fits, "is too small or too large")
            }
            Self::Pattern(pattern) => refuse(pattern.is_match(document.as_str()?), "does not match"),
            Self::All(schemas) => schemas.iter().find_map(|schema| schema.fault(document, place)),
            Self::Any(schemas) => refuse(schemas.iter().any(|schema| schema.fits(document)), "fits none of `anyOf`"),
            Self::ExactlyOne(schemas) => {
                let fitting = schemas.iter().filter(|schema| schema.fits(document)).count();
                refuse(fitting == 1, "fits not exactly one of `oneOf`")
            }
            Self::Not(schema) => refuse(!schema.fits(document), "is what it must `not` be"),
        }
    }
}

fn is_a(document: &Value, name: &str) -> bool {
    match (name, document) {
        ("integer", Value::Number(number)) => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        ("null", Value::Null)
        | ("boolean", Value::Bool(_))
        | ("number", Value::Number(_))
        | ("string", Value::String(_))
        | ("array", Value::Array(_))
        | ("object", Value::Object(_)) => true,
        _ => false,
    }
}

/// Equality that does not tell 1 from 1.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}
