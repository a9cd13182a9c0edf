//! The journal: samples that are stored and not yet sealed, appended as they come.
//!
//! The file is a 16-byte title, then frames: marker (4 bytes), start of the frame's group (u64), payload length (u32),
//! blake3 of those two and the payload (32), payload ([`payload`]); numbers little-endian.
//!
//! A *group* is what lies between two fsyncs, and it names the offset at which it begins: whatever lies before the start
//! of a readable group was fsynced, that is acknowledged. So a bad frame with such a group after it is damage and is
//! refused, while a bad frame with none after it is the torn end of a write that nobody was told about, and is cut off.

mod payload;

pub(super) use payload::Record;

use super::folder::{Folder, io};
use crate::Error;
use crate::sample::Sample;
use retort_model::durable::DiskFile;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const TITLE: &[u8; 16] = b"retort journal 1";
/// 0xff occurs in no payload, so the marker does not.
const MARKER: [u8; 4] = [0xff, b'r', b'e', b'c'];
const FRAME_HEAD: usize = 4 + 8 + 4 + 32;
/// No sample comes near: 64 MiB is some ten million tokens.
const MAX_PAYLOAD: usize = 64 << 20;
/// An fsync acknowledges at most this many samples at once ...
const GROUP_SAMPLES: usize = 64;
/// ... and none waits much longer than this for the next one.
const GROUP_TIME: Duration = Duration::from_secs(1);

pub(super) const FILE: &str = "journal.bin";

/// The readable part of a journal.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub records: Vec<Record>,
    /// Bytes after it: an unfinished write.
    pub torn: u64,
}

/// Reads the journal in `folder` without changing it; `None` where there is none.
pub(super) fn read(folder: &Folder) -> Result<Option<Contents>, Error> {
    folder.read(FILE)?.map(|bytes| scan(&folder.path(FILE), &bytes)).transpose()
}

/// Whether there is a journal of ours.
pub(super) fn is_there(folder: &Folder) -> Result<bool, Error> {
    Ok(folder.read(FILE)?.is_some_and(|bytes| bytes.starts_with(TITLE)))
}

/// Every record of a damaged journal whose own checksum is right, wherever it stands.
pub(super) fn salvage(bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let record = frame(bytes, at).map(|(_, payload)| (payload.len(), payload::decode(payload)));
        at += match record {
            Some((length, Ok(record))) => {
                records.push(record);
                FRAME_HEAD + length
            }
            _ => 1,
        };
    }
    records
}

fn scan(path: &Path, bytes: &[u8]) -> Result<Contents, Error> {
    if bytes.len() < TITLE.len() && TITLE.starts_with(bytes) {
        return Ok(Contents { torn: bytes.len() as u64, ..Contents::default() });
    }
    if !bytes.starts_with(TITLE) {
        return Err(Error::JournalDamaged { path: path.into(), offset: 0 });
    }
    let mut contents = Contents::default();
    let mut at = TITLE.len();
    while let Some((_, payload)) = frame(bytes, at) {
        let record = payload::decode(payload).map_err(|source| Error::JournalRecord {
            path: path.into(),
            offset: at as u64,
            source,
        })?;
        contents.records.push(record);
        at += FRAME_HEAD + payload.len();
    }
    let acknowledged = |later: usize| frame(bytes, later).is_some_and(|(group, _)| group > at as u64);
    if (at..bytes.len()).any(acknowledged) {
        return Err(Error::JournalDamaged { path: path.into(), offset: at as u64 });
    }
    contents.torn = (bytes.len() - at) as u64;
    Ok(contents)
}

