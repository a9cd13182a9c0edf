//! Which traces of a problem are kept where it has more than it may.

use super::halt::{Halt, Watcher};
use super::reason::Reason;
use super::recipe::{Choice, PerProblem, Unit};
use super::scan::Inputs;
use super::shingles::jaccard;
use super::table::Table;
use super::texts::for_groups;

/// How a choice is called in a reason.
pub(super) fn by(choice: Choice) -> &'static str {
    match choice {
        Choice::Shortest => "the shortest first",
        Choice::Diverse => "the most different",
        Choice::First => "in their order",
    }
}

/// Keeps at most so many traces of every problem; ties go to the earlier sample.
pub(super) fn apply(inputs: &Inputs, table: &mut Table, rule: &PerProblem, observer: Watcher) -> Result<(), Halt> {
    let at_most = rule.at_most.get() as usize;
    let mut groups = table.kept_by_problem();
    groups.retain(|group| group.len() > at_most);
    let rest: Vec<Vec<usize>> = match rule.by {
        Choice::First => groups.into_iter().map(|mut group| group.split_off(at_most)).collect(),
        Choice::Shortest => groups.into_iter().map(|group| shortest(table, group).split_off(at_most)).collect(),
        Choice::Diverse => for_groups(inputs, table, &groups, Unit::Traces, rule.words, observer, |rows, sets| {
            let chosen = diverse(sets, at_most);
            Ok(rows.iter().enumerate().filter(|(place, _)| !chosen.contains(place)).map(|(_, &row)| row).collect())
        })?,
    };
    for row in rest.into_iter().flatten() {
        table.drop_row(row, Reason::NotPicked { at_most: rule.at_most.get(), choice: rule.by });
    }
    Ok(())
}

/// The shortest first; by words where the tokens of a trace were not counted.
fn shortest(table: &Table, mut group: Vec<usize>) -> Vec<usize> {
    let counted = group.iter().all(|&row| table.rows[row].completion_tokens > 0);
    // Stable, so that equal lengths stay in order.
    group.sort_by_key(|&row| if counted { table.rows[row].completion_tokens } else { table.rows[row].words });
    group
}

/// Places of `k` texts: the first, then again and again the one whose least distance (1 - Jaccard) to those chosen is
/// the greatest (Gonzalez 1985).
pub(super) fn diverse(sets: &[&[u64]], k: usize) -> Vec<usize> {
    let mut chosen = Vec::new();
    let mut nearest = vec![f64::INFINITY; sets.len()];
    while chosen.len() < k.min(sets.len()) {
        let left = (0..sets.len()).filter(|place| !chosen.contains(place));
        // The first of equals.
        let Some(next) = left.reduce(|best, place| if nearest[place] > nearest[best] { place } else { best }) else {
            break;
        };
        chosen.push(next);
        for (nearest, set) in nearest.iter_mut().zip(sets) {
            *nearest = nearest.min(1.0 - jaccard(sets[next], set));
        }
    }
    chosen
}
