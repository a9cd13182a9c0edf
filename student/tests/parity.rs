//! Whole models against Hugging Face `transformers`: logits at every position, greedy continuations, cached decoding.
//!
//! The fixtures are tiny random checkpoints; `model/reference/README.md` says how they were made.

use candle_core::{DType, Device, Result, Tensor};
use retort_kernels::device::everywhere;
use retort_model::batch::Batch;
use retort_model::cache::{Cache, Precision};
use retort_model::checkpoint::{Checkpoint, Stored, write_tensors};
use retort_model::decoder::Decoder;
use retort_model::params::frozen;
use retort_model::sampling::greedy;
use retort_student::{Config, Dense};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Largest difference allowed in f32 logits whose standard deviation is 2 to 4.
const TOLERANCE: f32 = 1e-4;

/// One tiny checkpoint for each architecture.
const ALL: [&str; 5] = ["qwen2", "qwen3", "llama", "llama3", "smollm2"];

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn model(config: Config, weights: &Path) -> Dense {
    model_on(&Device::Cpu, config, weights)
}

fn model_on(device: &Device, config: Config, weights: &Path) -> Dense {
    let source = Box::new(Checkpoint::open(weights).expect("weights"));
    frozen(source, device, |params| Dense::new(config, params)).expect("model")
}

fn config(name: &str, file: &str) -> Config {
    Config::open(&folder(name).join(file)).expect("config")
}

fn open(name: &str, device: &Device) -> (Dense, HashMap<String, Tensor>) {
    let expected = candle_core::safetensors::load(folder(name).join("expected.safetensors"), &Device::Cpu);
    (model_on(device, config(name, "config.json"), &folder(name)), expected.expect("expected"))
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    let difference = a
        .to_device(b.device())
        .and_then(|a| a.flatten_all())
        .and_then(|a| a.sub(&b.flatten_all()?)?.abs()?.max(0)?.to_scalar());
    difference.expect("equal shapes")
}

#[test]
fn logits_match_transformers_at_every_position() -> Result<()> {
    everywhere(logits_match)
}

fn logits_match(device: &Device) -> Result<()> {
    for name in ALL {
        let (model, expected) = open(name, device);
        let sequences: Vec<Vec<u32>> = expected["input_ids"].to_dtype(DType::U32)?.to_vec2()?;
        let found = model.logits(&Batch::packed(&sequences), None)?;
        let difference = largest_difference(&found, &expected["logits"]);
        assert!(difference <= TOLERANCE, "{name}: logits differ by {difference}");
    }
    Ok(())
}

#[test]
fn greedy_continuations_over_the_cache_match() -> Result<()> {
    everywhere(continuations_match)
}

fn continuations_match(device: &Device) -> Result<()> {
    for name in ALL {
        let (model, expected) = open(name, device);
        let sequences: Vec<Vec<u32>> = expected["input_ids"].to_dtype(DType::U32)?.to_vec2()?;
        let expected: Vec<u32> = expected["greedy"].to_dtype(DType::U32)?.to_vec1()?;
        let cache = Cache::new(&model.cache_spec(), Precision::F32, 1, 8 + expected.len(), device)?;
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

#[test]
fn both_spellings_of_a_config_give_the_same_model() -> Result<()> {
    for name in ALL {
        let batch = Batch::packed([[5, 7, 11, 2, 90, 44, 8]]);
        let [published, v5] = ["config.json", "config.v5.json"].map(|file| model(config(name, file), &folder(name)));
        assert_eq!(largest_difference(&published.logits(&batch, None)?, &v5.logits(&batch, None)?), 0.0, "{name}");
        let written = serde_json::to_string(v5.config()).expect("JSON");
        assert_eq!(&Config::parse(&written, Path::new("written")).expect("what was written can be read"), v5.config());
    }
    Ok(())
}

/// Weights written in each format and read again, widened and from their bytes.
#[test]
fn every_format_is_written_and_read() -> Result<()> {
    for name in ALL {
        let checkpoint = Checkpoint::open(&folder(name)).expect("weights");
        let read = |name: &str| (name.to_string(), checkpoint.read(name, &Device::Cpu).expect("a tensor"));
        let tensors: Vec<_> = checkpoint.names().map(read).collect();
        let batch = Batch::packed([(0..30).map(|at| at * 7 % 100).collect::<Vec<u32>>()]);
        let exact = open(name, &Device::Cpu).0.logits(&batch, None)?;
        for (stored, allowed) in [(Stored::F32, 0.0), (Stored::F16, 0.05), (Stored::Bf16, 0.4)] {
            let out = tempfile::tempdir()?;
            write_tensors(&out.path().join("model.safetensors"), &tensors, |_| stored).expect("written");
            let config = config(name, "config.json");
            let widened = model(config.clone(), out.path()).logits(&batch, None)?;
            let source = Box::new(Checkpoint::open(out.path()).expect("weights").in_stored_form());
            let as_stored = frozen(source, &Device::Cpu, |params| Dense::new(config, params)).expect("model");
            let (rounded, computed) =
                (largest_difference(&widened, &exact), largest_difference(&as_stored.logits(&batch, None)?, &widened));
            println!("{name}, {stored:?}: {rounded:e} by rounding, {computed:e} between the two forms");
            assert!(rounded <= allowed && computed <= TOLERANCE, "{name}, {stored:?}: {rounded}, {computed}");
        }
    }
    Ok(())
}