/// The group and payload of the frame at `at`, if a whole and correct one is there.
fn frame(bytes: &[u8], at: usize) -> Option<(u64, &[u8])> {
    let rest = bytes.get(at..)?.strip_prefix(&MARKER)?;
    let (group, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<32>()?;
    let payload = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let expected = blake3::Hasher::new().update(group).update(length).update(payload).finalize();
    (expected.as_bytes() == checksum).then(|| (u64::from_le_bytes(*group), payload))
}

/// Appends a frame to `bytes`.
fn push_frame(bytes: &mut Vec<u8>, group: u64, position: u64, sample: &mut Sample, path: &Path) -> Result<(), Error> {
    let payload = payload::encode(position, sample).map_err(|source| Error::JournalRecord {
        path: path.into(),
        offset: group,
        source,
    })?;
    if payload.len() > MAX_PAYLOAD {
        let (uuid, sample) = (sample.uuid.clone(), sample.sample);
        return Err(Error::SampleTooLong { uuid, sample, found: payload.len(), limit: MAX_PAYLOAD });
    }
    let group = group.to_le_bytes();
    // The cap above fits in 32 bits.
    let length = (payload.len() as u32).to_le_bytes();
    let checksum = blake3::Hasher::new().update(&group).update(&length).update(&payload).finalize();
    for part in [&MARKER[..], &group, &length, checksum.as_bytes(), &payload] {
        bytes.extend_from_slice(part);
    }
    Ok(())
}

/// A journal open for appending.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    end: u64,
    group: u64,
    records: usize,
    unsynced: usize,
    last_sync: Instant,
    /// After a failed write or fsync the kernel may have dropped pages; nothing more is promised through this handle.
    failed: bool,
}

impl Journal {
    /// Puts a journal with these samples in place of whatever was there, durably.
    pub(super) fn create<'a>(
        folder: &Folder,
        samples: impl IntoIterator<Item = (&'a u64, &'a mut Sample)>,
    ) -> Result<Self, Error> {
        let mut bytes = TITLE.to_vec();
        let mut records = 0;
        for (&position, sample) in samples {
            push_frame(&mut bytes, TITLE.len() as u64, position, sample, &folder.path(FILE))?;
            records += 1;
        }
        folder.write(FILE, &bytes)?;
        let (path, file, end) = (folder.path(FILE), folder.append_to(FILE)?, bytes.len() as u64);
        Ok(Self { path, file, end, group: end, records, unsynced: 0, last_sync: Instant::now(), failed: false })
    }

    /// Writes one sample; it survives the death of this process at once and a power cut after the next fsync.
    pub(super) fn append(&mut self, position: u64, sample: &mut Sample) -> Result<(), Error> {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, self.group, position, sample, &self.path)?;
        self.expect_sound()?;
        if let Err(error) = self.file.append(&bytes) {
            // Without the torn frame the file is as before: what was appended earlier can still be acknowledged. Where
            // it cannot be cut off now, the next opening does so.
            self.failed = self.file.cut(self.end).is_err();
            return Err(io("appended to", &self.path)(error));
        }
        self.end += bytes.len() as u64;
        self.records += 1;
        self.unsynced += 1;
        if self.unsynced >= GROUP_SAMPLES { self.sync() } else { self.sync_if_due() }
    }

    /// Acknowledges what was appended where the last fsync is long enough ago.
    pub(super) fn sync_if_due(&mut self) -> Result<(), Error> {
        if self.unsynced > 0 && self.last_sync.elapsed() >= GROUP_TIME { self.sync() } else { Ok(()) }
    }

    /// Acknowledges everything appended so far.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        self.expect_sound()?;
        if self.unsynced > 0 {
            if let Err(error) = self.file.sync() {
                self.failed = true;
                return Err(io("synchronised", &self.path)(error));
            }
            self.unsynced = 0;
            self.group = self.end;
        }
        self.last_sync = Instant::now();
        Ok(())
    }

    /// Samples in the file.
    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// Samples appended and not acknowledged yet.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced
    }

    fn expect_sound(&self) -> Result<(), Error> {
        if self.failed {
            return Err(io("written after an earlier failure", &self.path)(std::io::ErrorKind::Other.into()));
        }
        Ok(())
    }
}
