//! Near-duplicates. Texts whose MinHash signatures agree in a band are candidates; they are compared exactly, in order,
//! with those that stayed, and the first that is similar enough is what they go for.

use super::halt::{Halt, Watcher, go_on};
use super::reason::Reason;
use super::recipe::{Near, Unit};
use super::scan::Inputs;
use super::shingles::jaccard;
use super::table::Table;
use super::texts::for_groups;
use std::collections::{HashMap, HashSet};

pub(super) fn apply(
    inputs: &Inputs,
    table: &mut Table,
    unit: Unit,
    near: &Near,
    observer: Watcher,
) -> Result<(), Halt> {
    // By one row each; a problem's text is that of its first row.
    let items: Vec<usize> = match unit {
        Unit::Problems => {
            table.kept_problems().into_iter().map(|problem| table.problems[problem as usize].row).collect()
        }
        Unit::Traces => table.kept().map(|(place, _)| place).collect(),
    };
    let signatures: Vec<&[u32]> = items.iter().map(|&row| bands(table, unit, row)).collect();
    let places: Vec<Vec<usize>> = components(&signatures, near.bands, observer)?;
    let groups: Vec<Vec<usize>> =
        places.iter().map(|group| group.iter().map(|&place| items[place]).collect()).collect();
    let doubles = for_groups(inputs, table, &groups, unit, near.words, observer, |rows, sets| {
        let signatures: Vec<&[u32]> = rows.iter().map(|&row| bands(table, unit, row)).collect();
        let found = thin(&signatures, sets, near.threshold, observer)?;
        Ok(found.into_iter().map(|(double, of, jaccard)| (rows[double], rows[of], jaccard as f32)).collect::<Vec<_>>())
    })?;
    match unit {
        Unit::Traces => {
            for (row, of, jaccard) in doubles.into_iter().flatten() {
                table.drop_row(row, Reason::NearTrace { row: of, jaccard });
            }
        }
        Unit::Problems => {
            let problem = |row: usize| table.rows[row].problem;
            let doubles: HashMap<u32, (u32, f32)> = doubles
                .into_iter()
                .flatten()
                .map(|(row, of, jaccard)| (problem(row), (problem(of), jaccard)))
                .collect();
            table.drop_where(|row, _| {
                doubles.get(&row.problem).map(|&(problem, jaccard)| Reason::NearProblem { problem, jaccard })
            });
        }
    }
    Ok(())
}

fn bands(table: &Table, unit: Unit, row: usize) -> &[u32] {
    let row = &table.rows[row];
    match unit {
        Unit::Problems => &table.problems[row.problem as usize].bands,
        Unit::Traces => &row.bands,
    }
}

/// The items that are joined by chains of agreeing bands, each group in order, groups of one left out.
fn components(signatures: &[&[u32]], bands: usize, observer: Watcher) -> Result<Vec<Vec<usize>>, Halt> {
    let mut parents: Vec<usize> = (0..signatures.len()).collect();
    fn root(parents: &mut [usize], mut item: usize) -> usize {
        while parents[item] != item {
            parents[item] = parents[parents[item]];
            item = parents[item];
        }
        item
    }
    for band in 0..bands {
        go_on(observer)?;
        let mut values: Vec<(u32, usize)> =
            signatures.iter().enumerate().filter_map(|(item, bands)| Some((*bands.get(band)?, item))).collect();
        values.sort_unstable();
        for pair in values.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let (a, b) = (root(&mut parents, pair[0].1), root(&mut parents, pair[1].1));
            parents[a.max(b)] = a.min(b);
        }
    }
    let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
    for item in 0..signatures.len() {
        let root = root(&mut parents, item);
        groups.entry(root).or_default().push(item);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().filter(|group| group.len() > 1).collect();
    groups.sort_unstable();
    Ok(groups)
}

/// (what goes, what it goes for, their similarity) among texts in order, by their places.
fn thin(
    signatures: &[&[u32]],
    sets: &[&[u64]],
    threshold: f64,
    observer: Watcher,
) -> Result<Vec<(usize, usize, f64)>, Halt> {
    let mut stayed: HashMap<(usize, u32), Vec<usize>> = HashMap::new();
    let mut doubles = Vec::new();
    for (item, (bands, set)) in signatures.iter().zip(sets).enumerate() {
        go_on(observer)?;
        let keys = || bands.iter().copied().enumerate();
        let mut compared = HashSet::new();
        let mut candidates: Vec<usize> = keys().filter_map(|key| stayed.get(&key)).flatten().copied().collect();
        // Sets of so different sizes cannot be similar enough.
        let comparable = |other: usize| {
            let (own, other) = (set.len() as f64, sets[other].len() as f64);
            own.min(other) >= threshold * own.max(other)
        };
        candidates.retain(|&candidate| comparable(candidate) && compared.insert(candidate));
        candidates.sort_unstable();
        let similar = candidates.into_iter().map(|other| (other, jaccard(set, sets[other])));
        match similar.into_iter().find(|&(_, similarity)| similarity >= threshold) {
            Some((other, similarity)) => doubles.push((item, other, similarity)),
            None => keys().for_each(|key| stayed.entry(key).or_default().push(item)),
        }
    }
    Ok(doubles)
}
