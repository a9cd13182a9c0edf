//! The models side by side: scores, differences, what became of the samples, tokens per answer.

use super::Report;
use super::html::{gridlines, key, whisker};
use crate::score::Scored;
use crate::statistics::Difference;
use crate::wording::{count, p_value, percent, points, points_range, range, sign};
use maud::{Markup, html};
use retort_datagen::page::meaning;
use retort_datagen::sample::Verdict;

/// `4 samples`, or the range where a run is uneven.
pub(super) fn samples_each(scored: &Scored) -> String {
    match scored.samples_per_problem {
        [1, 1] => "1 sample".into(),
        [fewest, most] if fewest == most => format!("{most} samples"),
        [fewest, most] => format!("{fewest} to {most} samples"),
    }
}

pub(super) fn scores(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Scores" }
            p.note { "Pass@1: the share of right samples, averaged over problems, with its 95% interval." }
            table {
                thead { tr {
                    th { "Model" } th { "Pass@1" } th.wide { "0% to 100%" } th.number { "Samples" } th.number { "Tokens per answer" }
                } }
                tbody {
                    @for (role, scored) in report.models() {
                        @let score = &scored.score;
                        tr {
                            th scope="row" { (key(role)) (title(role.as_str())) span.generator { (scored.generator) } }
                            td { b { (percent(score.pass_at_1)) } " " span."muted small nowrap" { (range(score.ci95)) } }
                            td.wide style="width: 30%" {
                                svg width="100%" height="16" aria-hidden="true" {
                                    (gridlines()) (whisker(role, score.pass_at_1, score.ci95, 8))
                                }
                            }
                            td.number { (count(score.samples)) }
                            td.number { (format!("{:.0}", scored.completion_tokens.mean)) }
                        }
                    }
                }
            }
            h3 { "Differences, paired by problem" }
            table {
                thead { tr { th { "Difference" } th.number { "Points" } th.number { "95% interval" } th {} } }
                tbody {
                    (difference("student − teacher", Some(&report.student_minus_teacher)))
                    (difference("student − base", report.student_minus_base.as_ref()))
                    (difference("student − control", report.student_minus_control.as_ref()))
                    (difference("teacher − base", report.teacher_minus_base.as_ref()))
                }
            }
        }
    }
}

fn difference(name: &str, difference: Option<&Difference>) -> Markup {
    html! {
        @if let Some(difference) = difference {
            tr {
                th.nowrap scope="row" { (name) }
                td.number { b { (points(difference.value)) } }
                td.number { (points_range(difference.ci95)) }
                td.number {
                    (sign(difference))
                    @match difference.mcnemar_p {
                        Some(p) => span.generator { "McNemar p " (p_value(p)) },
                        None => span.generator { "sign-flip p " (p_value(difference.sign_flip_p)) },
                    }
                }
            }
        }
    }
}

/// With a capital.
fn title(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

pub(super) fn outcomes(report: &Report) -> Markup {
    let models = report.models();
    let seen: Vec<Verdict> = Verdict::ALL
        .into_iter()
        .filter(|&verdict| models.iter().any(|(_, scored)| scored.share(verdict) > 0.0))
        .collect();
    html! {
        section {
            h2 { "What became of the samples" }
            p.note { "Every outcome has its own name; none is folded into “wrong”." }
            ul.legend {
                @for &verdict in &seen {
                    li { span.swatch style={ "background: var(--" (verdict.as_str()) ")" } {} (meaning(verdict)) }
                }
            }
            div.bars {
                @for (role, scored) in &models {
                    span { (title(role.as_str())) }
                    div.stack role="img" aria-label=(described(scored, &seen)) {
                        @for &verdict in &seen {
                            @let share = scored.share(verdict);
                            @if share > 0.0 {
                                span.slim[share < 0.12] style={ "flex: " (format!("{share:.4}")) " 1 0; background: var(--" (verdict.as_str()) ")" }
                                    title={ (meaning(verdict)) ": " (percent(share)) } {
                                    @if share >= 0.07 { (format!("{:.0}%", 100.0 * share)) }
                                }
                            }
                        }
                    }
                    span."muted small number" { (count(scored.score.samples)) }
                }
            }
            details.small {
                summary { "Figures" }
                div.scroll { table {
                    thead { tr { th { "Outcome" } @for (role, _) in &models { th.number { (role) } } } }
                    tbody {
                        @for &verdict in &seen { tr {
                            th scope="row" { (meaning(verdict)) }
                            @for (_, scored) in &models { td.number { (percent(scored.share(verdict))) } }
                        } }
                    }
                } }
            }
        }
    }
}

fn described(scored: &Scored, seen: &[Verdict]) -> String {
    let part = |&verdict: &Verdict| format!("{} {}", meaning(verdict), percent(scored.share(verdict)));
    seen.iter().map(part).collect::<Vec<_>>().join(", ")
}

pub(super) fn tokens(report: &Report) -> Markup {
    let models = report.models();
    let longest = models.iter().map(|(_, scored)| scored.completion_tokens.mean).fold(1.0, f64::max);
    html! {
        section {
            h2 { "Tokens per answer" }
            p.note { "Completion tokens, thinking included: what an answer costs. The bar is the mean." }
            div.bars {
                @for (role, scored) in &models {
                    span { (title(role.as_str())) }
                    div class=(role) {
                        div.bar style={ "width: " (format!("{:.2}", 100.0 * scored.completion_tokens.mean / longest)) "%" } {}
                    }
                    b { (format!("{:.0}", scored.completion_tokens.mean)) }
                }
            }
            div.scroll { table style="margin-top: 1rem" {
                thead { tr {
                    th { "Model" } th.number { "Median" } th.number { "90th percentile" } th.number { "Longest" }
                    th.number { "Mean when right" }
                } }
                tbody {
                    @for (role, scored) in &models {
                        @let tokens = &scored.completion_tokens;
                        tr {
                            th scope="row" { (title(role.as_str())) }
                            td.number { (format!("{:.0}", tokens.median)) }
                            td.number { (format!("{:.0}", tokens.p90)) }
                            td.number { (count(tokens.max.into())) }
                            td.number { (tokens.mean_when_right.map_or("–".into(), |mean| format!("{mean:.0}"))) }
                        }
                    }
                }
            } }
        }
    }
}
