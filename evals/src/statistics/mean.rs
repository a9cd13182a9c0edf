//! The mean score of a run with its 95% interval.
//!
//! Each question's score is the mean over its k samples; the score of the run is the mean over questions, and
//! SE = sd(question scores) / sqrt(questions). Because questions are the unit, this SE holds both sources of noise: which
//! questions were drawn and which samples were. Source: E. Miller, Adding Error Bars to Evals, arXiv 2411.00640.
//!
//! Which interval: mean ± 1.96 SE, unless one of these holds, when it is Wilson's with the questions as trials:
//! every question has one sample (the scores are then plain coin tosses, Wilson's own case); there are fewer than 30
//! questions; or fewer than 10 questions' worth of right or of wrong answers, where the normal approximation fails
//! (Bowyer et al., arXiv 2503.01747); or all questions score the same. Questions that share a stem count by clusters.

use super::clusters::{Clusters, Spread};
use super::{Interval, Z95, wilson};
use serde::{Deserialize, Serialize};

/// What a model did on one question; `samples` is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    pub right: u32,
    pub samples: u32,
}

impl Question {
    /// The share of right samples.
    pub fn score(self) -> f64 {
        f64::from(self.right) / f64::from(self.samples)
    }
}

/// How the interval of a mean was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Mean ± 1.96 SE over questions.
    Normal,
    /// Wilson's score interval with the questions as trials.
    Wilson,
}

/// The mean score over questions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    pub value: f64,
    pub ci95: Interval,
    pub method: Method,
    /// Standard error over questions, or clusters of them; `None` for a single one.
    pub standard_error: Option<f64>,
    /// The part of the standard error that more samples per question would remove,
    /// sqrt(sum of p(1-p)/(k-1)) / questions; `None` where a question has a single sample.
    pub sampling_error: Option<f64>,
}

/// The mean score of `questions`, which `clusters` groups, with its interval; `None` without questions.
pub fn mean_score(questions: &[Question], clusters: &Clusters) -> Option<Mean> {
    if questions.is_empty() {
        return None;
    }
    let scores: Vec<f64> = questions.iter().map(|question| question.score()).collect();
    let Spread { mean: value, standard_error, questions: worth } = clusters.spread(&scores);
    let single = questions.iter().all(|question| question.samples == 1);
    let few = clusters.count() < 30 || value.min(1.0 - value) * worth < 10.0;
    let (ci95, method) = match standard_error {
        Some(error) if !single && !few && error > 0.0 => {
            (Interval::around(value, Z95 * error, 0.0, 1.0), Method::Normal)
        }
        _ => (wilson(value, worth), Method::Wilson),
    };
    let sampling_error = questions.iter().all(|question| question.samples > 1).then(|| {
        let variance: f64 =
            questions.iter().map(|q| q.score() * (1.0 - q.score()) / (f64::from(q.samples) - 1.0)).sum();
        variance.sqrt() / questions.len() as f64
    });
    Some(Mean { value, ci95, method, standard_error, sampling_error })
}
