//! The ledgers of the slices of a run as the ledger of the whole: every attempt of every slice, numbered anew.

use super::ledger::{Entry, NAME, What, bytes, check, entry, line};
use super::{Error, Mark};
use std::path::Path;

/// A slice and its ledger.
pub(crate) struct Part<'a> {
    pub folder: &'a Path,
    /// How far the ledger went when a run on the folder last ended.
    pub mark: Option<&'a Mark>,
    /// The place in the whole run of a sample's place in the slice.
    pub position: Box<dyn Fn(u64) -> u64>,
}

/// The bytes of the ledger that holds what those of `parts` hold, in their order; `None` where none has one.
pub(crate) fn merged(parts: &[Part]) -> Result<Option<Vec<u8>>, Error> {
    let (mut opened, mut currency, mut attempts, mut lines) = (None, String::new(), 0, String::new());
    for Part { folder, mark, position } in parts {
        let path = folder.join(NAME);
        let bytes = bytes(&path)?;
        let contents = check(&path, bytes.as_deref(), *mark)?;
        // What is good is there.
        let good = &bytes.unwrap_or_default()[..contents.good as usize];
        for Entry { at, what } in good.split(|&byte| byte == b'\n').filter_map(entry) {
            let what = match what {
                What::Opened { currency: found } => {
                    opened = Some(opened.map_or(at, |before: u64| before.min(at)));
                    if !currency.is_empty() && !found.is_empty() && found != currency {
                        return Err(Error::Currencies { path, before: currency, found });
                    }
                    currency = if found.is_empty() { currency } else { found };
                    continue;
                }
                What::Admitted { attempt, position: place, prompt_tokens, completion_tokens, reserve } => {
                    let (attempt, position) = (attempts + attempt, position(place));
                    What::Admitted { attempt, position, prompt_tokens, completion_tokens, reserve }
                }
                What::Settled { attempt, outcome, cost, usage, detail } => {
                    What::Settled { attempt: attempts + attempt, outcome, cost, usage, detail }
                }
                whole @ (What::Carried { .. } | What::Lost(_) | What::Valued { .. }) => whole,
            };
            lines += &text(&path, &Entry { at, what })?;
        }
        attempts += contents.balance.attempts;
    }
    let whole = |at| Ok((text(Path::new(NAME), &Entry { at, what: What::Opened { currency } })? + &lines).into_bytes());
    opened.map(whole).transpose()
}

fn text(path: &Path, entry: &Entry) -> Result<String, Error> {
    let text = serde_json::to_string(entry).map_err(|source| Error::Entry { path: path.into(), source })?;
    Ok(line(&text))
}
