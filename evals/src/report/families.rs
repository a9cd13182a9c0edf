//! Where the student gains and where it falls short: a forest plot by family, heat tables by family and level.

use super::Report;
use super::html::{gridlines, key, whisker};
use crate::Role;
use crate::score::{Family, Score, Scored};
use crate::statistics::Difference;
use crate::wording::{count, p_value, percent, points, points_range, range};
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Height of one model's line in a row of the forest plot, in pixels.
const LINE: usize = 15;

pub(super) fn forest(report: &Report) -> Markup {
    let models = report.models();
    let all: Vec<(Role, &Score)> = models.iter().map(|(role, scored)| (*role, &scored.score)).collect();
    let family = |name: &str| -> Vec<(Role, &Score)> {
        let of = |scored: &'_ Scored| scored.families.iter().position(|family| family.family == name);
        models.iter().filter_map(|&(role, scored)| Some((role, &scored.families.get(of(scored)?)?.score))).collect()
    };
    let named = report.student_minus_teacher_by_family.iter().any(|difference| !difference.family.is_empty());
    html! {
        section {
            h2 { "By family" }
            p.note { "Pass@1 with 95% intervals, each family by itself. A star marks differences that stay beside those of all other families (sign-flip test, Holm, 5%)." }
            ul.legend { @for (role, _) in &models { li { (key(*role)) (role) } } }
            div.forest {
                div.row { div."head change" { "student − teacher" } }
                (row("All problems", &all, &report.student_minus_teacher, report.student_minus_teacher.sign_flip_p))
                // Without families there is nothing but all problems.
                @for difference in report.student_minus_teacher_by_family.iter().filter(|_| named) {
                    (row(shown(&difference.family), &family(&difference.family), &difference.student_minus_teacher, difference.holm_p))
                }
                div.row { div.plot { (axis()) } }
            }
        }
    }
}

fn row(name: &str, scores: &[(Role, &Score)], difference: &Difference, p: f64) -> Markup {
    let height = LINE * scores.len() + 4;
    let described: Vec<String> = scores
        .iter()
        .map(|(role, score)| format!("{role} {} ({})", percent(score.pass_at_1), range(score.ci95)))
        .collect();
    html! {
        div.row {
            div.name { (name) span { (count(difference.problems as u64)) " problems" } }
            div.plot {
                svg width="100%" height=(height) role="img" aria-label={ (name) ": " (described.join(", ")) } {
                    (gridlines())
                    @for (line, (role, score)) in scores.iter().enumerate() {
                        (whisker(*role, score.pass_at_1, score.ci95, LINE * line + LINE / 2 + 2))
                    }
                }
            }
            div.change { b title={ "p " (p_value(p)) } { (points(difference.value)) @if p < 0.05 { "*" } } span { (points_range(difference.ci95)) } }
        }
    }
}

fn axis() -> Markup {
    html! {
        svg width="100%" height="16" aria-hidden="true" {
            text x="0%" y="12" { "0%" }
            @for x in ["25%", "50%", "75%"] { text x=(x) y="12" text-anchor="middle" { (x) } }
            text x="100%" y="12" text-anchor="end" { "100%" }
        }
    }
}

fn shown(name: &str) -> &str {
    if name.is_empty() { "unnamed" } else { name }
}

/// One table per model; left out where no problem states a level.
pub(super) fn heat(report: &Report) -> Markup {
    let levels = levels(&report.teacher.families);
    html! {
        @if levels.iter().any(|level| !level.is_empty()) {
            section {
                h2 { "By family and level" }
                p.note { "Pass@1 in percent; the deeper the colour, the higher." }
                div.heats {
                    @for (role, scored) in report.models() {
                        div {
                            h3 { (key(role)) (role) }
                            table.heat {
                                thead { tr { th {} @for level in &levels { th scope="col" { (shown(level)) } } } }
                                tbody {
                                    @for family in &scored.families {
                                        (heat_row(family, &levels, scored.families.len() == 1))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn heat_row(family: &Family, levels: &[&str], only: bool) -> Markup {
    let name = if only && family.family.is_empty() { "All problems" } else { shown(&family.family) };
    html! {
        tr {
            th scope="row" { (name) }
            @for level in levels {
                @if let Some(level) = family.levels.iter().find(|own| own.level == *level) {
                    @let share = 100.0 * level.score.pass_at_1;
                    td style={ "--share: " (format!("{share:.0}")) }
                        title={ (range(level.score.ci95)) ", " (level.score.problems) " problems" } { (format!("{share:.0}")) }
                } @else {
                    td.muted { "–" }
                }
            }
        }
    }
}

/// Every level of any family, in the order in which families list them.
fn levels(families: &[Family]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    families
        .iter()
        .flat_map(|family| family.levels.iter().map(|level| level.level.as_str()))
        .filter(|level| seen.insert(*level))
        .collect()
}
