//! What a run has computed so far, in floating-point operations, so that runs of different kinds can be compared.
//!
//! Counted as `retort_model::operations` says, from the lengths of what was really read and written. Looks at validation
//! examples and the writing of a dataset are left out, and so is a teacher elsewhere, which does not say what it is.

use retort_model::operations::Operations;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::AddAssign;

/// Floating-point operations by what they were for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Flops {
    /// The student's way forward and back.
    pub training: f64,
    /// Completions that the student wrote to learn from.
    pub completions: f64,
    /// What a teacher was asked about given text.
    pub teacher: f64,
}

impl Flops {
    pub fn total(&self) -> f64 {
        self.training + self.completions + self.teacher
    }
}

impl AddAssign for Flops {
    fn add_assign(&mut self, other: Self) {
        self.training += other.training;
        self.completions += other.completions;
        self.teacher += other.teacher;
    }
}

impl fmt::Display for Flops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4} TFLOP", self.total() / 1e12)?;
        let others = [("completions", self.completions), ("teacher", self.teacher)];
        let others = others.iter().filter(|(_, count)| *count > 0.0);
        let others: Vec<String> = others.map(|(name, count)| format!("{name} {:.4}", count / 1e12)).collect();
        if others.is_empty() {
            Ok(())
        } else {
            write!(f, " (training {:.4}, {})", self.training / 1e12, others.join(", "))
        }
    }
}

/// A completion that a model wrote, by its lengths in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub prompt: usize,
    pub completion: usize,
}

impl Written {
    /// What all of these took a model that needs `forward`; each prompt counts as often as it was asked.
    pub(crate) fn flops(all: &[Self], forward: &Operations) -> f64 {
        all.iter().map(|written| forward.completion(written.prompt, written.completion)).sum()
    }
}
