//! Requests to the hub: the list of a repository's files, and the files, each continued until it is whole.

use super::cache::{Snapshot, failed, is_hash};
use super::{Hub, HubError, HubName, is_plain_path};
use crate::observe::Observer;
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fs::{File as Partial, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;
use ureq::config::RedirectAuthHeaders;
use ureq::http::Response;
use ureq::{Agent, Body};

/// Attempts in a row that may bring nothing.
const ATTEMPTS: u32 = 5;

/// Attempts at the list: a hub that is out of reach should be known to be soon.
const LIST_ATTEMPTS: u32 = 2;

/// A server that says nothing for so long is given up for this attempt.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes between two looks at whether the download should stop.
const STRIDE: usize = 256 << 10;

const MEBIBYTE: u64 = 1 << 20;

/// A repository's files at one commit.
#[derive(Deserialize)]
pub(super) struct Listing {
    pub sha: String,
    #[serde(rename = "siblings")]
    pub files: Vec<File>,
}

#[derive(Deserialize)]
pub(super) struct File {
    #[serde(rename = "rfilename")]
    pub name: String,
    #[serde(default)]
    size: Option<u64>,
    /// git's hash; it names the blob.
    #[serde(rename = "blobId", default)]
    git: Option<String>,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
}

impl File {
    fn sha256(&self) -> Option<&str> {
        self.lfs.as_ref().map(|lfs| lfs.sha256.as_str())
    }

    /// git's SHA-1 of a file that git itself keeps; of others it names a pointer.
    fn sha1(&self) -> Option<&str> {
        self.git.as_deref().filter(|hash| self.lfs.is_none() && hash.len() == 40 && is_hash(hash))
    }

    /// The name of its bytes in the cache; a hub that tells no hash gets one by commit and name.
    fn blob(&self, commit: &str) -> String {
        match self.sha256().or(self.git.as_deref()).filter(|hash| is_hash(hash)) {
            Some(hash) => hash.into(),
            None => format!("{commit}-{}", self.name.replace('/', "--")),
        }
    }
}

/// One conversation with the hub.
pub(super) struct Client<'a> {
    agent: Agent,
    hub: &'a Hub,
    observer: &'a dyn Observer,
}

/// What became of one attempt.
enum Attempt {
    Whole,
    /// The connection ended early, or the server asked to come again.
    Again(String),
}

