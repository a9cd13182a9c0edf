//! Experts that stay on disk: their mapped pages are read as the router asks for them and given back, those used longest
//! ago first, so that no more than a set number of bytes is in memory at a time.

use super::read::Bytes;
use crate::Error;

use memmap2::{Advice, UncheckedAdvice};
use retort_kernels::{Pager, StoredMatrix};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How much of the mapped experts may be in memory, and what has been read so far.
#[derive(Debug)]
pub struct ExpertMemory {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Ranges in memory by (file, first byte): where each ends and when it was used last.
    resident: BTreeMap<(usize, usize), (usize, u64)>,
    /// The same by time of last use.
    by_use: BTreeMap<u64, (usize, usize)>,
    clock: u64,
    bytes: usize,
    bytes_read: u64,
}

impl ExpertMemory {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
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
        state.clock += 1;
        let (now, key) = (state.clock, (file, range.start));
        if let Some((end, last)) = state.resident.insert(key, (range.end, now)) {
            debug_assert_eq!(end, range.end);
            state.by_use.remove(&last);
            state.by_use.insert(now, key);
            return;
        }
        state.bytes += range.len();
        state.bytes_read += range.len() as u64;
        while state.bytes > memory.limit {
            let Some((_, oldest)) = state.by_use.pop_first() else { break };
            let Some((end, _)) = state.resident.remove(&oldest) else { break };
            state.bytes -= end - oldest.1;
            files[oldest.0].give_back(oldest.1..end);
        }
        state.by_use.insert(now, key);
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

/// The most memory for caches, whatever the limit.
const MOST_CACHES: usize = 2 << 30;

/// The share of a memory limit that caches get.
pub fn cache_share(memory: usize) -> usize {
    MOST_CACHES.min(memory / 8)
}

/// What a memory limit leaves for experts, once caches and everything else have their shares.
pub fn expert_budget(memory: usize, everything_else: usize, one_expert: usize) -> Result<usize, Error> {
    let least = everything_else + 2 * one_expert;
    // A seventh of what is not caches is an eighth of the whole.
    let needed = least + MOST_CACHES.min(least.div_ceil(7));
    match memory < needed {
        true => Err(Error::Memory { memory, needed, has_experts: one_expert > 0 }),
        false => Ok(memory - everything_else - cache_share(memory)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let files = vec![Arc::new(Bytes::Held(Cow::Owned(vec![0; 100])))];
        let memory = ExpertMemory::new(50);
        let pages = ExpertFiles { files, memory: memory.clone() };
        let resident =
            || -> Vec<usize> { memory.state.lock().expect("state").resident.keys().map(|(_, start)| *start).collect() };
        for start in [0, 20, 0, 40] {
            pages.make_room(0, &(start..start + 20));
        }
        // 20..40 was used longest ago when 40..60 came.
        assert_eq!((resident(), memory.bytes_read()), (vec![0, 40], 60));
        pages.make_room(0, &(20..40));
        assert_eq!((resident(), memory.bytes_read()), (vec![20, 40], 80));
        // Something larger than the limit is read all the same, alone.
        pages.make_room(0, &(0..90));
        assert_eq!(resident(), [0]);
    }

    #[test]
    fn a_limit_without_room_for_experts_is_refused() {
        assert_eq!(expert_budget(1600, 700, 100).ok(), Some(700));
        for (everything_else, one_expert) in [(900, 100), (901, 0), (40 << 30, 1 << 20)] {
            let Err(Error::Memory { needed, has_experts, .. }) = expert_budget(1000, everything_else, one_expert)
            else {
                panic!("not refused")
            };
            assert_eq!(has_experts, one_expert > 0);
            // What the error asks for is enough, and no byte too much.
            let budget = expert_budget(needed, everything_else, one_expert).expect("enough");
            assert!(budget >= 2 * one_expert && budget <= 2 * one_expert + 1, "{budget}");
            assert!(expert_budget(needed - 1, everything_else, one_expert).is_err());
        }
    }
}
