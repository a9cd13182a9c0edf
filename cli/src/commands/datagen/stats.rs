//! `retort datagen stats`: figures and bars for a terminal of 80 columns, or JSON.

use crate::output::say;
use anyhow::Result;
use retort_datagen::stats::{Histogram, Lengths, PASS_RATES, Quantiles, TraceStats, trace_stats};
use retort_datagen::store::TraceReader;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::ExitCode;

pub fn run(dir: &Path, json: bool) -> Result<ExitCode> {
    let stats = trace_stats(&TraceReader::open(dir)?)?;
    if json {
        say!("{:#}", document(&stats));
    } else {
        say!("{}", text(&stats).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// Columns of a label and of a bar as long as the largest, together.
const LABEL_AND_BAR: usize = 59;

/// Lines `label count share bar`, 80 columns wide at most; labels take what they need, but leave the bars some room.
fn bars(rows: &[(String, u64)], all: u64) -> Vec<String> {
    let most = rows.iter().map(|&(_, count)| count).max().unwrap_or(0).max(1);
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0).clamp(16, 36);
    let row = |(label, count): &(String, u64)| {
        let label = shortened(label, width);
        let share = 100.0 * *count as f64 / all.max(1) as f64;
        format!("  {label:<width$}{count:>10}{share:>7.1}% {}", bar(*count as f64 / most as f64, LABEL_AND_BAR - width))
            .trim_end()
            .to_owned()
    };
    rows.iter().map(row).collect()
}

/// A bar, `columns` long for the share 1, in eighths of a column; what is not nothing shows.
fn bar(share: f64, columns: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (share * (8 * columns) as f64).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    let rest = EIGHTHS[eighths % 8];
    "█".repeat(eighths / 8) + if rest == ' ' { String::new() } else { rest.to_string() }.as_str()
}

fn shortened(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns { text.into() } else { text.chars().take(columns - 1).chain(['…']).collect() }
}

fn text(stats: &TraceStats) -> String {
    let share = |part: u64| 100.0 * part as f64 / stats.samples.max(1) as f64;
    let TraceStats { samples, planned, kept, problems, kept_problems, .. } = stats;
    let mut lines = vec![
        format!(
            "{samples} of {}{planned} samples, {kept} kept ({:.1}%)",
            if stats.has_quota { "at most " } else { "" },
            share(*kept)
        ),
        format!("{problems} problems, {kept_problems} with a kept sample"),
        format!(
            "{} prompt tokens, {} completion tokens, {} of them kept",
            stats.prompt_tokens.total, stats.completion_tokens.total, stats.kept_tokens
        ),
    ];
    lines.extend(stats.spent.as_ref().map(|spent| spent.words(*kept)));
    let mut chart = |title: &str, rows: Vec<(String, u64)>, all: u64| {
        if !rows.is_empty() {
            lines.push(format!("\n{title}"));
            lines.extend(bars(&rows, all));
        }
    };
    chart(
        "verdict",
        stats.verdicts.iter().map(|&(verdict, count)| (verdict.as_str().into(), count)).collect(),
        *samples,
    );
    chart("dropped because", stats.drop_causes.clone(), *samples);
    let rates = PASS_RATES.into_iter().zip(stats.pass_rates);
    chart("problems by pass rate, percent", rates.map(|(class, count)| (class.into(), count)).collect(), *problems);
    chart("completion tokens", classes(&stats.completion_tokens.histogram), *samples);
    lines.push("\ndomain              level  samples   right".into());
    lines.extend(stats.groups.iter().map(|group| {
        let (domain, level) = (shortened(&group.domain, 16), shortened(&group.difficulty, 8));
        let rate = 100.0 * group.pass_rate();
        format!("  {domain:<16}{level:>7}{:>9}{rate:>7.1}% {}", group.samples, bar(group.pass_rate(), 36))
    }));
    lines.push("\ntokens          mean     min     p10     p50     p90     p99     max".into());
    for (name, lengths) in [("prompt", &stats.prompt_tokens), ("completion", &stats.completion_tokens)] {
        let q = &lengths.quantiles;
        let cells = [q.mean, q.min, q.p10, q.p50, q.p90, q.p99, q.max].map(|value| format!("{value:>8.0}"));
        lines.push(format!("  {name:<10}{}", cells.concat()));
    }
    lines.join("\n") + "\n"
}

fn classes(histogram: &Histogram) -> Vec<(String, u64)> {
    let label = |from: u32, below: Option<u32>| match below {
        Some(below) if below == from + 1 => format!("{from}"),
        Some(below) => format!("{from} to {}", below - 1),
        None => format!("{from} and more"),
    };
    histogram.classes().map(|(from, below, count)| (label(from, below), count)).collect()
}

fn document(stats: &TraceStats) -> Value {
    let lengths = |lengths: &Lengths| {
        let Quantiles { mean, min, p10, p50, p90, p99, max } = lengths.quantiles;
        let Histogram { first, width, counts } = &lengths.histogram;
        json!({
            "total": lengths.total,
            "mean": mean, "min": min, "p10": p10, "p50": p50, "p90": p90, "p99": p99, "max": max,
            "histogram": { "first": first, "width": width, "counts": counts },
        })
    };
    let groups = stats
        .groups
        .iter()
        .map(|g| json!({ "domain": g.domain, "difficulty": g.difficulty, "samples": g.samples, "right": g.right }));
    let named = |pairs: &mut dyn Iterator<Item = (String, u64)>| -> Map<String, Value> {
        pairs.map(|(name, count)| (name, count.into())).collect()
    };
    let spent = stats.spent.as_ref().map(|spent| {
        json!({
            "currency": spent.currency,
            "total": spent.total.units(),
            "attempts": spent.attempts,
            "unknown": spent.unknown.units(),
            "unknown_attempts": spent.unknown_attempts,
        })
    });
    json!({
        "samples": stats.samples,
        "planned": stats.planned,
        "kept": stats.kept,
        "problems": stats.problems,
        "kept_problems": stats.kept_problems,
        "verdicts": named(&mut stats.verdicts.iter().map(|(verdict, count)| (verdict.as_str().into(), *count))),
        "drop_causes": named(&mut stats.drop_causes.iter().cloned()),
        "pass_rates": named(&mut PASS_RATES.into_iter().map(String::from).zip(stats.pass_rates)),
        "groups": groups.collect::<Vec<_>>(),
        "prompt_tokens": lengths(&stats.prompt_tokens),
        "completion_tokens": lengths(&stats.completion_tokens),
        "kept_tokens": stats.kept_tokens,
        "spent": spent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fit_a_terminal_and_show_what_is_not_nothing() {
        let rows = [
            ("a cause with a name that is much too long for its column".into(), u64::from(u32::MAX)),
            ("b".into(), 1),
            ("c".into(), 0),
        ];
        let lines = bars(&rows, u64::from(u32::MAX));
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert_eq!(lines[0].matches('█').count(), LABEL_AND_BAR - 36);
        assert!(lines[1].ends_with('▏') && lines[2].ends_with("0.0%"), "{lines:#?}");
        assert_eq!((bar(0.5, 8), bar(0.0, 8)), ("████".into(), String::new()));
    }
}
