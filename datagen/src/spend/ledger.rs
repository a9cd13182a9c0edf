//! The attempts ledger, `attempts.jsonl`: where the money went.
//!
//! One JSON document to a line, under a checksum: `{"sum":"..","entry":{..}}`, where `sum` is the first 16 hexadecimal
//! digits of the blake3 of the entry's bytes. An entry admits an attempt with what was reserved for it, or settles one
//! with what it cost; one that is never settled counts in full. A write that was torn leaves a last line without its end,
//! and no request of it had left; a bad line that is whole is damage, for what it said of money is lost. The dataset's
//! manifest holds a [`Mark`] of how far the ledger went when a run last ended, so that lost lines at its end are missed.

use super::price::Money;
use super::{Error, Mark};
use retort_model::attempts::Usage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub(crate) const NAME: &str = "attempts.jsonl";

/// How every line begins.
pub(super) const BEGINNING: &[u8] = b"{\"sum\":\"";

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Milliseconds since 1970.
    pub at: u64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    Opened {
        currency: String,
    },
    Admitted {
        attempt: u64,
        /// The sample's place in the run.
        position: u64,
        prompt_tokens: u64,
        completion_tokens: u64,
        reserve: Money,
    },
    Settled {
        attempt: u64,
        outcome: String,
        cost: Money,
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<Used>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    /// What a repair could tell of so many earlier attempts: all of it counts as spent. No reserve is known to have been
    /// larger than the dearest.
    Carried {
        attempts: u64,
        spent: Money,
        dearest: Money,
    },
    /// Attempts of which a repair could tell nothing but how many there were at least; none where not even that.
    Lost(Lost),
    /// What so many lost attempts count as, since there are prices.
    Valued {
        attempts: u64,
        spent: Money,
    },
}

/// Attempts whose cost is lost, and the most tokens that each can have used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Lost {
    pub attempts: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// [`Usage`] as it stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Used {
    prompt_tokens: u64,
    cached_tokens: u64,
    completion_tokens: u64,
}

impl From<Usage> for Used {
    fn from(usage: Usage) -> Self {
        let Usage { prompt_tokens, cached_tokens, completion_tokens } = usage;
        Self { prompt_tokens, cached_tokens, completion_tokens }
    }
}

/// What a ledger adds up to.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Balance {
    /// What settled attempts cost.
    pub settled: Money,
    /// How much of it, and for how many attempts, was only reserved: nobody knows what they cost.
    pub unknown: (Money, u64),
    /// What is reserved for the others, by attempt.
    pub reserved: BTreeMap<u64, Money>,
    pub attempts: u64,
    /// Attempts that nothing was counted for.
    pub lost: Vec<Lost>,
    pub currency: Option<String>,
}

impl Balance {
    /// What was spent, as far as anybody can tell: never less than it really was.
    pub(super) fn spent(&self) -> Money {
        self.reserved.values().fold(self.settled, |sum, reserve| sum.plus(*reserve))
    }

    /// Takes an entry; `None` where it contradicts those before it.
    fn apply(&mut self, what: &What) -> Option<()> {
        match what {
            What::Opened { currency } => self.currency = Some(currency.clone()),
            What::Admitted { attempt, reserve, .. } => {
                let next = *attempt == self.attempts + 1 && self.reserved.insert(*attempt, *reserve).is_none();
                self.attempts = *attempt;
                return next.then_some(());
            }
            What::Settled { attempt, cost, usage, .. } => {
                self.reserved.remove(attempt)?;
                self.settled = self.settled.plus(*cost);
                if usage.is_none() && *cost > Money(0) {
                    self.unknown = (self.unknown.0.plus(*cost), self.unknown.1 + 1);
                }
            }
            What::Carried { attempts, spent, .. } => {
                self.attempts += attempts;
                self.settled = self.settled.plus(*spent);
            }
            What::Lost(lost) => {
                self.attempts += lost.attempts;
                self.lost.push(*lost);
            }
            What::Valued { attempts, spent } => {
                let place = self.lost.iter().position(|lost| lost.attempts == *attempts)?;
                self.lost.remove(place);
                self.settled = self.settled.plus(*spent);
                self.unknown = (self.unknown.0.plus(*spent), self.unknown.1 + attempts);
            }
        }
        Some(())
    }
}

/// What a file of attempts holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub balance: Balance,
    /// Bytes up to the end of the last good line.
    pub good: u64,
    pub torn: u64,
}

/// A ledger open for more.
#[derive(Debug)]
pub(super) struct Ledger {
    pub path: PathBuf,
    /// `None` until something is written.
    file: Option<File>,
    end: u64,
    /// Of everything up to `end`.
    hasher: blake3::Hasher,
    dirty: bool,
    failed: bool,
    pub balance: Balance,
    /// Bytes that were cut off the end of an earlier writer's file.
    pub torn: u64,
}

