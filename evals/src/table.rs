//! The result of a comparison as a table for a terminal, at most 80 columns wide.

use crate::metrics::Metric;
use crate::report::Report;
use crate::score::Scored;
use crate::statistics::{Difference, Estimate};
use crate::tries::Tries;
use crate::wording::{count, duration, findings, percent, points, points_range, problems, range, sign, verdict};
use retort_datagen::sample::Verdict;

/// The widest line, in characters.
const WIDTH: usize = 80;

/// The report as text, with a final newline.
pub fn render(report: &Report) -> String {
    let mut lines = wrapped(&verdict(report), "");
    for finding in findings(report) {
        lines.extend(wrapped(&finding, ""));
    }
    lines.push(String::new());
    models(report, &mut lines);
    lines.push(String::new());
    estimates(report, &mut lines);
    lines.push(String::new());
    families(report, &mut lines);
    budgets(report, &mut lines);
    if !report.seconds.0.is_empty() {
        let stages: Vec<String> =
            report.seconds.0.iter().map(|(stage, seconds)| format!("{stage} {}", duration(*seconds))).collect();
        lines.push(String::new());
        lines.extend(wrapped(&format!("time: {}", stages.join(", ")), "      "));
    }
    if !report.cautions.is_empty() {
        lines.push(String::new());
        for caution in &report.cautions {
            lines.extend(wrapped(&format!("note: {caution}"), "      "));
        }
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// One model's score as text: overall, then by family and level.
pub fn score(scored: &Scored) -> String {
    let Scored { score, completion_tokens, .. } = scored;
    let mut lines = vec![format!(
        "pass@1 {} (95% interval {}), {}, {} samples, {:.0} tokens per answer",
        percent(score.pass_at_1),
        range(score.ci95),
        problems(score),
        count(score.samples),
        completion_tokens.mean
    )];
    if !scored.tries.is_empty() {
        let tries = |of: fn(&Tries) -> f64| {
            scored
                .tries
                .iter()
                .map(|tries| format!("@{} {}", tries.k, percent(of(tries))))
                .collect::<Vec<_>>()
                .join(", ")
        };
        lines.push(format!("  at least one right {}", tries(|tries| tries.pass)));
        lines.push(format!("  majority right     {}", tries(|tries| tries.consensus)));
        lines.push(format!("  all right          {}", tries(|tries| tries.all)));
    }
    // Every other limit, a factor of 2 from one to the next.
    let limits: Vec<String> = scored
        .by_limit
        .iter()
        .filter(|limited| limited.tokens.is_power_of_two())
        .map(|limited| format!("{} {}", count(limited.tokens.into()), percent(limited.pass_at_1)))
        .collect();
    if limits.len() > 1 {
        let text = format!("within so many tokens: {}", limits.join(", "));
        lines.extend(wrapped(&text, "  ").iter().map(|line| format!("  {line}")));
    }
    for Metric { metric, filter, value, standard_error } in &scored.metrics {
        let filter = if filter == "none" { String::new() } else { format!(" ({filter})") };
        let error = standard_error.map(|error| format!(" ± {}", percent(error))).unwrap_or_default();
        lines.push(format!("  {metric}{filter} {}{error}", percent(*value)));
    }
    // Questions from a file may name no family; a line without a name would say the same as the first.
    for family in scored.families.iter().filter(|family| !family.family.is_empty()) {
        let levels = family.levels.iter().map(|level| format!("{} {}", level.level, percent(level.score.pass_at_1)));
        let levels = levels.collect::<Vec<_>>().join(", ");
        lines.push(format!("  {:<14}{:>7}   {levels}", family.family, percent(family.score.pass_at_1)));
    }
    let outcomes = scored.outcomes.iter().filter(|outcome| outcome.samples > 0);
    let outcomes: Vec<String> =
        outcomes.map(|outcome| format!("{} {}", outcome.verdict.as_str(), percent(outcome.share))).collect();
    lines.push(format!("  {}", outcomes.join(", ")));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn models(report: &Report, lines: &mut Vec<String>) {
    let widths = [7, 16, 9, 8, 10, 7];
    lines.push(row("", &["pass@1", "95% interval", "problems", "samples", "cut short", "tokens"], &widths));
    for (role, scored) in report.models() {
        let Scored { score, completion_tokens, .. } = scored;
        let cut = scored.share(Verdict::Truncated) + scored.share(Verdict::Unterminated) + scored.share(Verdict::Loop);
        let cells = [
            percent(score.pass_at_1),
            range(score.ci95),
            count(score.problems as u64),
            count(score.samples),
            percent(cut),
            format!("{:.0}", completion_tokens.mean),
        ];
        lines.push(row(role.as_str(), &cells.each_ref().map(String::as_str), &widths));
    }
}

fn estimates(report: &Report, lines: &mut Vec<String>) {
    let mut ratio = |name: &str, estimate: &Estimate| match estimate.defined() {
        Some((value, interval)) => lines.push(row(name, &[&percent(value), &range(interval), ""], &[9, 17, 10])),
        None => {
            let reason = estimate.reason.as_deref().unwrap_or("no reason is stated");
            lines.extend(wrapped(&format!("{name:<26}undefined: {reason}"), "                          "));
        }
    };
    ratio("gap recovered", &report.gap_recovered);
    ratio("share of teacher's score", &report.student_share_of_teacher);
    let mut paired = |name: &str, difference: Option<&Difference>| {
        if let Some(difference) = difference {
            let cells = [points(difference.value), points_range(difference.ci95), sign(difference).into()];
            lines.push(row(name, &cells.each_ref().map(String::as_str), &[9, 17, 10]));
        }
    };
    paired("student - teacher, points", Some(&report.student_minus_teacher));
    paired("student - base", report.student_minus_base.as_ref());
    paired("student - control", report.student_minus_control.as_ref());
}

fn families(report: &Report, lines: &mut Vec<String>) {
    let models = report.models();
    let widths: Vec<usize> = models.iter().map(|_| 9).chain([9, 18]).collect();
    let names: Vec<&str> = models.iter().map(|(role, _)| role.as_str()).chain(["st.-te.", "95% interval"]).collect();
    lines.push(row("family", &names, &widths));
    for difference in &report.student_minus_teacher_by_family {
        let score = |scored: &Scored| {
            let family = scored.families.iter().find(|family| family.family == difference.family);
            family.map_or("–".into(), |family| percent(family.score.pass_at_1))
        };
        let difference = (difference.family.as_str(), &difference.student_minus_teacher);
        let cells: Vec<String> = models
            .iter()
            .map(|(_, scored)| score(scored))
            .chain([points(difference.1.value), points_range(difference.1.ci95)])
            .collect();
        lines.push(row(difference.0, &cells.iter().map(String::as_str).collect::<Vec<_>>(), &widths));
    }
}

fn budgets(report: &Report, lines: &mut Vec<String>) {
    if report.budgets.is_empty() {
        return;
    }
    let widths = [12, 9, 9, 18];
    lines.push(String::new());
    lines.push(row("thinking budget", &["", "tokens", "pass@1", "95% interval"], &widths));
    for run in &report.budgets {
        let cells = [
            run.thinking_budget.map_or("none".into(), |budget| count(budget as u64)),
            format!("{:.0}", run.mean_tokens),
            percent(run.pass_at_1),
            range(run.ci95),
        ];
        lines.push(row(run.role.as_str(), &cells.each_ref().map(String::as_str), &widths));
    }
}

/// A name and right-aligned cells; the name takes the width that is left and is cut to it.
fn row(name: &str, cells: &[&str], widths: &[usize]) -> String {
    let taken: usize = widths.iter().sum();
    let room = WIDTH.saturating_sub(taken).min(26);
    // Names come from data: a control character would break the line or command the terminal.
    let clean: Vec<char> = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let name: String = if clean.len() < room {
        clean.into_iter().collect()
    } else {
        clean.into_iter().take(room.saturating_sub(2)).chain(['…']).collect()
    };
    let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}"));
    format!("{name:<room$}{}", cells.collect::<String>())
}

/// Words in lines of at most [`WIDTH`]; lines after the first begin with `indent`.
fn wrapped(text: &str, indent: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let length = lines[last].chars().count();
        if length > 0 && length + 1 + word.chars().count() > WIDTH {
            lines.push(format!("{indent}{word}"));
        } else {
            if length > 0 {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}
