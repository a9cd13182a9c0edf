//! The verifier as a setting: what a recipe says and a dataset's manifest keeps.

use super::answers::{ByDomain, Choice, Exact, Expression, Mathematical, Numeric, Pattern};
use super::combined::{All, Any};
use super::filtered::Filtered;
use super::schema::{JsonSchema, Schema};
use super::{Format, Verifier};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Which turns are right. In a recipe: `verify = "choice"`, `verify = { regex = '(\d+)$' }`, or a composition such as
/// `verify = { all = ["math", { format = { thinking = true } }] }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// What the problem's domain asks for: an expression for the gym's countdown, mathematics elsewhere.
    #[default]
    ByDomain,
    /// Mathematically equal to the gold, or the same words.
    Math,
    /// An expression of the gold's numbers with the gold's value.
    Expression,
    /// The same characters as the gold, but for white space.
    Exact,
    /// A decimal number within this share of the gold's size.
    Numeric(f64),
    /// The letter of the gold's option.
    Choice,
    /// A pattern that the response holds; where it has a group, that must be the gold.
    Regex(String),
    /// What lm-evaluation-harness finds by a pattern is the gold in its own sense.
    Filtered(Filtered),
    /// JSON of the schema in this file.
    JsonSchemaFile(PathBuf),
    /// JSON of this schema.
    JsonSchema(Value),
    /// How the turn is written, whatever its answer.
    Format(Format),
    /// Everything in the list.
    All(Vec<Rule>),
    /// Anything in the list.
    Any(Vec<Rule>),
}

/// Why a rule is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    #[error("`{path}` could not be read")]
    Schema {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` is not JSON")]
    SchemaJson {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("the JSON schema of the verifier cannot be followed: {0}")]
    BadSchema(String),
    #[error("the pattern of the verifier is none")]
    BadPattern(#[source] Box<regex::Error>),
    #[error("the verifier's setting {0}")]
    Setting(String),
}

impl Rule {
    /// Whether it is the rule of a recipe that says nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The same rule with what it names in files, which lie relative to `base`.
    pub fn with_files(self, base: &Path) -> Result<Self, RuleError> {
        let all = |rules: Vec<Self>| -> Result<_, RuleError> {
            rules.into_iter().map(|rule| rule.with_files(base)).collect()
        };
        Ok(match self {
            Self::JsonSchemaFile(file) => {
                let path = base.join(file);
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| RuleError::Schema { path: path.clone(), source })?;
                Self::JsonSchema(serde_json::from_str(&text).map_err(|source| RuleError::SchemaJson { path, source })?)
            }
            Self::All(rules) => Self::All(all(rules)?),
            Self::Any(rules) => Self::Any(all(rules)?),
            rule => rule,
        })
    }

    /// The verifier that follows the rule.
    pub fn verifier(&self) -> Result<Box<dyn Verifier>, RuleError> {
        let all = |rules: &[Self]| match rules {
            [] => Err(RuleError::Setting("lists no verifier: `all` and `any` need one at least".into())),
            rules => rules.iter().map(Self::verifier).collect::<Result<Vec<_>, _>>(),
        };
        Ok(match self {
            Self::ByDomain => Box::new(ByDomain),
            Self::Math => Box::new(Mathematical),
            Self::Expression => Box::new(Expression),
            Self::Exact => Box::new(Exact),
            Self::Numeric(tolerance) if tolerance.is_finite() && *tolerance >= 0.0 => {
                Box::new(Numeric { tolerance: *tolerance })
            }
            Self::Numeric(tolerance) => {
                return Err(RuleError::Setting(format!("`numeric` is {tolerance}, not a share of the gold's size")));
            }
            Self::Choice => Box::new(Choice),
            Self::Regex(pattern) => {
                Box::new(Pattern(pattern.parse().map_err(|error| RuleError::BadPattern(Box::new(error)))?))
            }
            Self::Filtered(filtered) => Box::new(filtered.compile()?),
            Self::JsonSchemaFile(file) => {
                return Err(RuleError::Setting(format!("names `{}`, which was not read", file.display())));
            }
            Self::JsonSchema(schema) => Box::new(JsonSchema(Schema::new(schema).map_err(RuleError::BadSchema)?)),
            Self::Format(format) => match format.fault() {
                Some(fault) => return Err(RuleError::Setting(fault)),
                None => Box::new(format.clone()),
            },
            Self::All(rules) => Box::new(All(all(rules)?)),
            Self::Any(rules) => Box::new(Any(all(rules)?)),
        })
    }
}
