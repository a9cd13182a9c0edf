//! Questions that share a stem are not drawn one by one: means and their standard errors over clusters of questions.
//!
//! With n questions of mean m in C clusters, SE² = C / (C - 1) · sum over clusters of (sum of x_i - m in it)² / n². A question
//! of its own is a cluster of one, and where all are, SE is sd(x) / sqrt(n). Source: E. Miller, Adding Error Bars to Evals,
//! arXiv 2411.00640, appendix A; C / (C - 1) is the usual correction for few clusters.
//!
//! Where an interval counts questions, as Wilson's does, clustered ones count as n / D of them, and never as more than n;
//! D = sum over clusters of (sum of x_i - m in it)² / sum of (x_i - m)² is the design effect. Source: E. L. Korn, B. I. Graubard, Survey
//! Methodology 24 (1998). Clusters of m equal rows have D = m: their questions count as often as there are clusters.

use std::collections::HashMap;

/// Which of n questions belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters {
    /// The cluster of each question, numbered in the order in which they first appear.
    of: Vec<usize>,
    count: usize,
}

/// The mean of a figure over questions, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub mean: f64,
    /// `None` for a single cluster.
    pub standard_error: Option<f64>,
    /// As how many questions drawn one by one these count.
    pub questions: f64,
}

impl Clusters {
    /// Each of `n` questions by itself.
    pub fn alone(n: usize) -> Self {
        Self { of: (0..n).collect(), count: n }
    }

    /// One cluster for each name; questions without one are by themselves.
    pub fn named<'a>(names: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let (mut known, mut count) = (HashMap::new(), 0);
        let mut next = || {
            count += 1;
            count - 1
        };
        let of = names.into_iter().map(|name| match name {
            Some(name) => *known.entry(name).or_insert_with(&mut next),
            None => next(),
        });
        Self { of: of.collect(), count }
    }

    /// How many there are, where that is fewer than questions.
    pub fn if_any(&self) -> Option<usize> {
        (self.count < self.of.len()).then_some(self.count)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The sums by cluster of every column of `rows`, which has one row for each question.
    pub fn sums<const COLUMNS: usize>(&self, rows: &[[f64; COLUMNS]]) -> Vec<[f64; COLUMNS]> {
        let mut sums = vec![[0.0; COLUMNS]; self.count];
        for (&cluster, row) in self.of.iter().zip(rows) {
            for (sum, value) in sums[cluster].iter_mut().zip(row) {
                *sum += value;
            }
        }
        sums
    }

    /// Mean and standard error of one value for each question, of which there is one at least.
    pub(crate) fn spread(&self, values: &[f64]) -> Spread {
        let (n, count) = (values.len() as f64, self.count as f64);
        let mean = values.iter().sum::<f64>() / n;
        let deviations: Vec<[f64; 1]> = values.iter().map(|value| [value - mean]).collect();
        let squares = |rows: &[[f64; 1]]| rows.iter().map(|[deviation]| deviation * deviation).sum::<f64>();
        let (between, all) = (squares(&self.sums(&deviations)), squares(&deviations));
        Spread {
            mean,
            standard_error: (self.count > 1).then(|| (between / n * (count / n) / (count - 1.0)).sqrt()),
            // Where nothing varies, nothing tells how alike the questions of a cluster are.
            questions: if all == 0.0 { count } else { (n * all / between).min(n) },
        }
    }
}
