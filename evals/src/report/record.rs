//! What a reader needs to trust and repeat the figures: stage timings, fingerprints, seeds, commands, formulas.

use super::Report;
use crate::wording::{count, duration};
use maud::{Markup, html};

pub(super) fn timings(report: &Report) -> Markup {
    let stages = &report.seconds.0;
    let longest = stages.iter().map(|(_, seconds)| *seconds).fold(f64::MIN_POSITIVE, f64::max);
    let total: f64 = stages.iter().map(|(_, seconds)| seconds).sum();
    html! {
        @if !stages.is_empty() {
            section {
                h2 { "Time by stage" }
                p.note { "Wall clock; " (duration(total)) " together." }
                div.bars {
                    @for (stage, seconds) in stages {
                        span { (stage) }
                        div { div.bar style={ "width: " (format!("{:.2}", 100.0 * seconds / longest)) "%" } {} }
                        span.nowrap { (duration(*seconds)) }
                    }
                }
            }
        }
    }
}

pub(super) fn reproducibility(report: &Report) -> Markup {
    let card = &report.reproducibility;
    html! {
        section {
            h2 { "Reproducibility" }
            @if !card.commands.is_empty() {
                pre.commands { code { @for command in &card.commands { (command) "\n" } } }
            }
            dl {
                dt { "Program" } dd { "retort " (card.retort) }
                @if let Some(benchmark) = &card.benchmark {
                    dt { "Benchmark" }
                    dd {
                        (benchmark.name) ", " (count(benchmark.problems as u64)) " problems, n = " (benchmark.samples_per_problem)
                        ", temperature " (benchmark.sampling.temperature) ", top-p " (benchmark.sampling.top_p)
                        ", at most " (count(benchmark.sampling.max_tokens as u64)) " tokens"
                    }
                    dt { "Benchmark fingerprint" } dd { code { (benchmark.fingerprint) } }
                }
                dt { "Problem set" } dd { code { (card.problem_set) } }
                @for (role, scored) in report.models() {
                    dt { "Run of the " (role) }
                    dd {
                        (scored.generator)
                        @if let Some(seed) = scored.run.seed { ", seed " (seed) }
                        ", run id " @for (place, id) in scored.run.run_ids.iter().enumerate() {
                            @if place > 0 { ", " } code { (id) }
                        }
                    }
                }
                dt { "Bootstrap" } dd { (count(card.bootstrap.replicates)) " replicates, seed " (card.bootstrap.seed) }
                @for fact in &card.facts { dt { (fact.name) } dd { code { (fact.value) } } }
            }
            details.small style="margin-top: .75rem" {
                summary { "Token ids of each model’s first prompt" }
                dl style="margin-bottom: 1rem" {
                    @for (role, scored) in report.models() {
                        dt { (role) }
                        dd {
                            @if scored.run.first_prompt_token_ids.is_empty() { span.muted { "not recorded" } }
                            @else { code { (token_ids(&scored.run.first_prompt_token_ids)) } }
                        }
                    }
                }
            }
        }
    }
}

fn token_ids(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

pub(super) fn method(report: &Report) -> Markup {
    html! {
        footer {
            p {
                "How the figures are made. The unit is the problem: a model’s score on it is the mean over its samples. Intervals of scores are "
                "mean ± 1.96 standard errors over problems, or Wilson’s where problems have one sample or are few. Differences are paired by "
                "problem: mean ± 1.96 standard errors of the differences, or Bonett and Price’s interval where problems are few. Ratios carry a "
                "paired percentile bootstrap over problems (" (count(report.reproducibility.bootstrap.replicates)) " replicates) and are "
                "undefined where the interval of their denominator holds 0."
                @if report.teacher.score.clusters.is_some() {
                    " Problems that share a stem are not drawn one by one: standard errors, resampling and sign flips go by "
                    "clusters of them."
                }
            }
        }
    }
}
