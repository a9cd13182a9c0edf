//! How figures are said in words; the page and the terminal table share it.

pub(crate) use retort_datagen::page::{count, percent};

use crate::report::Report;
use crate::score::Score;
use crate::statistics::{Difference, Interval, problems_needed};

/// An interval of shares as `70.1 to 78.4`, in percent.
pub(crate) fn range(interval: Interval) -> String {
    format!("{:.1} to {:.1}", 100.0 * interval.lo, 100.0 * interval.hi)
}

/// A difference as `+12.3`, in percentage points, with a true minus sign.
pub(crate) fn points(difference: f64) -> String {
    let points = 100.0 * difference;
    // What rounds to 0 carries no sign.
    let sign = if points.abs() < 0.05 {
        ""
    } else if points < 0.0 {
        "−"
    } else {
        "+"
    };
    format!("{sign}{:.1}", points.abs())
}

/// An interval of a difference as `+8.0 to +16.6`, in percentage points.
pub(crate) fn points_range(interval: Interval) -> String {
    format!("{} to {}", points(interval.lo), points(interval.hi))
}

/// `1 problem`, `300 problems`.
pub(crate) fn problem_count(problems: usize) -> String {
    format!("{} problem{}", count(problems as u64), if problems == 1 { "" } else { "s" })
}

/// `300 problems`, or `300 problems in 80 clusters` where some share a stem.
pub(crate) fn problems(score: &Score) -> String {
    let clusters = score.clusters.map(|clusters| format!(" in {} clusters", count(clusters as u64)));
    problem_count(score.problems) + &clusters.unwrap_or_default()
}

/// Seconds as `8.2 s`, `3 min 20 s` or `1 h 05 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// What a difference shows: `above 0`, `below 0` or `holds 0`.
pub(crate) fn sign(difference: &Difference) -> &'static str {
    if difference.ci95.lo > 0.0 {
        "above 0"
    } else if difference.ci95.hi < 0.0 {
        "below 0"
    } else {
        "holds 0"
    }
}

/// A p-value as `0.042`, or `< 0.001`.
pub(crate) fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

/// The result in one sentence.
pub(crate) fn verdict(report: &Report) -> String {
    let share = report.student_share_of_teacher.defined();
    let gap = report.gap_recovered.defined();
    let whole = |(value, _): (f64, Interval)| format!("{:.0}%", 100.0 * value);
    match (share, gap) {
        (Some(share), Some(gap)) if gap.0 > 0.0 => format!(
            "The student reaches {} of the teacher’s score and recovers {} of the gap.",
            whole(share),
            whole(gap)
        ),
        (Some(share), Some(_)) => {
            format!("The student reaches {} of the teacher’s score and recovers none of the gap.", whole(share))
        }
        (Some(share), None) => format!("The student reaches {} of the teacher’s score.", whole(share)),
        (None, _) if report.teacher.score.problems == 1 => {
            "One problem gives no interval, so the student cannot be measured against the teacher.".into()
        }
        (None, _) if report.teacher.score.ci95.holds(0.0) => {
            "The teacher’s score cannot be told from 0, so the student cannot be measured against it.".into()
        }
        (None, _) => {
            let reason = report.student_share_of_teacher.reason.as_deref().unwrap_or("it has no interval");
            format!("How much of the teacher’s score the student keeps is undefined: {reason}.")
        }
    }
}

/// What the verdict rests on, a sentence each.
pub(crate) fn findings(report: &Report) -> Vec<String> {
    let score = &report.student.score;
    let mut findings = vec![format!(
        "It answers {} of {} held-out problem{} ({}), the teacher {}.",
        percent(score.pass_at_1),
        count(score.problems as u64),
        if score.problems == 1 { "" } else { "s" },
        range(score.ci95),
        percent(report.teacher.score.pass_at_1),
    )];
    findings.extend(report.keeps_95_percent.map(|keeps| match keeps {
        true => "It certainly keeps more than 95% of the teacher’s score.".to_owned(),
        false => "That it keeps 95% of the teacher’s score is not shown.".to_owned(),
    }));
    for (name, difference) in [("control", &report.student_minus_control), ("base", &report.student_minus_base)] {
        let Some(difference) = difference else { continue };
        let range = points_range(difference.ci95);
        let by = format!("{:.1} points ({range})", 100.0 * difference.value.abs());
        findings.push(match sign(difference) {
            "above 0" => format!("It beats the {name} by {by}."),
            "below 0" => format!("It trails the {name} by {by}."),
            _ => {
                let needed = difference.standard_error.and_then(|error| {
                    let needed = problems_needed(difference.value, error, difference.problems)?;
                    (needed < 1_000_000)
                        .then(|| format!(" {} problems would show a difference of this size.", count(needed)))
                });
                let of = points(difference.value);
                format!("It cannot be told apart from the {name}: {of} points ({range}).{}", needed.unwrap_or_default())
            }
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(points(-0.1234), "−12.3");
        assert_eq!(points(0.0), "0.0");
        assert_eq!([1, 2, 1319].map(problem_count), ["1 problem", "2 problems", "1,319 problems"]);
        assert_eq!(points(-0.0004), "0.0");
        assert_eq!(duration(59.4), "59.4 s");
        assert_eq!(duration(59.94), "1 min 00 s");
        assert_eq!(duration(200.4), "3 min 20 s");
        assert_eq!(duration(3_900.0), "1 h 05 min");
    }
}
