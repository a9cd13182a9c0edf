//! What several tries reach: pass@k and the majority of k against k, for every model; left out where problems have one
//! sample.

use super::Report;
use super::html::{key, marker};
use crate::Role;
use crate::tries::Tries;
use crate::wording::percent;
use maud::{Markup, html};

/// Of the drawing, in units of its own; it is scaled to the page.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 180.0;
/// Left of and below the axes.
const LEFT: f64 = 34.0;
const BELOW: f64 = 22.0;

pub(super) fn section(report: &Report) -> Markup {
    let models: Vec<(Role, &[Tries])> =
        report.models().into_iter().map(|(role, scored)| (role, scored.tries.as_slice())).collect();
    html! {
        @if models.iter().any(|(_, tries)| !tries.is_empty()) {
            section {
                h2 { "With several tries" }
                p.note {
                    "At least one of k samples is right (pass@k, unbiased), and the answer that most of k give is right "
                    "(cons@k, expected over subsets)."
                }
                ul.legend { @for (role, _) in &models { li { (key(*role)) (role) } } }
                div.heats {
                    (plot("At least one right", &models, |tries| tries.pass))
                    (plot("Majority right", &models, |tries| tries.consensus))
                }
                details.small {
                    summary { "Figures" }
                    @for (role, tries) in &models { @if !tries.is_empty() { (figures(*role, tries)) } }
                }
            }
        }
    }
}

fn plot(title: &str, models: &[(Role, &[Tries])], of: fn(&Tries) -> f64) -> Markup {
    let most = models.iter().flat_map(|(_, tries)| tries.iter()).map(|tries| tries.k).max().unwrap_or(1);
    // k doubles with every step to the right.
    let across = f64::from(most).log2().max(1.0);
    let x = |k: u32| LEFT + (WIDTH - LEFT - 10.0) * f64::from(k).log2() / across;
    let y = |share: f64| 8.0 + (HEIGHT - BELOW - 8.0) * (1.0 - share);
    let point = |tries: &Tries| format!("{:.1},{:.1}", x(tries.k), y(of(tries)));
    let line = |tries: &[Tries]| tries.iter().map(point).collect::<Vec<_>>().join(" ");
    let said = |tries: &[Tries]| {
        tries.iter().map(|tries| format!("{} at k = {}", percent(of(tries)), tries.k)).collect::<Vec<_>>().join(", ")
    };
    let described: Vec<String> = models.iter().map(|(role, tries)| format!("{role}: {}", said(tries))).collect();
    let ks = models.iter().map(|(_, tries)| *tries).max_by_key(|tries| tries.len()).unwrap_or_default();
    html! {
        figure style="margin: 0" {
            h3 { (title) }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width="100%" role="img" aria-label=(described.join("; ")) {
                @for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
                    line.gridline x1=(LEFT) x2=(WIDTH) y1=(y(share)) y2=(y(share)) {}
                    text x=(LEFT - 6.0) y=(y(share) + 4.0) text-anchor="end" { (format!("{:.0}%", 100.0 * share)) }
                }
                @for tries in ks { text x=(x(tries.k)) y=(HEIGHT - 6.0) text-anchor="middle" { (tries.k) } }
                @for (role, tries) in models {
                    g class=(role) {
                        polyline.whisker fill="none" points=(line(tries)) {}
                        @for tries in *tries {
                            g transform={ "translate(" (format!("{:.1}", x(tries.k))) " " (format!("{:.1}", y(of(tries)))) ")" } { (marker(*role)) }
                        }
                    }
                }
            }
        }
    }
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
