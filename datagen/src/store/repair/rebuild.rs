//! A manifest made anew from the shards, where neither it nor its copy can be believed.
//!
//! What is left of the two still tells the checksums of most shards: one that has its own is whole; one for which both name
//! the same other one is damaged. Whichever of the rest reads whole is taken, and named: nothing can tell whether its
//! bytes are those that were written.

use super::super::folder::Folder;
use super::super::manifest::{Manifest, ShardEntry, shard_index};
use super::super::placed::{self, Lone};
use crate::Error;
use crate::spend::{self, LEDGER, Mark};

/// What could be made.
#[derive(Debug)]
pub(super) struct Rebuilt {
    pub manifest: Manifest,
    /// Shards without a checksum to hold them against, and whatever else nobody can tell.
    pub remarks: Vec<String>,
}

/// A shard that reads whole.
struct Found {
    lone: Lone,
    entry: ShardEntry,
    is_checked: bool,
}

/// The manifest that the shards in `folder` make; `left` is what is left of the old ones. `None` where no shard can be read.
pub(super) fn rebuild(folder: &Folder, left: &[Vec<u8>]) -> Result<Option<Rebuilt>, Error> {
    let mut found = Vec::new();
    for file in folder.names()? {
        let Some(index) = shard_index(&file) else { continue };
        let Some(bytes) = folder.read(&file)? else { continue };
        let entry = ShardEntry::new(index, 0, &bytes);
        let told: Vec<&[u8]> = left.iter().filter_map(|text| checksum(text, &file)).collect();
        let is_checked = told.contains(&entry.blake3.as_bytes());
        let is_damaged = !is_checked && told.len() > 1 && told.iter().all(|other| *other == told[0]);
        if let (false, Ok(lone)) = (is_damaged, placed::read(bytes)) {
            let (rows, partial) = (lone.rows.len() as u64, lone.placed.is_some_and(|placed| placed.partial));
            found.push(Found { entry: ShardEntry { rows, partial, ..entry }, lone, is_checked });
        }
    }
    // Those of other datasets, if somebody put them there, are the fewer.
    let named = |shard: &Found, run_id: &str| shard.lone.manifest.run_id == run_id;
    let rows_of =
        |run_id: &str| -> u64 { found.iter().filter(|shard| named(shard, run_id)).map(|shard| shard.entry.rows).sum() };
    let most = found.iter().map(|shard| &shard.lone.manifest.run_id).max_by_key(|run_id| rows_of(run_id)).cloned();
    let Some(run_id) = most else { return Ok(None) };
    found.retain(|shard| named(shard, &run_id));
    found.sort_by_key(|shard| shard.entry.index());
    let unchecked = found.iter().filter(|shard| !shard.is_checked).map(|shard| {
        format!("{}: it reads whole, but no checksum of it is left to hold its bytes against", shard.entry.file)
    });
    let mut remarks: Vec<String> = unchecked.collect();
    if found.iter().all(|shard| shard.lone.placed.is_none()) {
        remarks.push(
            "manifest.json: shards of earlier versions do not say how many rows a shard has at most, which was guessed, \
             nor whether they are part of a run (`--shard`)"
                .into(),
        );
    }
    // Who says it knows it; of the others the longest is the best guess.
    let knows = |shard: &&Found| (shard.lone.placed.is_some(), shard.entry.rows);
    let Some(first) = found.iter().max_by_key(knows) else { return Ok(None) };
    let mut manifest = first.lone.manifest.clone();
    manifest.attempts = ledger(folder)?;
    manifest.shards = found.into_iter().map(|shard| shard.entry).collect();
    Ok(Some(Rebuilt { manifest, remarks }))
}

/// How far the ledger goes; one that is damaged is seen to later.
fn ledger(folder: &Folder) -> Result<Option<Mark>, Error> {
    let Some(bytes) = folder.read(LEDGER)? else { return Ok(None) };
    let torn = spend::check(&folder.path(LEDGER), Some(&bytes), None).ok();
    Ok(torn.map(|torn| Mark::of(&bytes[..bytes.len() - torn as usize])))
}

/// The checksum that stands for `file` in the text of a manifest.
fn checksum<'a>(text: &'a [u8], file: &str) -> Option<&'a [u8]> {
    let after = |text: &'a [u8], what: &str| {
        let at = text.windows(what.len()).position(|found| found == what.as_bytes())?;
        Some(&text[at + what.len()..])
    };
    let entry = after(text, &format!("\"file\": \"{file}\""))?;
    let entry = &entry[..entry.iter().position(|&byte| byte == b'}').unwrap_or(entry.len())];
    after(entry, "\"blake3\": \"")?.get(..64)
}
