//! How many rows of each input the new dataset holds. Every row has a number drawn from (seed, run, problem, sample), and
//! the rows with the lowest numbers are taken, so no draw depends on the other rows.

use super::reason::Reason;
use super::recipe::Mix;
use super::table::Table;
use super::words::mix as scramble;
use crate::Error;
use std::collections::BTreeMap;

/// How often each row is to be written where that is not once; rows that are not drawn are taken out of the table.
pub(super) fn apply(table: &mut Table, mix: &Mix, seed: u64) -> Result<BTreeMap<usize, u64>, Error> {
    let mut groups = vec![Vec::new(); table.datasets.len()];
    for (place, row) in table.kept() {
        groups[row.dataset as usize].push(place);
    }
    let held: Vec<u64> = groups.iter().map(|group| group.len() as u64).collect();
    let wanted = wanted(mix, &held);
    for ((path, &wanted), &held) in table.datasets.iter().zip(&wanted).zip(&held) {
        if wanted > held && (!mix.replacement || held == 0) {
            return Err(Error::TooFewRows { path: path.clone(), wanted, held });
        }
    }
    let mut repeats = BTreeMap::new();
    for ((dataset, mut group), wanted) in (0u32..).zip(groups).zip(wanted) {
        if mix.replacement {
            let mut times: BTreeMap<usize, u64> = BTreeMap::new();
            for draw in 0..wanted {
                // The bias of multiply-and-shift is below the number of rows / 2^64.
                let number = scramble(scramble(seed ^ u64::from(dataset)).wrapping_add(scramble(draw)));
                let at = (u128::from(number) * group.len() as u128) >> 64;
                *times.entry(group[at as usize]).or_default() += 1;
            }
            group.retain(|row| !times.contains_key(row));
            repeats.extend(times.into_iter().filter(|&(_, times)| times > 1));
        } else {
            group.sort_by_cached_key(|&row| (number(table, row, seed), row));
            group.drain(..wanted as usize);
        }
        for row in group {
            table.drop_row(row, Reason::NotDrawn { dataset });
        }
    }
    Ok(repeats)
}

/// Rows of each dataset, of which there are `held`.
pub(super) fn wanted(mix: &Mix, held: &[u64]) -> Vec<u64> {
    let weights = match (&mix.counts, &mix.weights) {
        (Some(counts), _) => return counts.clone(),
        (None, Some(weights)) => weights,
        (None, None) => return held.to_vec(),
    };
    let all: f64 = weights.iter().sum();
    let exact: Vec<f64> = match mix.total {
        Some(total) => weights.iter().map(|weight| total as f64 * weight / all).collect(),
        None => {
            let limits = weights.iter().zip(held).filter(|(weight, _)| **weight > 0.0);
            let scale = limits.map(|(weight, held)| *held as f64 / weight).fold(f64::INFINITY, f64::min);
            // Never more than there are.
            let limited = weights.iter().zip(held).map(|(weight, held)| (scale * weight).min(*held as f64));
            return limited.map(|rows| (rows + 1e-9).floor() as u64).collect();
        }
    };
    // Largest remainders, so that the parts add up to the total.
    let mut parts: Vec<u64> = exact.iter().map(|part| part.floor() as u64).collect();
    let missing = mix.total.unwrap_or_default().saturating_sub(parts.iter().sum());
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()).then(a.cmp(&b)));
    for &part in order.iter().take(missing as usize) {
        parts[part] += 1;
    }
    parts
}

/// The number that decides whether a row is drawn.
fn number(table: &Table, row: usize, seed: u64) -> u64 {
    let row = &table.rows[row];
    let mut hasher = blake3::Hasher::new_derive_key("retort mix v1");
    hasher.update(&seed.to_le_bytes()).update(&row.sample.to_le_bytes());
    hasher.update(table.runs[row.run as usize].as_bytes()).update(table.problems[row.problem as usize].uuid.as_bytes());
    let mut number = [0; 8];
    number.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(number)
}
