//! Models and datasets by name from a hub that speaks Hugging Face's protocol, kept in the cache that its Python library
//! shares.
//!
//! `models--org--name/` (or `datasets--org--name/`) holds `refs/REVISION` (a commit), `blobs/` (files by their hash) and `snapshots/COMMIT/` (links
//! to blobs under the files' names). Only what a model is read from is fetched: configs, tokenizer, template, index and
//! safetensors; of a dataset, the files that its reader asks for. An interrupted download continues where it stopped; weights are held against the
//! SHA-256 that the hub gives for them.
//!
//! The sync client of the `hf-hub` crate is not used: it adds a whole answer to a partial file when a server ignores
//! `Range`, takes paths from headers, and panics on answers that lack one (version 0.5); version 1 is asynchronous.

mod cache;
mod client;
mod error;

pub use error::HubError;

use crate::Error;
use crate::observe::Observer;
use cache::Snapshot;
use client::{Client, Listing};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where models come from and where they are kept. It holds a secret, so it does not print.
pub struct Hub {
    /// Such as `https://huggingface.co`.
    pub endpoint: String,
    /// The folder of the cache, usually `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// Sent to the endpoint and to no other host.
    pub token: Option<String>,
    /// Such as `http://proxy:3128`.
    pub proxy: Option<String>,
    /// Take what the cache has and ask nobody.
    pub offline: bool,
    /// How long to wait before the first of a few new attempts; each waits twice as long as the one before.
    pub retry_wait: Duration,
}

/// `org/name` at a branch, tag or commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    kind: Kind,
    repo: String,
    revision: String,
}

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Dataset,
}

impl Kind {
    fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

/// What there is to read a repository from.
enum Found<'a> {
    Listed(Client<'a>, Listing),
    /// An earlier download's folder, where the hub may not be asked or does not answer.
    Cached(PathBuf),
}

/// How much of a model is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// All but the weights.
    SmallFiles,
    Everything,
}

/// The small files that a model is read from.
const SMALL_FILES: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "tiktoken.model",
];

/// A dataset's card, which may say where its splits are.
const CARD: &str = "README.md";

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

impl HubName {
    /// Parses what follows `hub:`, `org/name` or `org/name@revision`.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let (repo, revision) = text.split_once('@').unwrap_or((text, "main"));
        let parts = repo.split('/').count();
        if parts > 2 || !repo.split('/').all(is_plain) || !revision.split('/').all(is_plain) {
            return Err(HubError::Name { name: text.into() });
        }
        Ok(Self { kind: Kind::Model, repo: repo.into(), revision: revision.into() })
    }

    /// The same for a dataset.
    pub fn dataset(text: &str) -> Result<Self, HubError> {
        Ok(Self { kind: Kind::Dataset, ..Self::parse(text)? })
    }

    /// The repository's folder in the cache.
    fn folder(&self) -> String {
        format!("{}--{}", self.kind.plural(), self.repo.replace('/', "--"))
    }

    /// Where the hub tells of its files at a revision.
    fn list_path(&self) -> String {
        format!("api/{}/{}/revision/{}", self.kind.plural(), self.repo, self.revision.replace('/', "%2F"))
    }

    /// Where the hub has a file of a commit.
    fn file_path(&self, commit: &str, file: &str) -> String {
        let kind = if self.kind == Kind::Model { "" } else { "datasets/" };
        format!("{kind}{}/resolve/{commit}/{file}", self.repo)
    }
}

/// The same of a path inside a repository.
fn is_plain_path(path: &str) -> bool {
    path.split('/').all(is_plain)
}

/// Whether a text can be one part of a path or an address, and no more than that.
fn is_plain(part: &str) -> bool {
    let known = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
}

impl std::fmt::Display for HubName {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(out, "{}@{}", self.repo, self.revision)
    }
}

impl Hub {
    /// The folder of a model, its files fetched as far as they are wanted and not there yet.
    pub fn folder(&self, name: &HubName, want: Want, observer: &dyn Observer) -> Result<PathBuf, Error> {
        match self.find(name, || self.cached(name), observer)? {
            Found::Listed(client, listing) => Ok(self.fetch(&client, name, &listing, want)?),
            Found::Cached(folder) => Ok(folder),
        }
    }

