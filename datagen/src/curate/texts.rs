//! The shingles of chosen rows, read again from the datasets: groups of rows at a time, so that memory stays bounded.

use super::halt::{Halt, Watcher, go_on};
use super::recipe::Unit;
use super::scan::Inputs;
use super::shingles::shingles;
use super::table::Table;
use super::words::words;
use crate::columns::Columns;
use rayon::prelude::*;
use std::collections::HashMap;

/// Words of the texts that are held at once; a group that has more is held by itself.
const BUDGET: u64 = 32 << 20;

/// The columns that make up the text of a row; a trace is compared together with its question, so that two questions
/// with the answer 7 are no duplicates.
pub(super) fn columns(unit: Unit) -> &'static [&'static str] {
    match unit {
        Unit::Problems => &["problem"],
        Unit::Traces => &["problem", "reasoning", "response"],
    }
}

/// Calls `each` for every group, some at a time, with the sets of `n`-word shingles of its rows; what it gives back comes
/// in the order of the groups.
pub(super) fn for_groups<T: Send>(
    inputs: &Inputs,
    table: &Table,
    groups: &[Vec<usize>],
    unit: Unit,
    n: usize,
    observer: Watcher,
    each: impl Fn(&[usize], &[&[u64]]) -> Result<T, Halt> + Sync,
) -> Result<Vec<T>, Halt> {
    let size = |row: usize| {
        let row = &table.rows[row];
        let trace = if unit == Unit::Traces { row.words } else { 0 };
        u64::from(table.problems[row.problem as usize].words + trace)
    };
    let mut results = Vec::with_capacity(groups.len());
    let mut rest = groups;
    while !rest.is_empty() {
        let mut held = 0;
        let fitting = rest.iter().take_while(|group| {
            held += group.iter().map(|&row| size(row)).sum::<u64>();
            held <= BUDGET
        });
        let (batch, later) = rest.split_at(fitting.count().max(1));
        let sets = sets(inputs, table, batch.iter().flatten().copied().collect(), unit, n, observer)?;
        let sets_of = |group: &[usize]| group.iter().map(|row| sets.get(row).map_or(&[][..], Vec::as_slice)).collect();
        let some = batch.par_iter().map(|group| {
            go_on(observer)?;
            let sets: Vec<&[u64]> = sets_of(group);
            each(group, &sets)
        });
        results.extend(some.collect::<Result<Vec<_>, Halt>>()?);
        rest = later;
    }
    Ok(results)
}

fn sets(
    inputs: &Inputs,
    table: &Table,
    mut rows: Vec<usize>,
    unit: Unit,
    n: usize,
    observer: Watcher,
) -> Result<HashMap<usize, Vec<u64>>, Halt> {
    rows.sort_unstable();
    let part = |row: usize| table.parts.partition_point(|&(.., first)| first <= row) - 1;
    let parts: Vec<&[usize]> = rows.chunk_by(|&a, &b| part(a) == part(b)).collect();
    let read = |rows: &&[usize]| {
        go_on(observer)?;
        let (dataset, number, first) = table.parts[part(rows[0])];
        let columns = Columns::read(&inputs.readers[dataset], number, columns(unit))?;
        let texts: Vec<Vec<&str>> =
            self::columns(unit).iter().map(|name| columns.texts(name)).collect::<Result<_, _>>()?;
        let set = |&row: &usize| {
            let all: Vec<u64> = texts.iter().flat_map(|texts| words(texts[row - first])).collect();
            (row, shingles(&all, n))
        };
        Ok(rows.iter().map(set).collect::<Vec<_>>())
    };
    Ok(parts.par_iter().map(read).collect::<Result<Vec<_>, Halt>>()?.into_iter().flatten().collect())
}
