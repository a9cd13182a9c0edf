//! The `[objective]` section of a recipe: a weighted sum of losses, each with what it needs and nothing else.

use crate::Error;
use retort_model::score::Want;
use serde::{Deserialize, Serialize};

/// What is minimised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveSettings {
    pub terms: Vec<Term>,
}

impl Default for ObjectiveSettings {
    fn default() -> Self {
        Self { terms: vec![Term::CrossEntropy { weight: 1.0 }] }
    }
}

/// How much of a teacher's distribution a divergence sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    Full,
    /// The likeliest so many, the rest as one more outcome.
    TopK(usize),
}

/// One loss. Formula and source of each stand in the file of its name in `kernels/src/losses/` or beside this one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "loss", rename_all = "snake_case", deny_unknown_fields)]
pub enum Term {
    CrossEntropy {
        weight: f64,
    },
    ForwardKl {
        weight: f64,
        #[serde(default = "one")]
        temperature: f64,
        rows: Rows,
    },
    ReverseKl {
        weight: f64,
        #[serde(default = "one")]
        temperature: f64,
        rows: Rows,
    },
    JensenShannon {
        weight: f64,
        beta: f64,
        #[serde(default = "one")]
        temperature: f64,
        rows: Rows,
    },
    SkewedKl {
        weight: f64,
        alpha: f64,
        #[serde(default = "one")]
        temperature: f64,
        rows: Rows,
    },
    SkewedReverseKl {
        weight: f64,
        alpha: f64,
        #[serde(default = "one")]
        temperature: f64,
        rows: Rows,
    },
    /// Forward KL to draws from the teacher.
    Sampled {
        weight: f64,
        /// Draws per token of a teacher that is asked while training; captured ones have their own number.
        #[serde(default)]
        draws: Option<u32>,
    },
    /// Reverse KL estimated from the tokens that the student wrote.
    SampledReverseKl {
        weight: f64,
    },
    /// The clipped surrogate of a policy's own tokens by what they earned.
    PolicyGradient {
        weight: f64,
        clip_low: f64,
        clip_high: f64,
    },
    /// KL to a reference policy, estimated from the tokens that the student wrote without ever being negative.
    ReferenceKl {
        weight: f64,
    },
    /// Squared distance of the final hidden states.
    Hidden {
        weight: f64,
    },
    /// Sorted probabilities, for a teacher with another vocabulary.
    Sorted {
        weight: f64,
        #[serde(default = "one")]
        temperature: f64,
    },
}

fn one() -> f64 {
    1.0
}

/// What a term needs to know of a teacher, token by token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Nothing,
    /// What the student's own tokens earned.
    Earned,
    /// The log-probability of the token that came.
    Token,
    /// The likeliest so many at temperature 1.
    TopK(usize),
    /// Tokens drawn at temperature 1; how many, where that is not captured.
    Draws(Option<u32>),
    /// All of its distribution.
    Full,
    Hidden,
}

impl Need {
    /// Whether it is what a teacher takes the next token to be.
    pub(super) fn is_a_distribution(self) -> bool {
        matches!(self, Self::Token | Self::TopK(_) | Self::Draws(_) | Self::Full)
    }

    /// What a teacher is asked for it.
    pub(super) fn want(self) -> Option<Want> {
        match self {
            Self::Nothing | Self::Earned => None,
            Self::Token => Some(Want::Sampled),
            Self::TopK(k) => Some(Want::TopK(k)),
            Self::Draws(_) | Self::Full => Some(Want::Full),
            Self::Hidden => Some(Want::Hidden),
        }
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self, self.want()) {
            (Self::Earned, _) => write!(f, "rewards"),
            (Self::Draws(_), _) => write!(f, "draws"),
            (_, Some(want)) => want.fmt(f),
            (_, None) => write!(f, "nothing"),
        }
    }
}

