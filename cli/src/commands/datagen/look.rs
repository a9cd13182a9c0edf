//! `retort datagen stats` and `show`.

use crate::output::say;
use anyhow::{Result, bail};
use retort_datagen::sample::Verdict;
use retort_datagen::show;
use retort_datagen::stats::{Quantiles, TraceStats, trace_stats};
use retort_datagen::store::TraceReader;
use std::path::Path;
use std::process::ExitCode;

pub fn stats(dir: &Path, json: bool) -> Result<ExitCode> {
    let stats = trace_stats(&TraceReader::open(dir)?)?;
    if json {
        say!("{:#}", stats_json(&stats));
    } else {
        say!("{}", stats_text(&stats).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

pub fn show(dir: &Path, limit: usize, verdict: Option<&str>) -> Result<ExitCode> {
    let wanted = match verdict {
        None => None,
        Some(name) => match Verdict::parse(name) {
            Some(verdict) => Some(verdict),
            None => bail!("`{name}` is no verdict; there are {}", Verdict::ALL.map(Verdict::as_str).join(", ")),
        },
    };
    let samples = TraceReader::open(dir)?.read_all()?;
    let mut found = samples.iter().filter(|sample| wanted.is_none_or(|verdict| sample.verdict == verdict)).peekable();
    if found.peek().is_none() {
        say!("no such trace among {}", samples.len());
    }
    for sample in found.take(limit) {
        say!("{}", show::show(sample));
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts, pass rates and lengths as text for a terminal.
fn stats_text(stats: &TraceStats) -> String {
    let share = |part: u64| 100.0 * part as f64 / stats.samples.max(1) as f64;
    let mut lines = vec![format!(
        "{} of {} samples, {} kept ({:.1}%)",
        stats.samples,
        stats.planned,
        stats.kept,
        share(stats.kept)
    )];
    lines.push("\nverdict".into());
    lines.extend(
        stats.verdicts.iter().map(|&(v, count)| format!("  {:<14}{count:>8}{:>8.1}%", v.as_str(), share(count))),
    );
    lines.push("\ndomain         level samples   right".into());
    lines.extend(
        stats
            .groups
            .iter()
            .map(|g| format!("  {:<14}{:>4}{:>8}{:>7.1}%", g.domain, g.difficulty, g.samples, 100.0 * g.pass_rate())),
    );
    if !stats.drop_causes.is_empty() {
        lines.push("\ndropped because".into());
        lines.extend(stats.drop_causes.iter().map(|(cause, count)| format!("  {count:>8}  {cause}")));
    }
    lines.push("\ntokens          mean     min     p10     p50     p90     p99     max".into());
    for (name, q) in [("prompt", &stats.prompt_tokens), ("completion", &stats.completion_tokens)] {
        let cells = [q.mean, q.min, q.p10, q.p50, q.p90, q.p99, q.max].map(|value| format!("{value:>8.0}"));
        lines.push(format!("  {name:<10}{}", cells.concat()));
    }
    lines.join("\n") + "\n"
}

fn stats_json(stats: &TraceStats) -> serde_json::Value {
    let lengths = |q: &Quantiles| {
        serde_json::json!({
            "mean": q.mean, "min": q.min, "p10": q.p10, "p50": q.p50, "p90": q.p90, "p99": q.p99, "max": q.max
        })
    };
    let groups = stats.groups.iter().map(|g| {
        serde_json::json!({ "domain": g.domain, "difficulty": g.difficulty, "samples": g.samples, "right": g.right })
    });
    let named =
        |pairs: Vec<(String, u64)>| pairs.into_iter().map(|(k, v)| (k, v.into())).collect::<serde_json::Map<_, _>>();
    serde_json::json!({
        "samples": stats.samples,
        "planned": stats.planned,
        "kept": stats.kept,
        "verdicts": named(stats.verdicts.iter().map(|(v, n)| (v.as_str().to_string(), *n)).collect()),
        "drop_causes": named(stats.drop_causes.clone()),
        "groups": groups.collect::<Vec<_>>(),
        "prompt_tokens": lengths(&stats.prompt_tokens),
        "completion_tokens": lengths(&stats.completion_tokens),
    })
}
