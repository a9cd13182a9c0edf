//! Text files as they lie, or compressed by gzip or Zstandard; the ending of the name tells which.

use crate::Error;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// A window of Zstandard that is larger is refused: it is held in memory (2^27 bytes, what the format's own tool takes).
const MAX_WINDOW_LOG: u32 = 27;

/// The endings of compressed files.
pub(super) const ENDINGS: [&str; 2] = ["gz", "zst"];

/// Opens a file for reading as text. Nothing but its decompressed bytes in passing is held, however many there are.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>, Error> {
    let failed = |source| Error::Io { action: "opened", path: path.into(), source };
    let file = File::open(path).map_err(failed)?;
    Ok(match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => Box::new(BufReader::new(MultiGzDecoder::new(BufReader::new(file)))),
        Some("zst") => {
            let mut decoder = zstd::Decoder::new(file).map_err(failed)?;
            decoder.window_log_max(MAX_WINDOW_LOG).map_err(failed)?;
            Box::new(BufReader::new(decoder))
        }
        _ => Box::new(BufReader::new(file)),
    })
}
