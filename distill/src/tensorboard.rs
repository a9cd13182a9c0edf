//! Scalars for TensorBoard: an event file beside `metrics.jsonl`.
//!
//! A file is a row of records, each its length, the length's checksum, an `Event` message of tensorflow's `event.proto`
//! and that message's checksum (masked CRC-32C, tensorflow `lib/hash/crc32c.h`, `lib/io/record_writer.cc`). A run that goes
//! on writes another file, which begins by telling TensorBoard to forget what an earlier one says of the same steps.

use crate::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// An open event file.
pub(crate) struct EventFile {
    file: File,
    path: PathBuf,
}

/// Field numbers of `Event`, `SessionLog`, `Summary` and `Summary.Value`.
mod field {
    pub(super) const WALL_TIME: u64 = 1;
    pub(super) const STEP: u64 = 2;
    pub(super) const FILE_VERSION: u64 = 3;
    pub(super) const SUMMARY: u64 = 5;
    pub(super) const SESSION_LOG: u64 = 7;
    pub(super) const STATUS: u64 = 1;
    pub(super) const VALUE: u64 = 1;
    pub(super) const TAG: u64 = 1;
    pub(super) const SIMPLE_VALUE: u64 = 2;
}

/// `SessionLog.START`
const START: u64 = 1;

impl EventFile {
    /// A new file in `out/tensorboard` for a run that goes on after step `first`.
    pub(crate) fn create(out: &Path, first: u64) -> Result<Self, Error> {
        let folder = out.join("tensorboard");
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::Io { action: "created", path, source }
        };
        std::fs::create_dir_all(&folder).map_err(io(&folder))?;
        // TensorBoard reads a folder's files in the order of their names.
        let path = folder.join(format!("events.out.tfevents.{:010}.{first:08}", now() as u64));
        let mut events = Self { file: File::create(&path).map_err(io(&path))?, path };
        events.event(0, bytes(field::FILE_VERSION, b"brain.Event:2"))?;
        if first > 0 {
            events.event(first + 1, bytes(field::SESSION_LOG, &number(field::STATUS, START)))?;
        }
        Ok(events)
    }

    /// Writes named values of step `step`.
    pub(crate) fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), Error> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut entry = bytes(field::TAG, tag.as_bytes());
            entry.extend(key(field::SIMPLE_VALUE, 5));
            entry.extend((*value as f32).to_le_bytes());
            summary.extend(bytes(field::VALUE, &entry));
        }
        self.event(step, bytes(field::SUMMARY, &summary))
    }

    fn event(&mut self, step: u64, what: Vec<u8>) -> Result<(), Error> {
        let mut event = key(field::WALL_TIME, 1);
        event.extend(now().to_le_bytes());
        event.extend(number(field::STEP, step));
        event.extend(what);
        let written = self.file.write_all(&record(&event));
        written.map_err(|source| Error::Io { action: "written", path: self.path.clone(), source })
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), message, &masked_crc(message)].concat()
}

/// A protocol buffer's key: field number and wire type (0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes).
fn key(field: u64, wire_type: u64) -> Vec<u8> {
    varint(field << 3 | wire_type)
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [key(field, 0), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [&key(field, 2)[..], &varint(value.len() as u64), value].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// CRC-32C (Castagnoli), bit by bit: a line of metrics is short.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_published_ones() {
        // The check value of the Rocksoft catalogue, and RFC 3720's 32 bytes of zeros.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_file_reads_back_record_by_record() -> Result<(), Error> {
        let out = tempfile::tempdir().expect("folder");
        let mut events = EventFile::create(out.path(), 7)?;
        events.scalars(300, &[("loss", 0.5)])?;
        let path = std::fs::read_dir(out.path().join("tensorboard")).expect("folder").next().expect("a file");
        let mut rest = &std::fs::read(path.expect("an entry").path()).expect("bytes")[..];
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_at(8);
            assert_eq!(after[..4], masked_crc(length));
            let size = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
            let message = &after[4..4 + size];
            assert_eq!(after[4 + size..8 + size], masked_crc(message));
            messages.push(message.to_vec());
            rest = &after[8 + size..];
        }
        assert_eq!(messages.len(), 3);
        // After wall time (9 bytes): step 0 and the version; step 8 and START; step 300 and the value.
        assert_eq!(messages[0][9..], [&[0x10, 0, 0x1a, 13][..], b"brain.Event:2"].concat());
        assert_eq!(messages[1][9..], [0x10, 8, 0x3a, 2, 0x08, 1]);
        let value = [&[0x10, 0xac, 2, 0x2a, 13, 0x0a, 11, 0x0a, 4][..], b"loss", &[0x15, 0, 0, 0, 0x3f]].concat();
        assert_eq!(messages[2][9..], value);
        Ok(())
    }
}
