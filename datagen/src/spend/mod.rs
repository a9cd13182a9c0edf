//! Money: what requests to a paid endpoint may cost, and what they did.
//!
//! Before a request leaves, the most that it can cost is reserved and made durable; a request for which the limit has no
//! room is not sent. So what was spent never exceeds the limit, whatever dies in between: an attempt whose outcome is
//! unknown stays charged in full. (A server that uses more than it was asked for is charged as it says; only so can the
//! sum pass the limit, and the run says by how much.)

mod ledger;
mod merged;
mod price;
mod salvage;

#[cfg(test)]
mod tests;

pub(crate) use ledger::NAME as LEDGER;
pub(crate) use merged::{Part, merged};
pub use price::{Money, PriceTable};
pub(crate) use salvage::{Salvaged, Stored, salvage};

use ledger::{Balance, Ledger, Lost, What};
use retort_model::attempts::{Admission, AttemptId, Attempts, Charge, Estimate, Settlement, Usage};
use retort_model::generate::JobError;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a run may spend.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Budget {
    pub prices: Option<PriceTable>,
    /// In the currency of `prices`.
    pub max_cost: Option<Money>,
}

/// Errors of the ledger and of prices.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("`{path}` could not be {action}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` cannot hold this entry")]
    Entry {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("`{path}` is damaged at byte {offset}")]
    LedgerDamaged { path: PathBuf, offset: u64 },
    #[error("`{path}` ends at byte {found}; it went to {expected} when a run on the folder last ended")]
    LedgerCut { path: PathBuf, expected: u64, found: u64 },
    #[error("`{path}` is not the ledger that the dataset's manifest means")]
    OtherLedger { path: PathBuf },
    #[error("line {line} of `{path}` does not follow from the lines before it")]
    Unbalanced { path: PathBuf, line: u64 },
    #[error("a limit on the cost needs prices")]
    NoPrices,
    #[error("the price table has no price for `{model}`; it has {known}")]
    NoPrice { model: String, known: String },
    #[error("`{path}` counts in {before} and the price table in {now}")]
    OtherCurrency { path: PathBuf, before: String, now: String },
    #[error("`{path}` counts what the run costs in {currency}, and it cannot go on counting without prices")]
    PricesLeftOut { path: PathBuf, currency: String },
    #[error("nothing is left of what was spent before `{path}` was lost, so no limit on the cost can be kept")]
    NothingKnown { path: PathBuf },
    #[error("`{path}` counts in {found} and the slices before it in {before}, which have no sum")]
    Currencies { path: PathBuf, before: String, found: String },
}

impl Error {
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoPrices => "give the price of the model's tokens in a file, with `--prices`".into(),
            Self::NoPrice { model, .. } => format!("add a `[[price]]` with `model = \"{model}\"` to the table"),
            Self::OtherCurrency { .. } => "use one currency for a folder, or write to another folder".into(),
            Self::PricesLeftOut { .. } => {
                "give the prices again with `--prices`; a table with prices of 0 goes on without adding to the cost".into()
            }
            Self::NothingKnown { .. } => "leave out `--max-cost`, or write to another folder".into(),
            Self::Currencies { .. } => "the slices of a run are paid for in one currency".into(),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => crate::error::NO_SPACE.into(),
            Self::LedgerDamaged { .. }
            | Self::LedgerCut { .. }
            | Self::OtherLedger { .. }
            | Self::Unbalanced { .. } => {
                "what was spent cannot be told from it: restore it from a copy, or let `retort datagen repair` put what can \
                 be told in its place"
                    .into()
            }
            Self::Io { .. } | Self::Entry { .. } => return None,
        })
    }
}

/// The purse of one run: its limit, its prices and its ledger.
#[derive(Debug)]
pub(crate) struct Spend {
    budget: Budget,
    model: String,
    ledger: Ledger,
    /// When the attempts of this process were admitted, in seconds.
    begun: HashMap<u64, u64>,
    /// What servers charged in this process beyond what was reserved.
    overcharged: Money,
    now: fn() -> u64,
}

/// What a ledger says that a run spent, never less than it really was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    pub currency: String,
    pub total: Money,
    pub attempts: u64,
    /// The part of `total` that stands for attempts of which nobody knows what they cost: as much as they could have.
    pub unknown: Money,
    /// How many these are.
    pub unknown_attempts: u64,
}

impl Spent {
    fn of(balance: &Balance, currency: &str) -> Self {
        let (total, (settled, attempts)) = (balance.spent(), balance.unknown);
        Self {
            currency: currency.into(),
            total,
            attempts: balance.attempts,
            unknown: total.minus(balance.settled).plus(settled),
            unknown_attempts: balance.reserved.len() as u64 + attempts,
        }
    }

