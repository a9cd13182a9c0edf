//! What can be told of the money from a damaged ledger, on the dear side.

use super::Mark;
use super::ledger::{BEGINNING, Entry, Lost, What, entry, line};
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

/// What the samples beside a ledger tell of its attempts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stored {
    /// Each was an attempt.
    pub samples: u64,
    /// The most tokens that one of them can have used.
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// Adds up every entry in `bytes` whose own checksum is right: what settled attempts cost, what was reserved for the
/// others, and as much as the dearest reserve for each that the numbering, or a line that cannot be read, shows to be
/// lost. Where entries are missing at the end, as `mark` tells, so does each stored sample without an attempt; where none
/// says what an attempt cost, the tokens are written down, for a run with prices to count.
pub(crate) fn salvage(bytes: &[u8], mark: Option<&Mark>, stored: Stored) -> Salvaged {
    let lines = || bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let begun = |line: &[u8]| line.windows(BEGINNING.len()).filter(|&found| found == BEGINNING).count().max(1) as u64;
    let unreadable: u64 = lines().filter(|line| entry(line).is_none()).map(begun).sum();
    let entries = lines().filter_map(entry);
    let (mut at, mut currency, mut lost) = (0, String::new(), Vec::<Lost>::new());
    let (mut reserves, mut costs, mut carried) = (BTreeMap::new(), BTreeMap::new(), (0, Money(0), Money(0)));
    // A merged ledger may hold several of the last three.
    for Entry { at: when, what } in entries {
        at = when;
        match what {
            What::Opened { currency: found } => currency = if found.is_empty() { currency } else { found },
            What::Admitted { attempt, reserve, .. } => drop(reserves.insert(attempt, reserve)),
            What::Settled { attempt, cost, .. } => drop(costs.insert(attempt, cost)),
            What::Carried { attempts, spent, dearest } => {
                carried = (carried.0 + attempts, carried.1.plus(spent), carried.2.max(dearest));
            }
            What::Lost(found) => lost.push(found),
            What::Valued { attempts, spent } => {
                lost.retain(|lost| lost.attempts != attempts);
                let each = Money(spent.0.div_ceil(attempts.max(1)));
                carried = (carried.0 + attempts, carried.1.plus(spent), carried.2.max(each));
            }
        }
    }
    let known: BTreeSet<u64> = reserves.keys().chain(costs.keys()).copied().collect();
    let earlier = carried.0 + lost.iter().map(|lost| lost.attempts).sum::<u64>();
    let last = known.last().copied().unwrap_or(earlier).max(earlier);
    let between = (last - earlier).saturating_sub(known.len() as u64).max(unreadable);
    let is_cut = mark.is_some_and(|mark| (bytes.len() as u64) < mark.bytes);
    let tells = !known.is_empty() || carried.0 > 0;
    let behind = match is_cut || !tells {
        true => stored.samples.saturating_sub(earlier + known.len() as u64 + between),
        false => 0,
    };
    let dearest = reserves.values().chain(costs.values()).copied().fold(carried.2, Money::max);
    let open = reserves.iter().filter(|(attempt, _)| !costs.contains_key(attempt)).map(|(_, reserve)| *reserve);
    let counted = costs.values().copied().chain(open).fold(carried.1, Money::plus);
    let (attempts, missing) = (last + behind, between + behind);
    let spent = counted.plus(Money(dearest.0.saturating_mul(missing)));

    let mut what = format!("{spent} {currency} count as spent on {attempts} attempts");
    if tells && missing > 0 {
        what += &format!("; {missing} entries are lost, each of which counts as the dearest");
    }
    if tells && is_cut {
        what += "; entries are missing at its end, and of these only what became a sample is counted";
    }
    let carried =
        What::Carried { attempts: attempts - lost.iter().map(|lost| lost.attempts).sum::<u64>(), spent, dearest };
    if !tells && (lost.is_empty() || missing > 0) {
        let Stored { samples, prompt_tokens, completion_tokens } = stored;
        // Where there is no sample, nobody knows what an attempt takes.
        let attempts = if samples == 0 { 0 } else { missing };
        what = match samples {
            0 => "nothing can be told of what was spent, so the run goes on without `--max-cost` only".into(),
            _ => format!(
                "nothing can be told of what was spent: a run that goes on with `--prices` counts {attempts} attempts, each \
                 as the dearest that a stored sample can have been"
            ),
        };
        lost.push(Lost { attempts, prompt_tokens, completion_tokens });
    }
    let opened = (!currency.is_empty() || !tells).then_some(What::Opened { currency });
    let entries = opened.into_iter().chain(tells.then_some(carried)).chain(lost.into_iter().map(What::Lost));
    // Structs of strings and numbers with text keys always serialise.
    let text = |what| serde_json::to_string(&Entry { at, what }).unwrap_or_default();
    let bytes = entries.map(|what| line(&text(what))).collect::<String>().into_bytes();
    Salvaged { mark: Mark::of(&bytes), bytes, what }
}
