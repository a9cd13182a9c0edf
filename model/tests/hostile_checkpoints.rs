//! Damaged and hostile checkpoints: thousands of seeded mutations, none of which may panic, hang or take much memory.

use candle_core::Device;
use peak_alloc::PeakAlloc;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use retort_model::Error;
use retort_model::checkpoint::Checkpoint;
use retort_model::inventory::Part;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Files to mutate: some valid, some not; they are the fuzz target's corpus too.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/checkpoint");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("corpus").map(|e| e.expect("entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("readable")).collect()
}

/// Numbers that break careless arithmetic.
const EXTREMES: [&str; 8] =
    ["0", "-1", "1e400", "4294967296", "9223372036854775807", "18446744073709551615", "18446744073709551616", "null"];

struct Mutator(ChaCha8Rng);

impl Mutator {
    fn below(&mut self, limit: usize) -> usize {
        (self.0.next_u64() % limit.max(1) as u64) as usize
    }

    /// A range of digits in `bytes`, if there is one after a random place.
    fn digits(&mut self, bytes: &[u8]) -> Option<std::ops::Range<usize>> {
        let from = self.below(bytes.len());
        let begin = from + bytes[from..].iter().position(u8::is_ascii_digit)?;
        let length = bytes[begin..].iter().position(|byte| !byte.is_ascii_digit())?;
        Some(begin..begin + length)
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return bytes.push(self.0.next_u64() as u8);
        }
        let at = self.below(bytes.len());
        match self.below(9) {
            0 => bytes[at] ^= 1 << self.below(8),
            // The numbers stand at the end.
            8 => {
                let at = bytes.len() - 1 - self.below(bytes.len().min(12));
                bytes[at] = self.0.next_u64() as u8;
            }
            1 => bytes[at] = self.0.next_u64() as u8,
            2 => bytes.truncate(at),
            3 => bytes.extend(vec![0; self.below(40)]),
            4 => {
                let length = self.0.next_u64() >> self.below(64);
                bytes.splice(..bytes.len().min(8), length.to_le_bytes());
            }
            5 => {
                if let Some(digits) = self.digits(bytes) {
                    let number = EXTREMES[self.below(EXTREMES.len())];
                    splice(bytes, digits, number.as_bytes());
                }
            }
            6 => {
                // A piece of the header a second time: equal names, overlaps.
                let end = (at + self.below(120)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let place = self.below(bytes.len());
                splice(bytes, place..place, &piece);
            }
            _ => {
                let deep = vec![b'['; self.below(3000)];
                splice(bytes, at..at, &deep);
            }
        }
    }
}

/// Replaces a range, and corrects the header's length so that the change is not refused for that alone.
fn splice(bytes: &mut Vec<u8>, range: std::ops::Range<usize>, new: &[u8]) {
    let change = new.len() as i64 - range.len() as i64;
    let inside = range.start >= 8;
    bytes.splice(range, new.iter().copied());
    if inside && let Some(length) = bytes.first_chunk_mut::<8>() {
        *length = u64::from_le_bytes(*length).wrapping_add_signed(change).to_le_bytes();
    }
}

/// Everything that can be asked of a checkpoint.
fn read_all(checkpoint: &Checkpoint) -> Result<(), Error> {
    let names: Vec<String> = checkpoint.names().map(str::to_string).collect();
    let parts = |name: &String| Some(Part::one(name.clone(), &checkpoint.shape(name)?));
    let checked = checkpoint.check(names.iter().filter_map(parts), |_| true);
    for name in &names {
        checkpoint.read(name, &Device::Cpu).map(drop)?;
    }
    checkpoint.dtypes();
    checked
}

fn mutated_files(seed: u64, count: usize) -> (usize, usize) {
    let corpus = corpus();
    let mut mutator = Mutator(ChaCha8Rng::seed_from_u64(seed));
    let (mut read, mut refused) = (0, 0);
    for _ in 0..count {
        let mut bytes = corpus[mutator.below(corpus.len())].clone();
        for _ in 0..=mutator.below(4) * mutator.below(2) {
            mutator.mutate(&mut bytes);
        }
        let size = bytes.len();
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        match Checkpoint::embedded(bytes, "mutated").and_then(|checkpoint| read_all(&checkpoint)) {
            Ok(()) => read += 1,
            Err(error) => {
                assert!(error.to_string().contains("mutated"), "`{error}` does not name the file");
                refused += 1;
            }
        }
        let taken = ALLOCATOR.peak_usage().saturating_sub(before);
        assert!(taken < 64 * size + (1 << 16), "a file of {size} bytes took {taken}");
    }
    (read, refused)
}

fn mutated_indexes(count: usize) {
    let folder = tempfile::tempdir().expect("folder");
    let names = |bytes: &Vec<u8>| -> Vec<String> {
        let opened = Checkpoint::embedded(bytes.clone(), "shard");
        opened.map_or(vec![], |checkpoint| checkpoint.names().map(str::to_string).collect())
    };
    let shard = corpus().into_iter().find(|bytes| names(bytes).len() > 2).expect("a valid file with a few tensors");
    std::fs::write(folder.path().join("a.safetensors"), &shard).expect("written");
    let names = names(&shard);
    let map: serde_json::Map<_, _> = names.into_iter().map(|name| (name, "a.safetensors".into())).collect();
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string();
    let path = folder.path().join("model.safetensors.index.json");
    std::fs::write(&path, &index).expect("written");
    Checkpoint::open(folder.path()).expect("a valid index");
    let mut mutator = Mutator(ChaCha8Rng::seed_from_u64(3));
    for _ in 0..count {
        let mut bytes = index.clone().into_bytes();
        mutator.mutate(&mut bytes);
        std::fs::write(&path, &bytes).expect("written");
        if let Err(error) = Checkpoint::open(folder.path()) {
            assert!(error.to_string().contains("model.safetensors.index.json"), "{error}");
        }
    }
}

#[test]
fn nothing_panics_hangs_or_takes_much_memory() {
    let begin = Instant::now();
    let (read, refused) = mutated_files(1, 20_000);
    mutated_indexes(1_000);
    // Both sides are reached, so the mutations neither miss the header nor destroy everything.
    assert!(read > 200 && refused > 2_000, "{read} were read, {refused} refused");
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
}
