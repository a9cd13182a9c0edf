//! Rows that are there twice, and problems and traces that are the same text; the first in order stays.

use super::reason::Reason;
use super::recipe::Unit;
use super::table::Table;
use std::collections::{HashMap, HashSet};

/// Takes out rows whose key (run, problem, sample) came before, kept or not: they are the same row.
pub(super) fn repeated(table: &mut Table) {
    let mut seen = HashSet::with_capacity(table.rows.len());
    for place in 0..table.rows.len() {
        let row = &table.rows[place];
        if !seen.insert((row.run, row.problem, row.sample)) {
            table.drop_row(place, Reason::Repeated);
        }
    }
}

pub(super) fn apply(table: &mut Table, unit: Unit) {
    match unit {
        Unit::Problems => problems(table),
        Unit::Traces => traces(table),
    }
}

fn problems(table: &mut Table) {
    let mut first: HashMap<u128, u32> = HashMap::new();
    for problem in table.kept_problems() {
        first.entry(table.problems[problem as usize].text).or_insert(problem);
    }
    table.drop_where(|row, problems| {
        let problem = *first.get(&problems[row.problem as usize].text)?;
        (problem != row.problem).then_some(Reason::SameProblem { problem })
    });
}

/// The same words for another problem are another trace.
fn traces(table: &mut Table) {
    let mut first: HashMap<(u32, u128), usize> = HashMap::new();
    let mut doubles = Vec::new();
    for (place, row) in table.kept() {
        let earlier = *first.entry((row.problem, row.text)).or_insert(place);
        if earlier != place {
            doubles.push((place, earlier));
        }
    }
    for (place, row) in doubles {
        table.drop_row(place, Reason::SameTrace { row });
    }
}
