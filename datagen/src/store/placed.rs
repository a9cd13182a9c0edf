//! What a shard says of the dataset that it lies in: enough to write a lost manifest anew.

use super::manifest::{Manifest, Origin, Slice};
use super::shard;
use crate::sample::Sample;
use crate::sources::Indexed;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};
use std::io::Cursor;
use std::panic::catch_unwind;

/// Where a shard's metadata holds the header of its run, or how its dataset was derived, or how it lies there.
pub(super) const RUN: &str = "retort.run";
pub(super) const DERIVED: &str = "retort.derived";
pub(super) const PLACED: &str = "retort.shard";

/// How a shard lies in its dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Placed {
    pub rows_per_shard: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

impl Placed {
    pub(super) fn of(manifest: &Manifest, partial: bool) -> Self {
        let slice = if let Origin::Run { slice, .. } = manifest.origin { slice } else { None };
        Self { rows_per_shard: manifest.rows_per_shard, slice, partial }
    }
}

/// A shard by itself.
#[derive(Debug)]
pub(super) struct Lone {
    /// The manifest of its dataset, as far as it says it, without shards.
    pub manifest: Manifest,
    pub rows: Vec<Sample>,
    /// `None` in shards of format versions before 5.
    pub placed: Option<Placed>,
}

/// Reads a shard of which no checksum may be left, so that nothing in it is believed: lengths neither, and each row must
/// name the run that the header makes.
pub(super) fn read(bytes: Vec<u8>) -> Result<Lone, ArrowError> {
    // Arrow's decoder panics on some files.
    let read = catch_unwind(|| {
        let mut file = Indexed::open(Cursor::new(bytes))?;
        let schema = file.schema();
        Ok((shard::rows(&schema, std::iter::from_fn(|| file.next_batch().transpose()))?, schema))
    });
    let (rows, schema) = read.unwrap_or_else(|_| Err(ArrowError::IpcError("it is damaged".into())))?;
    let told = |key: &str| schema.metadata().get(key).map(String::as_str);
    let malformed = |error: serde_json::Error| ArrowError::SchemaError(error.to_string());
    let placed: Option<Placed> = told(PLACED).map(serde_json::from_str).transpose().map_err(malformed)?;
    let longest = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let (rows_per_shard, slice) = placed.map_or((longest, None), |placed| (placed.rows_per_shard, placed.slice));
    let manifest = match (told(RUN), told(DERIVED)) {
        (Some(run), None) => Manifest::new(serde_json::from_str(run).map_err(malformed)?, slice, rows_per_shard),
        (None, Some(derived)) => Manifest::derived(serde_json::from_str(derived).map_err(malformed)?, rows_per_shard),
        _ => return Err(ArrowError::SchemaError("it does not say where its rows come from".into())),
    };
    let foreign = |row: &&Sample| manifest.run().is_some() && row.run_id != manifest.run_id;
    match rows.iter().find(foreign) {
        Some(row) => Err(ArrowError::SchemaError(format!("it holds a row of another run, `{}`", row.run_id))),
        None if rows_per_shard == 0 => Err(ArrowError::SchemaError("its shards have no rows".into())),
        None => Ok(Lone { manifest, rows, placed }),
    }
}
