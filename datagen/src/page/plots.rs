//! The plots: bars of counts, histograms, and the pass rate by domain and level.

use super::shell::{count, meaning, percent};
use crate::stats::{Group, Histogram, PASS_RATES, TraceStats};
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Height of a histogram in pixels.
const HEIGHT: f64 = 150.0;

pub(super) fn verdicts(stats: &TraceStats) -> Markup {
    let rows: Vec<Bar> = stats
        .verdicts
        .iter()
        .map(|&(verdict, count)| Bar { name: meaning(verdict).into(), count, colour: Some(verdict.as_str()) })
        .collect();
    html! {
        section {
            h2 { "What became of the samples" }
            p.note { "What the verifier said. Every outcome has its own name; none is folded into “wrong”." }
            (bars(&rows, stats.samples))
        }
    }
}

pub(super) fn drop_causes(stats: &TraceStats) -> Markup {
    let rows: Vec<Bar> = stats
        .drop_causes
        .iter()
        .map(|(cause, count)| Bar { name: cause.clone(), count: *count, colour: None })
        .collect();
    html! {
        @if !rows.is_empty() {
            section {
                h2 { "Why traces are not kept" }
                p.note { "They stay in the dataset with their reasons; training does not see them." }
                (bars(&rows, stats.samples))
            }
        }
    }
}

struct Bar {
    name: String,
    count: u64,
    /// The name of a colour of the style.
    colour: Option<&'static str>,
}

fn bars(rows: &[Bar], all: u64) -> Markup {
    let most = rows.iter().map(|row| row.count).max().unwrap_or(0).max(1);
    html! {
        div."bars counts" {
            @for Bar { name, count: number, colour } in rows {
                div.row {
                    span { (name) }
                    div.bar style={
                        "width: " (format!("{:.2}", 100.0 * *number as f64 / most as f64)) "%"
                        @if let Some(colour) = colour { "; --colour: var(--" (colour) ")" }
                    } {}
                    span { b { (count(*number)) } " " span."muted small" { (percent(*number as f64 / all.max(1) as f64)) } }
                }
            }
        }
    }
}

pub(super) fn pass_rates(stats: &TraceStats) -> Markup {
    let columns: Vec<(String, String, u64)> = PASS_RATES
        .into_iter()
        .zip(stats.pass_rates)
        .map(|(class, problems)| (class.to_owned(), format!("{class}% right: {} problems", count(problems)), problems))
        .collect();
    html! {
        section {
            h2 { "How hard the problems are" }
            p.note {
                "Problems by the share of their samples that is right, in percent. Those at the ends teach least: nothing was
                 right, or nothing is left to learn."
            }
            (histogram("Problems by pass rate", &columns))
        }
    }
}

pub(super) fn lengths(stats: &TraceStats) -> Markup {
    let lengths = &stats.completion_tokens;
    let quantiles = &lengths.quantiles;
    html! {
        section {
            h2 { "How long the traces are" }
            p.note {
                "Completion tokens, thinking included: median " (whole(quantiles.p50)) ", 90th percentile "
                (whole(quantiles.p90)) ", longest " (whole(quantiles.max))
                ". The last column holds all that is longer."
            }
            (histogram("Samples by completion tokens", &classes(&lengths.histogram)))
        }
    }
}

fn whole(value: f64) -> String {
    // A length in tokens, from a column of 32 bits.
    count(value as u64)
}

/// (label, description, count) for every class of lengths.
fn classes(histogram: &Histogram) -> Vec<(String, String, u64)> {
    let class = |(from, below, number): (u32, Option<u32>, u64)| {
        let from = count(from.into());
        let range =
            below.map_or(format!("{from} and more"), |below| format!("{from} to {}", count(u64::from(below) - 1)));
        let label = if below.is_some() { from } else { format!("{from}+") };
        (label, format!("{range} tokens: {} samples", count(number)), number)
    };
    histogram.classes().map(class).collect()
}

/// Columns from left to right, labelled as far as there is room on a narrow screen.
fn histogram(title: &str, columns: &[(String, String, u64)]) -> Markup {
    let most = columns.iter().map(|&(.., count)| count).max().unwrap_or(0).max(1);
    let width = 100.0 / columns.len().max(1) as f64;
    let every = columns.len().div_ceil(7).max(1);
    let described: Vec<&str> = columns.iter().map(|(_, described, _)| described.as_str()).collect();
    html! {
        svg.histogram width="100%" height=(HEIGHT + 40.0) role="img" aria-label={ (title) ". " (described.join("; ")) } {
            line.gridline x1="0" x2="100%" y1=(HEIGHT + 18.0) y2=(HEIGHT + 18.0) {}
            @for (place, (label, described, number)) in columns.iter().enumerate() {
                @let height = if *number == 0 { 0.0 } else { (HEIGHT * *number as f64 / most as f64).max(1.0) };
                @let middle = format!("{:.2}%", width * (place as f64 + 0.5));
                g {
                    title { (described) }
                    rect.column x=(format!("{:.2}%", width * (place as f64 + 0.06))) width=(format!("{:.2}%", width * 0.88))
                        y=(format!("{:.1}", HEIGHT + 18.0 - height)) height=(format!("{height:.1}")) {}
                    @if *number == most {
                        text x=(middle) y=(format!("{:.1}", HEIGHT + 12.0 - height)) text-anchor="middle" { (count(*number)) }
                    }
                }
                @if place % every == 0 {
                    text x=(middle) y=(HEIGHT + 35.0) text-anchor="middle" { (label) }
                }
            }
        }
    }
}

/// Right samples by domain and level.
pub(super) fn groups(stats: &TraceStats) -> Markup {
    let levels: BTreeSet<&str> = stats.groups.iter().map(|group| group.difficulty.as_str()).collect();
    let domains: BTreeSet<&str> = stats.groups.iter().map(|group| group.domain.as_str()).collect();
    let find = |domain: &str, level: &str| {
        stats.groups.iter().find(|group| group.domain == domain && group.difficulty == level)
    };
    html! {
        section {
            h2 { "Right by domain and level" }
            p.note { "Percent of the samples; the deeper the colour, the more. Under it the number of samples." }
            div.scroll {
                table."heat groups" {
                    thead { tr { th {} @for level in &levels { th scope="col" { (shown(level, "no level")) } } } }
                    tbody {
                        @for domain in &domains {
                            tr {
                                th scope="row" { (shown(domain, "unnamed")) }
                                @for level in &levels { (cell(find(domain, level))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(group: Option<&Group>) -> Markup {
    let Some(group) = group else { return html! { td.muted { "–" } } };
    let share = format!("{:.0}", 100.0 * group.pass_rate());
    html! {
        td style={ "--share: " (share) } { (share) div."small muted" { (count(group.samples)) } }
    }
}

fn shown<'a>(name: &'a str, without: &'a str) -> &'a str {
    if name.is_empty() { without } else { name }
}
