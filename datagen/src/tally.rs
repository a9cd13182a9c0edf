//! Running counts over samples: outcomes, kept rows, tokens.

use crate::sample::{Sample, Verdict};
use crate::verify;
use std::collections::BTreeMap;

/// What a set of samples adds up to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    by_verdict: [u64; Verdict::ALL.len()],
    /// Rows that training may use.
    pub kept: u64,
    /// Rows that training may not use, by the cause.
    pub dropped: BTreeMap<String, u64>,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl Tally {
    pub fn add(&mut self, sample: &Sample) {
        self.by_verdict[sample.verdict as usize] += 1;
        self.kept += u64::from(sample.kept);
        if !sample.kept {
            *self.dropped.entry(verify::cause(&sample.drop_reason).to_owned()).or_default() += 1;
        }
        self.prompt_tokens += u64::from(sample.prompt_tokens);
        self.completion_tokens += u64::from(sample.completion_tokens);
    }

    /// Takes back what was added.
    pub(crate) fn remove(&mut self, sample: &Sample) {
        self.by_verdict[sample.verdict as usize] -= 1;
        self.kept -= u64::from(sample.kept);
        if !sample.kept {
            let cause = verify::cause(&sample.drop_reason);
            if let Some(count) = self.dropped.get_mut(cause) {
                *count -= 1;
            }
            self.dropped.retain(|_, count| *count > 0);
        }
        self.prompt_tokens -= u64::from(sample.prompt_tokens);
        self.completion_tokens -= u64::from(sample.completion_tokens);
    }

    /// How many samples have this verdict.
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.by_verdict[verdict as usize]
    }

    /// All samples counted.
    pub fn samples(&self) -> u64 {
        self.by_verdict.iter().sum()
    }

    /// The share of right samples, in [0, 1]; `None` where there are no samples.
    pub fn share_right(&self) -> Option<f64> {
        let samples = self.samples();
        (samples > 0).then(|| self.count(Verdict::Right) as f64 / samples as f64)
    }
}
