//! Whole models against Hugging Face `transformers`: logits at every position, greedy continuations, cached decoding.
//!
//! The fixtures are tiny random checkpoints; `fixtures/README.md` says how they were made.

use candle_core::{DType, Device, Result, Tensor};
use retort_model::batch::Batch;
use retort_model::cache::Cache;
use retort_model::checkpoint::Checkpoint;
use retort_model::decoder::Decoder;
use retort_model::params::frozen;
use retort_model::sampling::greedy;
use retort_student::{Config, Dense};
use std::collections::HashMap;
use std::path::PathBuf;

/// Largest difference allowed in f32 logits whose standard deviation is 2 to 4.
const TOLERANCE: f32 = 1e-4;

fn open(name: &str) -> (Dense, HashMap<String, Tensor>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let config = Config::open(&folder.join("config.json")).expect("config");
    let source = Box::new(Checkpoint::open(&folder).expect("weights"));
    let model = frozen(source, &Device::Cpu, |params| Dense::new(config, params)).expect("model");
    let expected = candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu).expect("expected");
    (model, expected)
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    let difference = a.flatten_all().and_then(|a| a.sub(&b.flatten_all()?)?.abs()?.max(0)?.to_scalar());
    difference.expect("equal shapes")
}

#[test]
fn logits_match_transformers_at_every_position() -> Result<()> {
    for name in ["qwen2", "llama"] {
        let (model, expected) = open(name);
        let sequences: Vec<Vec<u32>> = expected["input_ids"].to_dtype(DType::U32)?.to_vec2()?;
        let found = model.logits(&Batch::packed(&sequences), None)?;
        let difference = largest_difference(&found, &expected["logits"]);
        println!("{name}: largest difference {difference:e}");
        assert!(difference <= TOLERANCE, "{name}: logits differ by {difference}");
    }
    Ok(())
}

#[test]
fn greedy_continuations_over_the_cache_match() -> Result<()> {
    for name in ["qwen2", "llama"] {
        let (model, expected) = open(name);
        let sequences: Vec<Vec<u32>> = expected["input_ids"].to_dtype(DType::U32)?.to_vec2()?;
        let expected: Vec<u32> = expected["greedy"].to_dtype(DType::U32)?.to_vec1()?;
        let cache = Cache::new(&model.cache_spec(), 1, 8 + expected.len(), &Device::Cpu)?;
        let (mut past, mut feed, mut found) = (0, sequences[0][..8].to_vec(), Vec::new());
        while found.len() < expected.len() {
            let logits = model.logits(&Batch::cached([(0, past, feed.as_slice())]), Some(&cache))?;
            let next = greedy(&logits.get(feed.len() - 1)?.to_vec1::<f32>()?);
            past += feed.len();
            feed = vec![next];
            found.push(next);
        }
        assert_eq!(found, expected, "{name}");
    }
    Ok(())
}
