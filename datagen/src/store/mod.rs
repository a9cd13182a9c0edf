//! The trace dataset on disk: what a run writes sample by sample and everything later reads.
//!
//! A folder holds
//! - `manifest.json`: what the run is and which shards are sealed, under a checksum of its own; its copy,
//!   `.manifest.json.copy`, is for repairs;
//! - `data-NNNNN.arrow`: sealed, immutable shards (Arrow IPC file, zstd); shard `i` holds the samples at positions
//!   `i * rows_per_shard ..`, where the position of a sample is `problem * n + sample`. Which rows share a shard
//!   depends on their keys alone, so an interrupted run ends with the rows of an uninterrupted one. Where a problem has
//!   enough samples before its last one (`quotas`), the places of the others stay empty. When a run stops before its end,
//!   shards are sealed that are not full: the manifest marks them, and the run takes them apart when it goes on;
//! - `journal.bin`: samples that are stored and not sealed yet; absent when there are none;
//! - `README.md`: a dataset card, which is the owner's to edit: no checksum covers it, and a sealed shard or a repair
//!   writes it anew;
//! - `recipe.toml`: the recipe of a dataset that was made by one;
//! - `attempts.jsonl`: what a run that counts its costs spent (`spend`);
//! - `.lock`: held by the one writer;
//! - `quarantine/`: what `repair` took out, for a person to look at.
//!
//! Every file but the journal is replaced whole: temporary file, fsync, rename, fsync of the folder, the manifest last.
//! A reader takes the manifest's word only: it checks a file's length and blake3 before a parser sees its bytes. Where the
//! manifest and its copy are lost, a repair makes it anew from what each shard says of its dataset (`placed`).
//! A sample is acknowledged once the journal was fsynced after it: at most 64 samples, or those of about a second, wait.

mod card;
mod derive;
mod folder;
mod header;
mod journal;
mod manifest;
mod merge;
mod placed;
mod quotas;
mod reader;
mod recipe;
mod regrade;
mod repair;
mod shard;
mod writer;

#[cfg(test)]
pub(crate) mod example;
#[cfg(test)]
mod tests;

pub use derive::DerivedWriter;
pub use header::{BenchmarkId, GeneratorId, Keep, Past, ProblemSet, Quota, RunHeader};
pub use manifest::{Derived, FORMAT_VERSION, Manifest, Origin, Parent, ShardEntry, Slice};
pub use merge::merge;
pub(crate) use reader::Layout;
pub use reader::TraceReader;
pub use regrade::{Change, Regraded, regrade};
pub use repair::{Damage, Repaired, Verified, repair, verify};
pub use writer::{DEFAULT_ROWS_PER_SHARD, Resumed, TraceStore};