    /// The folder of a dataset with its card and the files that are wanted, fetched as far as they are not there yet.
    pub fn dataset(
        &self,
        name: &HubName,
        wanted: &dyn Fn(&[&str], &str) -> bool,
        observer: &dyn Observer,
    ) -> Result<PathBuf, Error> {
        let cached = || Some(Snapshot::at_revision(&self.cache, name)?.folder()).filter(|folder| folder.is_dir());
        let (client, listing) = match self.find(name, cached, observer)? {
            Found::Listed(client, listing) => (client, listing),
            Found::Cached(folder) => return Ok(folder),
        };
        let names: Vec<&str> = listing.files.iter().map(|file| file.name.as_str()).collect();
        let is_wanted = |file: &&client::File| file.name == CARD || wanted(&names, &file.name);
        let files: Vec<&client::File> = listing.files.iter().filter(is_wanted).collect();
        let snapshot = Snapshot::new(&self.cache, name, &listing.sha);
        client.download(name, &snapshot, &files)?;
        snapshot.refer(&name.revision)?;
        Ok(snapshot.folder())
    }

    /// Asks the hub for a list of the repository's files; where it may not be asked or does not answer, `cached` will do.
    fn find<'a>(
        &'a self,
        name: &HubName,
        cached: impl FnOnce() -> Option<PathBuf>,
        observer: &'a dyn Observer,
    ) -> Result<Found<'a>, HubError> {
        if self.offline {
            return cached().map(Found::Cached).ok_or_else(|| HubError::NotCached { name: name.to_string() });
        }
        let client = Client::new(self, observer)?;
        let error = match client.list(name) {
            Ok(listing) => return Ok(Found::Listed(client, listing)),
            Err(error @ HubError::NoAnswer { .. }) => error,
            Err(error) => return Err(error),
        };
        let Some(folder) = cached() else { return Err(error) };
        observer.remark(&format!("{error}; `{name}` is taken from the cache as it is"));
        Ok(Found::Cached(folder))
    }

    /// The snapshot that an earlier download left, if it has at least a config.
    fn cached(&self, name: &HubName) -> Option<PathBuf> {
        let folder = Snapshot::at_revision(&self.cache, name)?.folder();
        folder.join("config.json").is_file().then_some(folder)
    }

    fn fetch(&self, client: &Client, name: &HubName, listing: &Listing, want: Want) -> Result<PathBuf, HubError> {
        let snapshot = Snapshot::new(&self.cache, name, &listing.sha);
        let listed: BTreeMap<&str, &client::File> =
            listing.files.iter().map(|file| (file.name.as_str(), file)).collect();
        if !listed.contains_key("config.json") {
            return Err(HubError::NoModel { name: name.to_string() });
        }
        let mut small: Vec<&client::File> = SMALL_FILES.iter().filter_map(|name| listed.get(name).copied()).collect();
        let sharded = want == Want::Everything && !listed.contains_key(WEIGHTS);
        small.extend(sharded.then(|| listed.get(INDEX).copied()).flatten());
        client.download(name, &snapshot, &small)?;
        if want == Want::Everything {
            let weights: Vec<&client::File> = match listed.get(WEIGHTS) {
                Some(file) => vec![*file],
                None => {
                    shards(&snapshot.folder()).iter().filter_map(|name| listed.get(name.as_str()).copied()).collect()
                }
            };
            client.download(name, &snapshot, &weights)?;
        }
        snapshot.refer(&name.revision)?;
        Ok(snapshot.folder())
    }
}

/// The shards that a downloaded index names; the checkpoint's reader checks and reports what is wrong with it.
fn shards(folder: &Path) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Option<Index> = crate::files::read_json(&folder.join(INDEX)).ok();
    let mut files: Vec<String> = index.map_or(vec![], |index| index.weight_map.into_values().collect());
    files.retain(|file| file.ends_with(".safetensors"));
    files.sort_unstable();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_lead_nowhere_else() {
        let parsed = |text: &str| HubName::parse(text).map(|name| name.to_string()).ok();
        assert_eq!(parsed("deepseek-ai/DeepSeek-V2-Lite").as_deref(), Some("deepseek-ai/DeepSeek-V2-Lite@main"));
        assert_eq!(parsed("org/name@refs/pr/3").as_deref(), Some("org/name@refs/pr/3"));
        assert_eq!(parsed("gpt2@v1.0").as_deref(), Some("gpt2@v1.0"));
        for bad in ["", "a/b/c", "../x", "a/..", "a/b@../../etc", "a/b@", "a b/c", "a/b?x=1", "/a", "a//b", "a/b@x#y"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
