//! What can be told of the money from a damaged ledger, on the dear side.

use super::Mark;
use super::ledger::{BEGINNING, Entry, What, entry, line};
use super::price::Money;
use std::collections::{BTreeMap, BTreeSet};

/// The ledger to put in place of a damaged one.
#[derive(Debug)]
pub(crate) struct Salvaged {
    pub bytes: Vec<u8>,
    pub mark: Mark,
    /// What it says, for the person who repairs.
    pub what: String,
}

/// Adds up every entry in `bytes` whose own checksum is right: what settled attempts cost, what was reserved for the
/// others, and as much as the dearest reserve for each that the numbering, or a line that cannot be read, shows to be
/// lost. Only what is missing at the end cannot be counted; `mark` tells whether something is.
pub(crate) fn salvage(bytes: &[u8], mark: Option<&Mark>) -> Salvaged {
    let lines = || bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let begun = |line: &[u8]| line.windows(BEGINNING.len()).filter(|&found| found == BEGINNING).count().max(1) as u64;
    let unreadable: u64 = lines().filter(|line| entry(line).is_none()).map(begun).sum();
    let entries = lines().filter_map(entry);
    let (mut at, mut currency) = (0, String::new());
    let (mut reserves, mut costs, mut carried) = (BTreeMap::new(), BTreeMap::new(), (0, Money(0), Money(0)));
    for Entry { at: when, what } in entries {
        at = when;
        match what {
            What::Opened { currency: found } => currency = found,
            What::Admitted { attempt, reserve, .. } => drop(reserves.insert(attempt, reserve)),
            What::Settled { attempt, cost, .. } => drop(costs.insert(attempt, cost)),
            // A merged ledger may hold several.
            What::Carried { attempts, spent, dearest } => {
                carried = (carried.0 + attempts, carried.1.plus(spent), carried.2.max(dearest));
            }
        }
    }
    let known: BTreeSet<u64> = reserves.keys().chain(costs.keys()).copied().collect();
    let last = known.last().copied().unwrap_or(carried.0).max(carried.0);
    let lost = (last - carried.0).saturating_sub(known.len() as u64).max(unreadable);
    let dearest = reserves.values().chain(costs.values()).copied().fold(carried.2, Money::max);
    let open = reserves.iter().filter(|(attempt, _)| !costs.contains_key(attempt)).map(|(_, reserve)| *reserve);
    let counted = costs.values().copied().chain(open).fold(carried.1, Money::plus);
    let spent = counted.plus(Money(dearest.0.saturating_mul(lost)));

    let mut what = format!("{spent} {currency} count as spent on {last} attempts");
    if lost > 0 {
        what += &format!("; {lost} entries are lost, each of which counts as the dearest");
    }
    if mark.is_some_and(|mark| (bytes.len() as u64) < mark.bytes) {
        what += "; entries are missing at its end, and what they cost is not counted";
    }
    let opened = (!currency.is_empty()).then_some(What::Opened { currency });
    let entries = opened.into_iter().chain([What::Carried { attempts: last, spent, dearest }]);
    // Structs of strings and numbers with text keys always serialise.
    let text = |what| serde_json::to_string(&Entry { at, what }).unwrap_or_default();
    let bytes = entries.map(|what| line(&text(what))).collect::<String>().into_bytes();
    Salvaged { mark: Mark::of(&bytes), bytes, what }
}
