//! The share of right samples of a problem, as a measure of how hard it is for the model that was asked.
//!
//! Without a quota it is right / n. Where sampling ends with the q-th right sample, that ratio is too high on average; if
//! this happens at sample m, the unbiased estimate is (q - 1) / (m - 1) for q >= 2 (Haldane 1945, "On a method of
//! estimating frequencies"), and where the samples ran out before, right / n. Together they are unbiased: both are the
//! share, among all orders of outcomes that end sampling there, of those that begin with a right one (Girshick, Mosteller
//! and Savage 1946). For q = 1 this is the first sample's outcome alone, which is no measure of a problem.

use super::reason::Reason;
use super::recipe::PassRate;
use super::table::Table;
use crate::Error;
use crate::sample::Verdict;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// The pass rate of a problem from its samples' outcomes in their order; `None` without samples, or where a quota of one
/// ended them.
pub fn estimate(outcomes: impl IntoIterator<Item = bool>, quota: Option<NonZeroU32>) -> Option<f64> {
    let (mut right, mut samples) = (0u32, 0u32);
    for outcome in outcomes {
        samples += 1;
        right += u32::from(outcome);
        if let Some(quota) = quota.filter(|quota| quota.get() == right) {
            return (quota.get() > 1).then(|| f64::from(right - 1) / f64::from(samples - 1));
        }
    }
    (samples > 0).then(|| f64::from(right) / f64::from(samples))
}

/// The pass rate of every problem in its run, by row: samples that are dropped count, repeated ones do not. `quotas` are
/// those of the table's runs.
pub(super) fn rates(table: &Table, quotas: &[Option<NonZeroU32>]) -> Vec<Option<f64>> {
    let rows = &table.rows;
    let counts = |row: &usize| rows[*row].reason != Some(Reason::Repeated);
    let key = |row: usize| (rows[row].run, rows[row].problem);
    let mut order: Vec<usize> = (0..rows.len()).filter(counts).collect();
    order.sort_by_key(|&row| (key(row), rows[row].sample));
    let mut rates = vec![None; rows.len()];
    for group in order.chunk_by(|&a, &b| key(a) == key(b)) {
        let quota = quotas.get(rows[group[0]].run as usize).copied().flatten();
        let rate = estimate(group.iter().map(|&row| rows[row].verdict == Verdict::Right), quota);
        for &row in group {
            rates[row] = rate;
        }
    }
    rates
}

/// Takes out the problems that are too hard or too easy. `quotas` are those of runs that had one, by their ids; others had
/// that of the recipe, if any.
pub(super) fn apply(table: &mut Table, window: &PassRate, quotas: &BTreeMap<String, u32>) -> Result<(), Error> {
    let of_run = |run: &String| quotas.get(run).copied().and_then(NonZeroU32::new).or(window.quota);
    let of_runs: Vec<Option<NonZeroU32>> = table.runs.iter().map(of_run).collect();
    if of_runs.contains(&Some(NonZeroU32::MIN)) {
        let found = "asked of a run that ended each problem with its first right sample".into();
        return Err(Error::Setting { setting: "pass_rate", found, expected: "a quota of at least 2 there, or none" });
    }
    let rates = rates(table, &of_runs);
    for (row, rate) in rates.into_iter().enumerate() {
        if let Some(rate) = rate.filter(|rate| table.rows[row].kept && !(window.min..=window.max).contains(rate)) {
            table.drop_row(row, Reason::PassRate(rate));
        }
    }
    Ok(())
}
