//! What several tries and more tokens reach: pass@k and the majority of k, accuracy against a limit of tokens and at
//! several budgets, for every model.

use super::Report;
use super::plot::{Axis, Point, Subject, legend, plot};
use crate::Role;
use crate::budget::{BudgetRun, Limited};
use crate::tries::Tries;
use crate::wording::{count, percent, range};
use maud::{Markup, html};

/// Left out where problems have one sample.
pub(super) fn tries(report: &Report) -> Markup {
    let models: Vec<(Role, &[Tries])> =
        report.models().into_iter().map(|(role, scored)| (role, scored.tries.as_slice())).collect();
    let curves = |of: fn(&Tries) -> f64| -> Curves {
        let point = |tries: &Tries| Point { x: f64::from(tries.k), y: of(tries), ci95: None };
        models.iter().map(|(role, tries)| (Subject::Model(*role), tries.iter().map(point).collect())).collect()
    };
    let said = |k: f64| format!("k = {k}");
    html! {
        @if models.iter().any(|(_, tries)| !tries.is_empty()) {
            section {
                h2 { "With several tries" }
                p.note {
                    "At least one of k samples is right (pass@k, unbiased), and the answer that most of k give is right "
                    "(cons@k, expected over subsets)."
                }
                (legend(models.iter().map(|(role, _)| Subject::Model(*role))))
                div.heats {
                    (score("At least one right", &curves(|tries| tries.pass), said))
                    (score("Majority right", &curves(|tries| tries.consensus), said))
                }
                details.small {
                    summary { "Figures" }
                    @for (role, tries) in &models { @if !tries.is_empty() { (figures(*role, tries)) } }
                }
            }
        }
    }
}

type Curves = Vec<(Subject<'static>, Vec<Point>)>;

/// The models' scores over an axis whose values double; `said` names one of them where the plot is read out.
fn score(title: &str, curves: &Curves, said: fn(f64) -> String) -> Markup {
    let values = curves.iter().flat_map(|(_, points)| points).map(|point| point.x);
    plot(title, curves, &Axis::doubling(values, said), &Axis::shares(percent))
}

fn figures(role: Role, tries: &[Tries]) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th { (role) } @for tries in tries { th.number { "k = " (tries.k) } } } }
            tbody {
                @for (name, of) in ROWS {
                    tr { th scope="row" { (name) } @for tries in tries { td.number { (percent(of(tries))) } } }
                }
            }
        } }
    }
}

/// A figure's name and how to read it.
type Row = (&'static str, fn(&Tries) -> f64);

const ROWS: [Row; 3] = [
    ("at least one right", |tries| tries.pass),
    ("majority right", |tries| tries.consensus),
    ("all right", |tries| tries.all),
];

/// Left out where no answers were written.
pub(super) fn tokens(report: &Report) -> Markup {
    let limited: Vec<(Role, &[Limited])> =
        report.models().into_iter().map(|(role, scored)| (role, scored.by_limit.as_slice())).collect();
    let point =
        |limited: &Limited| Point { x: f64::from(limited.tokens), y: limited.pass_at_1, ci95: Some(limited.ci95) };
    let longest = limited.iter().filter_map(|(_, points)| Some(points.last()?.tokens)).max().unwrap_or(0);
    let curve = |points: &[Limited]| -> Vec<Point> {
        // Above its longest answer a model gains nothing from a higher limit.
        let beyond =
            points.last().filter(|last| last.tokens < longest).map(|last| Limited { tokens: longest, ..last.clone() });
        points.iter().chain(&beyond).map(point).collect()
    };
    let curves: Curves = limited.iter().map(|(role, points)| (Subject::Model(*role), curve(points))).collect();
    let said = |tokens: f64| format!("{} tokens", count(tokens.round() as u64));
    html! {
        @if limited.iter().any(|(_, points)| !points.is_empty()) {
            section {
                h2 { "Accuracy against tokens" }
                p.note {
                    "Pass@1 where answers, thinking included, may take so many tokens at most: what the same samples score "
                    "when they are cut off there. Bands are 95% intervals."
                    @if !report.budgets.is_empty() {
                        " Beside it the runs at several budgets, by the tokens that their answers took."
                    }
                }
                (legend(limited.iter().map(|(role, _)| Subject::Model(*role))))
                div.heats {
                    (score("Under a limit", &curves, said))
                    @if !report.budgets.is_empty() { (score("At several budgets", &budget_curves(report), said)) }
                }
                @if !report.budgets.is_empty() { (budgets(&report.budgets)) }
            }
        }
    }
}

fn budget_curves(report: &Report) -> Curves {
    let point = |run: &BudgetRun| Point { x: run.mean_tokens.max(1.0), y: run.pass_at_1, ci95: Some(run.ci95) };
    let curve = |role: Role| report.budgets.iter().filter(|run| run.role == role).map(point).collect();
    report.models().into_iter().map(|(role, _)| (Subject::Model(role), curve(role))).collect()
}

fn budgets(runs: &[BudgetRun]) -> Markup {
    html! {
        details.small {
            summary { "Figures" }
            div.scroll { table {
                thead { tr {
                    th { "Model" } th.number { "Thinking budget" } th.number { "Limit" } th.number { "Tokens per answer" }
                    th.number { "Pass@1" } th.number { "95% interval" }
                } }
                tbody { @for run in runs { tr {
                    th scope="row" { (run.role) }
                    td.number { (run.thinking_budget.map_or("none".into(), |budget| count(budget as u64))) }
                    td.number { (count(run.max_tokens as u64)) }
                    td.number { (format!("{:.0}", run.mean_tokens)) }
                    td.number { (percent(run.pass_at_1)) }
                    td.number { (range(run.ci95)) }
                } } }
            } }
        }
    }
}
