//! A dataset as one page that needs nothing else: what it adds up to, how it came about, and traces to read.

mod examples;
mod plots;
mod record;
mod shell;

#[cfg(test)]
mod tests;

pub use shell::{count, document, meaning, opening, percent, tile};

use crate::Error;
use crate::stats::{TraceStats, trace_stats};
use crate::store::TraceReader;
use examples::Examples;
use maud::{Markup, html};

/// What only this page has.
const STYLE: &str = include_str!("page.css");

/// Traces of every verdict and of every cause of dropping that a page shows.
pub const EXAMPLES: usize = 6;

/// The page of a dataset, called `name`, with at most so many traces of every kind. Its bytes depend on the dataset alone.
pub fn render(reader: &TraceReader, name: &str, examples: usize) -> Result<String, Error> {
    let stats = trace_stats(reader)?;
    let examples = Examples::of(reader, examples)?;
    let main = html! {
        (head(reader, name, &stats))
        (plots::verdicts(&stats))
        (plots::drop_causes(&stats))
        (plots::pass_rates(&stats))
        (plots::groups(&stats))
        (plots::lengths(&stats))
        (examples.section())
        (record::section(reader))
    };
    Ok(document(&format!("{name} · traces"), STYLE, main).into_string())
}

fn head(reader: &TraceReader, name: &str, stats: &TraceStats) -> Markup {
    let TraceStats { samples, planned, kept, problems, kept_problems, .. } = stats;
    let share = |part: u64| percent(part as f64 / (*samples).max(1) as f64);
    let right: u64 = stats.groups.iter().map(|group| group.right).sum();
    html! {
        header {
            p.kicker { (name) " · dataset " (reader.manifest().run_id) }
            h1 { (count(*kept)) " of " (count(*samples)) " traces are kept, on " (count(*kept_problems)) " problems." }
            @if samples < planned {
                div.lede { "The run is not complete: " (count(planned - samples)) " samples are still to come." }
            }
        }
        div.tiles {
            (tile("Kept for training", html! { (share(*kept)) }, html! { (count(*kept)) " traces" }))
            (tile("Right", html! { (share(right)) }, html! { (count(right)) " of " (count(*samples)) " samples" }))
            (tile("Problems", html! { (count(*problems)) }, html! { (count(*kept_problems)) " with a kept trace" }))
            (tile(
                "Completion tokens",
                html! { (count(stats.completion_tokens.total)) },
                html! { (count(stats.kept_tokens)) " in kept traces" }
            ))
            @if let Some(spent) = &stats.spent {
                (tile(
                    "Cost",
                    html! { (spent.total) " " small { (spent.currency) } },
                    html! { (count(spent.attempts)) " attempts" }
                ))
            }
        }
    }
}
