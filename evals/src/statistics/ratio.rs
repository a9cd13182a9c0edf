//! Ratios of paired means: the share of the teacher's gap that the student closed, and its share of the teacher's score.
//!
//! gap recovered = (student - base) / (teacher - base); share = student / teacher. The interval is the paired percentile
//! bootstrap over questions, or over clusters of them where some share a stem. A ratio has no meaning where its denominator may be 0, so it is undefined (`value` is `None`,
//! with the reason) where the 95% interval of the denominator holds 0 or lies below it; compare Fieller's theorem
//! (E. C. Fieller, J. R. Stat. Soc. B 16, 1954), whose interval is unbounded in just those cases.

use super::{Bootstrap, Clusters, Interval, quantile};
use serde::{Deserialize, Serialize};

/// An estimate that may be undefined: `value` and `ci95` are both there, or neither is and `reason` says why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: Option<f64>,
    pub ci95: Option<Interval>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

impl Estimate {
    /// No value, for this reason.
    pub fn undefined(reason: impl Into<String>) -> Self {
        Self { value: None, ci95: None, reason: Some(reason.into()) }
    }

    /// Value and interval, where defined.
    pub fn defined(&self) -> Option<(f64, Interval)> {
        self.value.zip(self.ci95)
    }
}

/// The scores of teacher, base and student on one question.
pub type Triple = (f64, f64, f64);

/// (student - base) / (teacher - base) over (teacher, base, student) scores of the same questions.
///
/// `teacher_minus_base` is the 95% interval of the paired difference, as it is reported beside this figure.
pub fn gap_recovered(
    questions: &[Triple],
    clusters: &Clusters,
    teacher_minus_base: Interval,
    bootstrap: &Bootstrap,
) -> Estimate {
    let rows: Vec<[f64; 2]> =
        questions.iter().map(|&(teacher, base, student)| [student - base, teacher - base]).collect();
    ratio(&clusters.sums(&rows), teacher_minus_base, "teacher - base", bootstrap)
}

/// part / whole over (part, whole) scores of the same questions, `whole` having its name and its 95% interval.
pub fn share_of(pairs: &[(f64, f64)], clusters: &Clusters, whole: (&str, Interval), bootstrap: &Bootstrap) -> Estimate {
    let rows: Vec<[f64; 2]> = pairs.iter().map(|&(part, whole)| [part, whole]).collect();
    ratio(&clusters.sums(&rows), whole.1, whole.0, bootstrap)
}

fn ratio(rows: &[[f64; 2]], denominator: Interval, name: &str, bootstrap: &Bootstrap) -> Estimate {
    let points = |interval: Interval| format!("[{:.1}, {:.1}] points", 100.0 * interval.lo, 100.0 * interval.hi);
    if rows.is_empty() {
        return Estimate::undefined("there are no questions");
    }
    if denominator.holds(0.0) {
        return Estimate::undefined(format!("the 95% interval of {name}, {}, holds 0", points(denominator)));
    }
    if denominator.hi < 0.0 {
        return Estimate::undefined(format!("{name} is below 0: its 95% interval is {}", points(denominator)));
    }
    let mut sums = [0.0; 2];
    for row in rows {
        sums[0] += row[0];
        sums[1] += row[1];
    }
    if rows.iter().all(|row| row[0] == rows[0][0]) {
        // Resampling equal numbers only ever finds that number; a width of 0 would claim certainty.
        return Estimate::undefined("the numerator is the same on every question, so resampling gives it no interval");
    }
    let mut ratios: Vec<f64> = bootstrap.means(rows).into_iter().map(toward_the_limit).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    if ratios.is_empty() {
        return Estimate::undefined("no bootstrap replicates were asked for");
    }
    let interval = Interval { lo: quantile(&ratios, 0.025), hi: quantile(&ratios, 0.975) };
    if !(interval.lo.is_finite() && interval.hi.is_finite()) {
        return Estimate::undefined(format!("{name} reaches 0 in too many bootstrap replicates"));
    }
    Estimate { value: Some(sums[0] / sums[1]), ci95: Some(interval), reason: None }
}

/// The ratio of a replicate; where its denominator is not above 0, the limit of the ratio as it comes down to 0,
/// so that such a replicate widens the interval instead of appearing on the wrong side of it.
fn toward_the_limit([numerator, denominator]: [f64; 2]) -> f64 {
    if denominator > 0.0 {
        numerator / denominator
    } else if numerator == 0.0 {
        0.0
    } else {
        f64::INFINITY.copysign(numerator)
    }
}
