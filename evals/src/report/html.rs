//! The page: head, verdict, key figures, and the sections in the order in which a reader asks.

use super::{Report, curves, families, learning, models, record, traces};
use crate::Role;
use crate::statistics::{Difference, Estimate, Interval};
use crate::wording;
use maud::{Markup, html};
use retort_datagen::page::{document, tile};

/// What only this page has.
const STYLE: &str = include_str!("style.css");

pub(super) fn page(report: &Report) -> Markup {
    let benchmark = report.reproducibility.benchmark.as_ref();
    let name = benchmark.map_or("Distillation report", |card| &card.name);
    let main = html! {
        (verdict(report, name))
        (key_figures(report))
        (models::scores(report))
        (families::forest(report))
        (families::heat(report))
        (curves::tries(report))
        (models::outcomes(report))
        (traces::section(report))
        (models::tokens(report))
        (curves::tokens(report))
        (learning::section(report))
        (record::timings(report))
        (record::reproducibility(report))
        (record::method(report))
    };
    document(&format!("{name} · teacher and student"), STYLE, main)
}

fn verdict(report: &Report, name: &str) -> Markup {
    let score = &report.student.score;
    html! {
        header {
            p.kicker {
                (name) " · " (wording::problems(score)) " · "
                (models::samples_each(&report.student)) " each"
            }
            h1 { (wording::verdict(report)) }
            div.lede { ul { @for finding in wording::findings(report) { li { (finding) } } } }
            @if !report.cautions.is_empty() {
                div.cautions role="note" { ul { @for caution in &report.cautions { li { (caution) } } } }
            }
        }
    }
}

fn key_figures(report: &Report) -> Markup {
    html! {
        div.tiles {
            (estimate("Gap recovered", "(student − base) / (teacher − base)", &report.gap_recovered))
            (difference("Student − control", report.student_minus_control.as_ref(), "no control run"))
            (estimate("Share of the teacher’s score", "student / teacher", &report.student_share_of_teacher))
        }
    }
}

fn estimate(label: &str, formula: &str, estimate: &Estimate) -> Markup {
    match estimate.defined() {
        Some((value, interval)) => {
            tile(label, html! { (wording::percent(value)) }, html! { (wording::range(interval)) " · " (formula) })
        }
        None => {
            let reason = estimate.reason.as_deref().unwrap_or("no reason is stated");
            tile(label, html! { small { "undefined" } }, html! { (reason) })
        }
    }
}

fn difference(label: &str, difference: Option<&Difference>, missing: &str) -> Markup {
    match difference {
        Some(difference) => tile(
            label,
            html! { (wording::points(difference.value)) " " small { "points" } },
            html! { (wording::points_range(difference.ci95)) " · paired" },
        ),
        None => tile(label, html! { small { "not measured" } }, html! { (missing) }),
    }
}

/// The mark of a role in every plot; shape and colour both tell it apart. Centred on (0, 0).
pub(super) fn marker(role: Role) -> Markup {
    match role {
        Role::Teacher => html! { rect.marker x="-3.4" y="-3.4" width="6.8" height="6.8" transform="rotate(45)" {} },
        Role::Control => html! { rect.marker x="-3.6" y="-3.6" width="7.2" height="7.2" {} },
        Role::Base | Role::Student => html! { circle.marker r="4.2" {} },
    }
}

/// The mark of a role before its name.
pub(super) fn key(role: Role) -> Markup {
    html! {
        svg class={ "key " (role) } aria-hidden="true" { svg x="7" y="6" { (marker(role)) } }
    }
}

/// Interval and point estimate of one model on a line at height `y`; the axis runs from 0% to 100% of the width.
pub(super) fn whisker(role: Role, value: f64, interval: Interval, y: usize) -> Markup {
    let at = |x: f64| format!("{:.2}%", 100.0 * x);
    html! {
        g class=(role) {
            title { (role) ": " (wording::percent(value)) " (" (wording::range(interval)) ")" }
            line.whisker x1=(at(interval.lo)) x2=(at(interval.hi)) y1=(y) y2=(y) {}
            svg x=(at(value)) y=(y) { (marker(role)) }
        }
    }
}

/// Vertical lines at every quarter of the axis.
pub(super) fn gridlines() -> Markup {
    html! {
        @for x in ["0%", "25%", "50%", "75%", "100%"] { line.gridline x1=(x) x2=(x) y1="0" y2="100%" {} }
    }
}
