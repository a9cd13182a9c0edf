//! The folder of a repository in the cache, in the layout of `huggingface_hub`.

use super::{HubError, HubName};
use crate::durable;
use std::fs;
use std::path::{Path, PathBuf};

/// One commit of one repository.
pub(super) struct Snapshot {
    /// `models--org--name`
    repo: PathBuf,
    commit: String,
}

impl Snapshot {
    pub(super) fn new(cache: &Path, name: &HubName, commit: &str) -> Self {
        Self { repo: cache.join(name.folder()), commit: commit.into() }
    }

    /// The commit that the name's revision meant when it was last fetched, or that it is.
    pub(super) fn at_revision(cache: &Path, name: &HubName) -> Option<Self> {
        let HubName { revision, .. } = name;
        let snapshot = Self::new(cache, name, revision);
        let commit = fs::read_to_string(snapshot.repo.join("refs").join(revision)).unwrap_or(revision.clone());
        is_hash(commit.trim()).then(|| Self { commit: commit.trim().into(), ..snapshot })
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.repo.join("snapshots").join(&self.commit)
    }

    /// Whether a file is there, whoever fetched it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.folder().join(name).is_file()
    }

    /// Where a file's bytes are gathered until they are complete.
    pub(super) fn partial(&self, blob: &str) -> Result<PathBuf, HubError> {
        let blobs = self.repo.join("blobs");
        fs::create_dir_all(&blobs).map_err(failed("created", &blobs))?;
        Ok(blobs.join(format!("{blob}.incomplete")))
    }

    /// Makes complete bytes the blob `blob` and shows it under `name`.
    pub(super) fn keep(&self, partial: &Path, blob: &str, name: &str) -> Result<(), HubError> {
        let blobs = self.repo.join("blobs");
        let place = blobs.join(blob);
        fs::rename(partial, &place).and_then(|()| durable::sync_folder(&blobs)).map_err(failed("written", &place))?;
        self.show(blob, name)
    }

    /// Takes a blob that an earlier commit brought, if there is one.
    pub(super) fn adopt(&self, blob: &str, name: &str) -> Result<bool, HubError> {
        let there = self.repo.join("blobs").join(blob).is_file();
        if there { self.show(blob, name).map(|()| true) } else { Ok(false) }
    }

    fn show(&self, blob: &str, name: &str) -> Result<(), HubError> {
        let place = self.repo.join("blobs").join(blob);
        let shown = self.folder().join(name);
        let folder = shown.parent().unwrap_or(&shown);
        fs::create_dir_all(folder).map_err(failed("created", folder))?;
        // What is there and is no file is a link whose blob is gone.
        let _ = fs::remove_file(&shown);
        // From below `snapshots/COMMIT/` up to the repository's folder.
        let up = "../".repeat(2 + name.matches('/').count());
        link(&place, &format!("{up}blobs/{blob}"), &shown)
            .and_then(|()| durable::sync_folder(folder))
            .map_err(failed("written", &shown))
    }

    /// Remembers which commit `revision` means.
    pub(super) fn refer(&self, revision: &str) -> Result<(), HubError> {
        if revision == self.commit {
            return Ok(());
        }
        let path = self.repo.join("refs").join(revision);
        let folder = path.parent().unwrap_or(&self.repo);
        fs::create_dir_all(folder).map_err(failed("created", folder))?;
        durable::replace(&path, self.commit.as_bytes()).map_err(failed("written", &path))
    }
}

#[cfg(unix)]
fn link(_: &Path, relative: &str, shown: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(relative, shown)
}

#[cfg(not(unix))]
fn link(place: &Path, _: &str, shown: &Path) -> std::io::Result<()> {
    fs::rename(place, shown)
}

/// Whether a text can be a commit or the hash of a file, and so may become part of a path.
pub(super) fn is_hash(text: &str) -> bool {
    (40..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> HubError {
    let path = path.to_path_buf();
    move |source| HubError::Io { action, path, source }
}
