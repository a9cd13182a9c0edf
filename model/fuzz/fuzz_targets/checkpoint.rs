//! Any bytes as a safetensors file: an error or tensors, no panic. `cd model && cargo +nightly fuzz run checkpoint`
//!
//! `model/tests/hostile_checkpoints.rs` does the same with seeded mutations of the corpus, in every test run.

#![no_main]

use candle_core::Device;
use libfuzzer_sys::fuzz_target;
use retort_model::checkpoint::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    let Ok(checkpoint) = Checkpoint::embedded(bytes.to_vec(), "fuzzed") else { return };
    let names: Vec<String> = checkpoint.names().map(str::to_string).collect();
    for name in names {
        let _ = checkpoint.read(&name, &Device::Cpu);
    }
});