impl Term {
    /// The name under which a recipe asks for it and a log shows it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CrossEntropy { .. } => "cross_entropy",
            Self::ForwardKl { .. } => "forward_kl",
            Self::ReverseKl { .. } => "reverse_kl",
            Self::JensenShannon { .. } => "jensen_shannon",
            Self::SkewedKl { .. } => "skewed_kl",
            Self::SkewedReverseKl { .. } => "skewed_reverse_kl",
            Self::Sampled { .. } => "sampled",
            Self::SampledReverseKl { .. } => "sampled_reverse_kl",
            Self::PolicyGradient { .. } => "policy_gradient",
            Self::ReferenceKl { .. } => "reference_kl",
            Self::Hidden { .. } => "hidden",
            Self::Sorted { .. } => "sorted",
        }
    }

    /// Its factor in the sum.
    pub fn weight(&self) -> f64 {
        match *self {
            Self::CrossEntropy { weight }
            | Self::ForwardKl { weight, .. }
            | Self::ReverseKl { weight, .. }
            | Self::JensenShannon { weight, .. }
            | Self::SkewedKl { weight, .. }
            | Self::SkewedReverseKl { weight, .. }
            | Self::Sampled { weight, .. }
            | Self::SampledReverseKl { weight }
            | Self::PolicyGradient { weight, .. }
            | Self::ReferenceKl { weight }
            | Self::Hidden { weight }
            | Self::Sorted { weight, .. } => weight,
        }
    }

    /// The temperature of both distributions.
    pub fn temperature(&self) -> f64 {
        match *self {
            Self::ForwardKl { temperature, .. }
            | Self::ReverseKl { temperature, .. }
            | Self::JensenShannon { temperature, .. }
            | Self::SkewedKl { temperature, .. }
            | Self::SkewedReverseKl { temperature, .. }
            | Self::Sorted { temperature, .. } => temperature,
            _ => 1.0,
        }
    }

    /// How much of the teacher's distribution it sees, where it is a divergence.
    pub fn rows(&self) -> Option<Rows> {
        match *self {
            Self::ForwardKl { rows, .. }
            | Self::ReverseKl { rows, .. }
            | Self::JensenShannon { rows, .. }
            | Self::SkewedKl { rows, .. }
            | Self::SkewedReverseKl { rows, .. } => Some(rows),
            _ => None,
        }
    }

    /// What it needs to know of a teacher.
    pub fn need(&self) -> Need {
        match *self {
            Self::CrossEntropy { .. } => Need::Nothing,
            Self::Sampled { draws, .. } => Need::Draws(draws),
            Self::PolicyGradient { .. } => Need::Earned,
            Self::SampledReverseKl { .. } | Self::ReferenceKl { .. } => Need::Token,
            Self::Hidden { .. } => Need::Hidden,
            Self::Sorted { .. } => Need::Full,
            _ => match self.rows() {
                Some(Rows::TopK(k)) => Need::TopK(k),
                _ => Need::Full,
            },
        }
    }

    /// Refuses numbers that make no loss.
    fn check(&self) -> Result<(), Error> {
        let bad = |reason: String| Err(Error::Objective { loss: self.name(), reason });
        let positive = |x: f64| x.is_finite() && x > 0.0;
        for (field, value) in [("weight", self.weight()), ("temperature", self.temperature())] {
            if !positive(value) {
                return bad(format!("has `{field}` {value}, which must be a number above 0"));
            }
        }
        match *self {
            Self::JensenShannon { beta, .. } if !(beta > 0.0 && beta < 1.0) => {
                bad(format!("has `beta` {beta}, which lies between 0 (as `forward_kl`) and 1 (as `reverse_kl`)"))
            }
            Self::SkewedKl { alpha, .. } | Self::SkewedReverseKl { alpha, .. } if !(0.0..1.0).contains(&alpha) => {
                bad(format!("has `alpha` {alpha}, which must be from 0 to below 1"))
            }
            Self::Sampled { draws: Some(0), .. } => bad("has `draws` 0, which must be at least 1".into()),
            Self::PolicyGradient { clip_low, clip_high, .. }
                if !((0.0..1.0).contains(&clip_low) && clip_high >= 0.0) =>
            {
                bad(format!(
                    "has bounds {clip_low} below and {clip_high} above; the first is from 0 to below 1, the other 0 or more"
                ))
            }
            _ if matches!(self.rows(), Some(Rows::TopK(_))) && self.temperature() != 1.0 => bad(format!(
                "has temperature {} and not all rows: the likeliest tokens at 1 do not say what the others would have at \
                 another temperature",
                self.temperature()
            )),
            _ if self.rows() == Some(Rows::TopK(0)) => bad("has `top_k` 0, which must be at least 1".into()),
            _ => Ok(()),
        }
    }
}

impl ObjectiveSettings {
    /// Refuses an empty sum and terms that make no loss.
    pub fn check(&self) -> Result<(), Error> {
        if self.terms.is_empty() {
            return Err(Error::Setting { field: "objective.terms", value: "[]".into(), allowed: "at least one loss" });
        }
        self.terms.iter().try_for_each(Term::check)
    }

    /// A term that is estimated by the student's own tokens: on others' it would call best what lies furthest from them.
    pub fn of_own_tokens(&self) -> Option<&Term> {
        self.terms.iter().find(|term| matches!(term, Term::SampledReverseKl { .. } | Term::ReferenceKl { .. }))
    }

    /// Whether some term learns from what the student's own completions earned.
    pub fn needs_rewards(&self) -> bool {
        self.terms.iter().any(|term| term.need() == Need::Earned)
    }

    /// Whether every term learns from tokens alone.
    pub fn is_plain(&self) -> bool {
        self.terms.iter().all(|term| matches!(term, Term::CrossEntropy { .. }))
    }

    /// The first term that takes teacher and student to have the same tokens.
    pub fn shares_tokenizer(&self) -> Option<Term> {
        self.terms.iter().copied().find(|term| !matches!(term, Term::CrossEntropy { .. } | Term::Sorted { .. }))
    }
}