impl Ledger {
    /// Opens the ledger in `folder`, which must go as far as `mark` says; one that is not there is made with the first
    /// entry.
    pub(super) fn open(folder: &Path, mark: Option<&Mark>) -> Result<Self, Error> {
        let path = folder.join(NAME);
        let found = bytes(&path)?;
        let Contents { balance, good, torn } = check(&path, found.as_deref(), mark)?;
        let mut hasher = blake3::Hasher::new();
        let Some(bytes) = found else {
            return Ok(Self { path, file: None, end: 0, hasher, dirty: false, failed: false, balance, torn });
        };
        hasher.update(&bytes[..good as usize]);
        let open = || -> std::io::Result<File> {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(good)?;
            // The writer before may not have come to it.
            file.sync_all()?;
            file.seek(SeekFrom::Start(good))?;
            Ok(file)
        };
        let file = open().map_err(|source| Error::Io { action: "continued", path: path.clone(), source })?;
        Ok(Self { path, file: Some(file), end: good, hasher, dirty: false, failed: false, balance, torn })
    }

    /// Appends an entry; it survives the death of this process at once and a power cut after [`Self::sync`].
    pub(super) fn append(&mut self, at: u64, what: What) -> Result<(), Error> {
        let entry = Entry { at, what };
        let text = serde_json::to_string(&entry).map_err(|source| Error::Entry { path: self.path.clone(), source })?;
        let line = line(&text);
        if self.failed {
            return Err(self.io("written after an earlier failure", ErrorKind::Other.into()));
        }
        if self.file.is_none() {
            let file = File::create(&self.path).map_err(|source| self.io("created", source))?;
            self.file = Some(file);
            let folder = self.path.parent().unwrap_or(Path::new("."));
            retort_model::durable::sync_folder(folder).map_err(|source| self.io("created", source))?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if let Err(source) = file.write_all(line.as_bytes()) {
            self.failed = true;
            // The next opening cuts a torn line off in any case.
            let _ = file.set_len(self.end);
            return Err(self.io("appended to", source));
        }
        self.end += line.len() as u64;
        self.hasher.update(line.as_bytes());
        self.dirty = true;
        self.balance.apply(&entry.what).ok_or_else(|| Error::Unbalanced { path: self.path.clone(), line: 0 })
    }

    /// Makes everything durable that was appended.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        let Some(file) = self.file.as_ref().filter(|_| self.dirty) else { return Ok(()) };
        if let Err(source) = file.sync_data() {
            // The kernel may have dropped what it could not write.
            self.failed = true;
            return Err(self.io("synchronised", source));
        }
        self.dirty = false;
        Ok(())
    }

    /// How far it goes; `None` while there is nothing.
    pub(super) fn mark(&self) -> Option<Mark> {
        (self.end > 0).then(|| Mark { bytes: self.end, blake3: self.hasher.finalize().to_hex().to_string() })
    }

    fn io(&self, action: &'static str, source: std::io::Error) -> Error {
        Error::Io { action, path: self.path.clone(), source }
    }
}

/// What the ledger in `folder` adds up to, a torn last line left out; nothing where there is none.
pub(super) fn read(folder: &Path) -> Result<Balance, Error> {
    let path = folder.join(NAME);
    bytes(&path)?.map_or_else(|| Ok(Balance::default()), |bytes| Ok(scan(&path, &bytes)?.balance))
}

pub(super) fn bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { action: "read", path: path.into(), source }),
    }
}

/// The line of an entry that reads `text`.
pub(super) fn line(text: &str) -> String {
    format!("{{\"sum\":\"{}\",\"entry\":{text}}}\n", checksum(text.as_bytes()))
}

fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].into()
}

/// The entry on a line, if a whole and correct one is there.
pub(super) fn entry(line: &[u8]) -> Option<Entry> {
    let rest = line.strip_prefix(BEGINNING)?;
    let (sum, rest) = rest.split_at_checked(16)?;
    let text = rest.strip_prefix(b"\",\"entry\":")?.strip_suffix(b"}")?;
    (checksum(text).as_bytes() == sum).then(|| serde_json::from_slice(text).ok())?
}

/// What the ledger holds of which these are the bytes, `None` where there is no file; it must go as far as `mark` says.
pub(super) fn check(path: &Path, bytes: Option<&[u8]>, mark: Option<&Mark>) -> Result<Contents, Error> {
    let contents = scan(path, bytes.unwrap_or_default())?;
    if let Some(mark) = mark {
        let expected = mark.bytes;
        let path = path.to_owned();
        if contents.good < expected {
            return Err(Error::LedgerCut { path, expected, found: contents.good });
        }
        // What is good is there.
        if Mark::of(&bytes.unwrap_or_default()[..expected as usize]) != *mark {
            return Err(Error::OtherLedger { path });
        }
    }
    Ok(contents)
}

fn scan(path: &Path, bytes: &[u8]) -> Result<Contents, Error> {
    let mut contents = Contents { balance: Balance::default(), good: 0, torn: 0 };
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let Some(found) = line.strip_suffix(b"\n").and_then(entry) else { break };
        let balanced = contents.balance.apply(&found.what);
        balanced.ok_or_else(|| Error::Unbalanced { path: path.into(), line: number })?;
        contents.good += line.len() as u64;
    }
    let rest = &bytes[contents.good as usize..];
    // A whole entry with something else than a line's end behind it was whole once.
    let end_lost = rest.split_last().is_some_and(|(_, line)| entry(line).is_some());
    if rest.contains(&b'\n') || end_lost {
        return Err(Error::LedgerDamaged { path: path.into(), offset: contents.good });
    }
    contents.torn = rest.len() as u64;
    Ok(contents)
}