impl<'a> Client<'a> {
    pub(super) fn new(hub: &'a Hub, observer: &'a dyn Observer) -> Result<Self, HubError> {
        let unusable = |reason: String| HubError::NoAnswer { endpoint: hub.endpoint.clone(), reason };
        let proxy = hub.proxy.as_deref().map(ureq::Proxy::new).transpose();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .proxy(proxy.map_err(|error| unusable(format!("its proxy: {error}")))?)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .user_agent(concat!("retort/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.into(), hub, observer })
    }

    /// The files of a repository.
    pub(super) fn list(&self, name: &HubName) -> Result<Listing, HubError> {
        let url = format!("{}/{}?blobs=true", self.hub.endpoint, name.list_path());
        let mut quiet = 0;
        let reason = loop {
            let reason = match self.get(&url, 0) {
                Err(reason) => reason,
                Ok(mut answer) => match self.status(name, &url, answer.status().as_u16())? {
                    Some(reason) => reason,
                    None => match answer.body_mut().read_to_vec() {
                        Ok(body) => return listing(&body, &url),
                        Err(error) => error.to_string(),
                    },
                },
            };
            quiet += 1;
            if quiet == LIST_ATTEMPTS {
                break reason;
            }
            self.wait(quiet)?;
        };
        Err(HubError::NoAnswer { endpoint: self.hub.endpoint.clone(), reason })
    }

    /// Fetches the files that are not there yet.
    pub(super) fn download(&self, name: &HubName, snapshot: &Snapshot, files: &[&File]) -> Result<(), HubError> {
        let missing: Vec<&&File> = files.iter().filter(|file| !snapshot.has(&file.name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let total = missing.iter().try_fold(0u64, |sum, file| Some(sum.saturating_add(file.size?)));
        self.observer.started(&format!("fetch {}", name.repo), total.map(|bytes| bytes.div_ceil(MEBIBYTE)), "MiB");
        let mut done = 0;
        for file in &missing {
            done += self.file(name, snapshot, file, done)?;
        }
        self.observer.finished(&format!("{} files, {} MiB", missing.len(), done.div_ceil(MEBIBYTE)));
        Ok(())
    }

    /// Fetches one file, continuing what an earlier run left; `before` are the bytes of earlier files.
    fn file(&self, name: &HubName, snapshot: &Snapshot, file: &File, before: u64) -> Result<u64, HubError> {
        let commit = snapshot.folder();
        let commit = commit.file_name().map(|commit| commit.to_string_lossy()).unwrap_or_default();
        let blob = file.blob(&commit);
        let path = snapshot.partial(&blob)?;
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let partial = &mut opened.map_err(failed("opened", &path))?;
        // A file system without locks has no way to tell; one with them keeps two processes apart.
        if let Err(TryLockError::WouldBlock) = partial.try_lock() {
            return Err(HubError::Busy { path });
        }
        if snapshot.has(&file.name) || snapshot.adopt(&blob, &file.name)? {
            return Ok(0);
        }
        let url = format!("{}/{}", self.hub.endpoint, name.file_path(&commit, &file.name));
        let mut quiet = 0;
        loop {
            let had = partial.metadata().map_err(failed("read", &path))?.len();
            let attempt = self.attempt(name, &url, file, partial, &path, before)?;
            let has = partial.metadata().map_err(failed("read", &path))?.len();
            let Attempt::Again(reason) = attempt else { break };
            quiet = if has > had { 0 } else { quiet + 1 };
            if quiet == ATTEMPTS {
                return Err(HubError::NoAnswer { endpoint: self.hub.endpoint.clone(), reason });
            }
            self.wait(quiet)?;
        }
        let size = partial.metadata().map_err(failed("read", &path))?.len();
        if let Err(reason) = verify(file, partial).map_err(failed("read", &path))? {
            let _ = std::fs::remove_file(&path);
            return Err(HubError::Damaged { file: file.name.clone(), reason });
        }
        partial.sync_all().map_err(failed("written", &path))?;
        snapshot.keep(&path, &blob, &file.name)?;
        Ok(size)
    }

    /// One request for what is missing of a file.
    fn attempt(
        &self,
        name: &HubName,
        url: &str,
        file: &File,
        partial: &mut Partial,
        path: &Path,
        before: u64,
    ) -> Result<Attempt, HubError> {
        let mut at = partial.seek(SeekFrom::End(0)).map_err(failed("read", path))?;
        if file.size == Some(at) && at > 0 {
            return Ok(Attempt::Whole);
        }
        let answer = match self.get(url, at) {
            Ok(answer) => answer,
            Err(reason) => return Ok(Attempt::Again(reason)),
        };
        let status = answer.status().as_u16();
        // 416: nothing follows what is here. Without a size to compare, a file that ends here and one that was longer
        // before look the same, so it is fetched anew.
        if status == 416 || (at > 0 && (status == 200 || (status == 206 && begin(&answer) != Some(at)))) {
            // A whole answer to a request for the rest: start over.
            partial.set_len(0).and_then(|()| partial.rewind()).map_err(failed("written", path))?;
            at = 0;
            if status != 200 {
                return Ok(Attempt::Again(format!("status {status} for a file of another length")));
            }
        }
        if let Some(reason) = self.status(name, url, status)? {
            return Ok(Attempt::Again(reason));
        }
        let mut body = answer.into_body().into_reader();
        let mut buffer = vec![0; STRIDE];
        loop {
            if self.observer.cancelled() {
                return Err(HubError::Interrupted);
            }
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    at += count as u64;
                    if let Some(size) = file.size.filter(|&size| at > size) {
                        return Err(HubError::Answer { url: url.into(), reason: format!("more than {size} bytes") });
                    }
                    partial.write_all(&buffer[..count]).map_err(failed("written", path))?;
                    self.observer.advanced((before + at) / MEBIBYTE, &file.name);
                }
                Err(error) => return Ok(Attempt::Again(error.to_string())),
            }
        }
        match file.size {
            Some(size) if size != at => Ok(Attempt::Again(format!("{at} of {size} bytes arrived"))),
            _ => Ok(Attempt::Whole),
        }
    }

    fn get(&self, url: &str, from: u64) -> Result<Response<Body>, String> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.hub.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call().map_err(|error| error.to_string())
    }

    /// What a status means: nothing amiss, a reason to come again, or an error.
    fn status(&self, name: &HubName, url: &str, status: u16) -> Result<Option<String>, HubError> {
        let name = name.to_string();
        match status {
            200 | 206 => Ok(None),
            401 | 403 => Err(HubError::Refused { name, status }),
            404 => Err(HubError::Unknown { name }),
            408 | 429 | 500.. => Ok(Some(format!("status {status}"))),
            _ => Err(HubError::Answer { url: url.into(), reason: format!("status {status}") }),
        }
    }

    /// Waits before another attempt, in pieces short enough to be interrupted.
    fn wait(&self, quiet: u32) -> Result<(), HubError> {
        let mut left = self.hub.retry_wait * 2u32.pow(quiet.saturating_sub(1));
        while !left.is_zero() {
            if self.observer.cancelled() {
                return Err(HubError::Interrupted);
            }
            let piece = left.min(Duration::from_millis(200));
            std::thread::sleep(piece);
            left -= piece;
        }
        Ok(())
    }
}

fn listing(body: &[u8], url: &str) -> Result<Listing, HubError> {
    let answer = |reason: String| HubError::Answer { url: url.into(), reason };
    let mut listing: Listing = serde_json::from_slice(body).map_err(|error| answer(error.to_string()))?;
    if !is_hash(&listing.sha) {
        return Err(answer(format!("`{}` is no commit", listing.sha)));
    }
    // Names become parts of paths and addresses; the files that are read have plain ones.
    listing.files.retain(|file| is_plain_path(&file.name));
    Ok(listing)
}

/// The first byte that a partial answer says it holds: `Content-Range: bytes 5-9/10`.
fn begin(answer: &Response<Body>) -> Option<u64> {
    let range = answer.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

/// Holds a complete file against its hash, where the hub told one.
fn verify(file: &File, partial: &mut Partial) -> std::io::Result<Result<(), String>> {
    let (kind, expected, found) = match (file.sha256(), file.sha1()) {
        (Some(expected), _) => ("SHA-256", expected, digest(Sha256::new(), partial)?),
        (None, Some(expected)) => {
            // git hashes a file behind a line of its own.
            let header = format!("blob {}\0", partial.metadata()?.len());
            ("git hash", expected, digest(Sha1::new_with_prefix(header), partial)?)
        }
        (None, None) => return Ok(Ok(())),
    };
    let differs = format!("its {kind} is {found}, the hub says {expected}");
    Ok(if found.eq_ignore_ascii_case(expected) { Ok(()) } else { Err(differs) })
}

/// What `hasher` makes of a whole file, in hexadecimal.
fn digest(mut hasher: impl Digest, file: &mut Partial) -> std::io::Result<String> {
    file.rewind()?;
    let mut buffer = vec![0; STRIDE];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