    /// `1.2000 USD for 40 attempts, 0.0300 per kept trace; 0.1000 of it reserved for 2 of unknown cost`.
    pub fn words(&self, kept: u64) -> String {
        let Self { currency, total, attempts, unknown, unknown_attempts } = self;
        let mut words = format!("{total} {currency} for {attempts} attempts");
        if let Some(each) = total.0.checked_div(kept) {
            words += &format!(", {} per kept trace", Money(each));
        }
        if *unknown > Money(0) {
            words += &format!("; {unknown} of it reserved for {unknown_attempts} of unknown cost");
        }
        words
    }
}

/// What was spent on the dataset in `folder`; `None` where there is no ledger or nothing had a price.
pub fn spent(folder: &Path) -> Result<Option<Spent>, Error> {
    let balance = ledger::read(folder)?;
    let currency = balance.currency.as_deref().filter(|currency| !currency.is_empty());
    Ok(currency.map(|currency| Spent::of(&balance, currency)))
}

/// How far a ledger went: it only grows, so as many bytes of it have this hash ever after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    pub bytes: u64,
    /// Of these bytes, in hexadecimal.
    pub blake3: String,
}

impl Mark {
    /// That of a ledger that holds these bytes.
    pub(crate) fn of(ledger: &[u8]) -> Self {
        Self { bytes: ledger.len() as u64, blake3: blake3::hash(ledger).to_hex().to_string() }
    }
}

/// Checks the ledger of which these are the bytes, `None` where there is no file; gives back how many of them, at its end,
/// are a write that was cut short.
pub(crate) fn check(path: &Path, bytes: Option<&[u8]>, mark: Option<&Mark>) -> Result<u64, Error> {
    Ok(ledger::check(path, bytes, mark)?.torn)
}

/// Milliseconds since 1970.
fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Spend {
    /// Opens the ledger in `folder`, which must go as far as `mark` says, for requests to `model`.
    pub(crate) fn open(folder: &Path, mark: Option<&Mark>, budget: &Budget, model: &str) -> Result<Self, Error> {
        let ledger = Ledger::open(folder, mark)?;
        match &budget.prices {
            None if budget.max_cost.is_some() => return Err(Error::NoPrices),
            None => {}
            Some(prices) => {
                if !prices.models().contains(&model) {
                    let known = prices.models().join(", ");
                    return Err(Error::NoPrice { model: model.into(), known });
                }
                if let Some(before) =
                    ledger.balance.currency.as_ref().filter(|before| !before.is_empty() && **before != prices.currency)
                {
                    let (before, now) = (before.clone(), prices.currency.clone());
                    return Err(Error::OtherCurrency { path: folder.into(), before, now });
                }
            }
        }
        let (begun, overcharged) = (HashMap::new(), Money(0));
        let mut spend =
            Self { budget: budget.clone(), model: model.into(), ledger, begun, overcharged, now: wall_clock };
        spend.value_lost()?;
        Ok(spend)
    }

    /// Counts attempts whose cost was lost as the dearest that they can have been, where there are prices.
    fn value_lost(&mut self) -> Result<(), Error> {
        let Some(rate) = self.budget.prices.as_ref().and_then(|prices| prices.ever(&self.model)) else { return Ok(()) };
        for Lost { attempts, prompt_tokens, completion_tokens } in self.ledger.balance.lost.clone() {
            if attempts == 0 {
                match self.budget.max_cost {
                    Some(_) => return Err(Error::NothingKnown { path: self.ledger.path.clone() }),
                    None => continue,
                }
            }
            let spent = Money(rate.most(prompt_tokens, completion_tokens).0.saturating_mul(attempts));
            self.open_currency()?;
            self.ledger.append((self.now)(), What::Valued { attempts, spent })?;
        }
        self.ledger.sync()
    }

    /// Says in the ledger what it counts in, where it does not yet.
    fn open_currency(&mut self) -> Result<(), Error> {
        let currency = self.budget.prices.as_ref().map_or(String::new(), |prices| prices.currency.clone());
        let before = self.ledger.balance.currency.as_deref();
        if before.is_none_or(|before| before.is_empty() && !currency.is_empty()) {
            self.ledger.append((self.now)(), What::Opened { currency })?;
        }
        Ok(())
    }

    /// That no price of the model holds any more, in words.
    pub(crate) fn expired(&self) -> Option<String> {
        let has_expired = |prices: &&PriceTable| prices.has_expired(&self.model, (self.now)() / 1000);
        self.budget.prices.as_ref().filter(has_expired).map(|_| {
            format!(
                "every price of `{}` has ended (`until`); the dearest of them is counted as if it still held",
                self.model
            )
        })
    }

    /// Bytes of an unfinished write that were cut off the ledger.
    pub(crate) fn torn_bytes(&self) -> u64 {
        self.ledger.torn
    }

    /// What was spent, reserves included; `None` where nothing has a price.
    #[cfg(test)]
    pub(crate) fn spent(&self) -> Option<Money> {
        self.currency().map(|_| self.ledger.balance.spent())
    }

    /// What was charged in this process beyond what was reserved, in words: a server used more tokens than it was asked
    /// for. Empty where none did.
    pub(crate) fn overcharge(&self) -> String {
        match (self.overcharged, self.currency()) {
            (Money(0), _) | (_, None) => String::new(),
            (over, Some(currency)) => {
                format!("the server used more than it was asked for: {over} {currency} beyond the reserves")
            }
        }
    }

    /// What was spent so far in words, and while samples are missing what it will be; empty where nothing has a price.
    pub(crate) fn note(&self, kept: u64, stored: u64, planned: u64) -> String {
        let Some(currency) = self.currency() else { return String::new() };
        let balance = &self.ledger.balance;
        let mut note = Spent::of(balance, currency).words(kept);
        // What is reserved for requests in flight would make the beginning of a run look dear.
        if let Some(each) = balance.settled.0.checked_div(stored).filter(|_| stored < planned) {
            let lost = balance.reserved.iter().filter(|(attempt, _)| !self.begun.contains_key(attempt));
            let sure = lost.fold(balance.settled, |sum, (_, reserve)| sum.plus(*reserve));
            note += &format!("; about {} in all", sure.plus(Money(each.saturating_mul(planned - stored))));
        }
        note
    }

    /// Makes the last entries durable; gives back how far the ledger goes then.
    pub(crate) fn close(&mut self) -> Result<Option<Mark>, Error> {
        self.ledger.sync()?;
        Ok(self.ledger.mark())
    }

    fn currency(&self) -> Option<&str> {
        let priced = self.budget.prices.as_ref().map(|prices| prices.currency.as_str());
        priced.or(self.ledger.balance.currency.as_deref()).filter(|currency| !currency.is_empty())
    }

    fn reserve(&self, estimate: &Estimate, at: u64) -> Money {
        let rate = self.budget.prices.as_ref().and_then(|prices| prices.worst(&self.model, at));
        rate.map_or(Money(0), |rate| rate.most(estimate.prompt_tokens, estimate.completion_tokens))
    }

    /// What an attempt cost that ran from `begin` to `end`.
    fn cost(&self, charge: Charge, reserve: Money, begin: u64, end: u64) -> Money {
        match charge {
            Charge::Nothing => Money(0),
            Charge::Unknown => reserve,
            Charge::Used(Usage { prompt_tokens, cached_tokens, completion_tokens }) => {
                let rate = self.budget.prices.as_ref().and_then(|prices| prices.between(&self.model, begin, end));
                let fresh = prompt_tokens.saturating_sub(cached_tokens);
                rate.map_or(Money(0), |rate| rate.cost(fresh, cached_tokens, completion_tokens))
            }
        }
    }
}

