//! Experts that stay on disk: their mapped pages are read as the router asks for them and given back, those used longest
//! ago first, so that no more than a set number of bytes is in memory at a time.

use super::read::Bytes;
use crate::Error;
use memmap2::{Advice, UncheckedAdvice};
use retort_kernels::{Pager, Recent, StoredMatrix};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How much of the mapped experts may be in memory, and what has been read so far.
#[derive(Debug)]
pub struct ExpertMemory {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where ranges in memory end, by (file, first byte).
    resident: Recent<(usize, usize), usize>,
    bytes_read: u64,
}

impl ExpertMemory {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { resident: Recent::new(limit), bytes_read: 0 }) })
    }

    /// Bytes of experts that were asked for and not in memory yet.
    pub fn bytes_read(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).bytes_read
    }
}

/// The mapped files of a checkpoint, their experts kept below the limit of `memory`.
pub(super) struct ExpertFiles {
    pub files: Vec<Arc<Bytes>>,
    pub memory: Arc<ExpertMemory>,
}

/// A matrix of one of these files.
pub(super) struct Pages {
    pub file: usize,
    pub experts: Arc<ExpertFiles>,
    /// Looked at when it is read for the first time: all experts at once would be the whole file.
    pub unseen: Unseen,
}

/// A matrix whose numbers nobody has looked at yet.
pub(super) struct Unseen {
    pub name: String,
    pub path: PathBuf,
    pub matrix: StoredMatrix,
    pub seen: AtomicBool,
}

impl Unseen {
    fn look(&self) -> candle_core::Result<()> {
        if self.seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(at) = self.matrix.first_not_finite() {
            let (name, path) = (self.name.clone(), self.path.clone());
            // Inside a tensor operation an error is text, so the hint goes with it.
            let fault = Error::NotFinite { name, path, at };
            return Err(candle_core::Error::msg(format!("{fault}; {}", fault.hint().unwrap_or_default())));
        }
        self.seen.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Pager for Pages {
    fn before_reading(&self, range: &Range<usize>) -> candle_core::Result<()> {
        self.experts.make_room(self.file, range);
        self.unseen.look()
    }
}

impl ExpertFiles {
    fn make_room(&self, file: usize, range: &Range<usize>) {
        let Self { files, memory } = self;
        let mut state = memory.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, bytes) = ((file, range.start), range.len());
        if let Some(&end) = state.resident.get(&key) {
            debug_assert_eq!(end, range.end);
            return;
        }
        state.bytes_read += bytes as u64;
        for ((file, start), end) in state.resident.make_room(bytes) {
            files[file].give_back(start..end);
        }
        state.resident.put(key, bytes, range.end);
        files[file].read_ahead(range.clone());
    }
}

impl Bytes {
    /// Asks the system to fetch a range. Advice may fail; the range is then read page by page.
    fn read_ahead(&self, range: Range<usize>) {
        if let Self::Mapped(map) = self {
            let _ = map.advise_range(Advice::WillNeed, range.start, range.len());
        }
    }

    /// Lets go of the memory of a range; it is read from the file again when it is used again.
    #[expect(unsafe_code, reason = "this advice would lose what was written to a map")]
    fn give_back(&self, range: Range<usize>) {
        if let Self::Mapped(map) = self {
            // SAFETY: the map is read-only and backed by its file, so nothing can be lost: a reader that comes later, or
            // at this moment, gets the same bytes.
            let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn what_is_in_memory_is_not_read_again() {
        let files = vec![Arc::new(Bytes::Held(Cow::Owned(vec![0; 100])))];
        let memory = ExpertMemory::new(50);
        let pages = ExpertFiles { files, memory: memory.clone() };
        for (start, read) in [(0, 20), (20, 40), (0, 40), (40, 60), (0, 60), (20, 80)] {
            pages.make_room(0, &(start..start + 20));
            assert_eq!(memory.bytes_read(), read, "{start}");
        }
    }
}