impl Attempts for Spend {
    fn admit(&mut self, estimate: &Estimate) -> Result<Admission, JobError> {
        let now = (self.now)();
        if let (None, Some(currency)) = (&self.budget.prices, self.currency()) {
            let (path, currency) = (self.ledger.path.clone(), currency.to_owned());
            return Err(Error::PricesLeftOut { path, currency }.into());
        }
        let reserve = self.reserve(estimate, now / 1000);
        if let Some(limit) = self.budget.max_cost {
            let spent = self.ledger.balance.spent();
            if spent.plus(reserve) > limit {
                let left = limit.minus(spent);
                let currency = self.currency().unwrap_or_default();
                return Ok(Admission::Refused(format!(
                    "{spent} of {limit} {currency} are spent, and of the {left} left the next request could take {reserve}"
                )));
            }
        }
        self.open_currency()?;
        let attempt = self.ledger.balance.attempts + 1;
        let Estimate { request: position, prompt_tokens, completion_tokens } = *estimate;
        self.ledger.append(now, What::Admitted { attempt, position, prompt_tokens, completion_tokens, reserve })?;
        self.begun.insert(attempt, now / 1000);
        Ok(Admission::Granted(AttemptId(attempt)))
    }

    fn commit(&mut self) -> Result<(), JobError> {
        // Where nothing costs anything, nothing is lost with the last lines.
        if self.budget.prices.is_some() { Ok(self.ledger.sync()?) } else { Ok(()) }
    }

    fn settle(&mut self, attempt: AttemptId, settlement: &Settlement) -> Result<(), JobError> {
        let (now, AttemptId(attempt)) = ((self.now)(), attempt);
        let reserve = self.ledger.balance.reserved.get(&attempt).copied().unwrap_or_default();
        let begin = self.begun.remove(&attempt).unwrap_or(now / 1000);
        let cost = self.cost(settlement.charge, reserve, begin, now / 1000);
        self.overcharged = self.overcharged.plus(cost.minus(reserve));
        let usage = if let Charge::Used(usage) = settlement.charge { Some(usage.into()) } else { None };
        let (outcome, detail) = (settlement.outcome.into(), settlement.detail.clone());
        Ok(self.ledger.append(now, What::Settled { attempt, outcome, cost, usage, detail })?)
    }
}
