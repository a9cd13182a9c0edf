//! Whole models against Hugging Face `transformers`: logits at every position, greedy continuations, cached decoding.
//!
//! The fixtures are tiny random checkpoints; `model/reference/README.md` says how they were made.

use candle_core::{DType, Device, Result, Tensor};
use retort_kernels::device::everywhere;
use retort_model::batch::Batch;
use retort_model::cache::{Cache, Precision};
use retort_model::checkpoint::Checkpoint;
use retort_model::decoder::Decoder;
use retort_model::params::frozen;
use retort_model::sampling::greedy;
use retort_teacher::weights::Published;
use retort_teacher::{Config, DeepSeek};
use std::collections::HashMap;
use std::path::PathBuf;

/// Largest difference allowed in f32 logits whose standard deviation is about 2.
const TOLERANCE: f32 = 1e-4;

/// One tiny checkpoint for each published shape.
const ALL: [&str; 7] = ["v2-lite", "v2", "v3", "v3-yarn", "v3-mtp", "moonlight", "k2"];

struct Fixture {
    model: DeepSeek,
    expected: HashMap<String, Tensor>,
}

impl Fixture {
    fn open(name: &str) -> Self {
        Self::on(&Device::Cpu, name)
    }

    fn on(device: &Device, name: &str) -> Self {
        Self::with_config(name, "config.json", device)
    }

    fn with_config(name: &str, config: &str, device: &Device) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let config = Config::open(&folder.join(config)).expect("config");
        let source = Box::new(Published(Checkpoint::open(&folder).expect("weights")));
        let model = frozen(source, device, |params| DeepSeek::new(config, params)).expect("model");
        let expected =
            candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu).expect("expected");
        Self { model, expected }
    }

    fn sequences(&self) -> Vec<Vec<u32>> {
        self.expected["input_ids"].to_dtype(DType::U32).and_then(|ids| ids.to_vec2()).expect("ids")
    }

    fn greedy(&self) -> Vec<u32> {
        self.expected["greedy"].to_dtype(DType::U32).and_then(|ids| ids.to_vec1()).expect("ids")
    }
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
        let fixture = Fixture::on(device, name);
        let found = fixture.model.logits(&Batch::packed(fixture.sequences()), None)?;
        let difference = largest_difference(&found, &fixture.expected["logits"]);
        assert!(difference <= TOLERANCE, "{name}: logits differ by {difference}");
    }
    Ok(())
}

#[test]
fn both_spellings_of_a_config_give_the_same_model() -> Result<()> {
    for name in ALL {
        let (published, v5) = (Fixture::open(name), Fixture::with_config(name, "config.v5.json", &Device::Cpu));
        let batch = Batch::packed(published.sequences());
        assert_eq!(largest_difference(&published.model.logits(&batch, None)?, &v5.model.logits(&batch, None)?), 0.0);
    }
    Ok(())
}

#[test]
fn prediction_ahead_matches_transformers() -> Result<()> {
    let fixture = Fixture::open("v3-mtp");
    let sequences = fixture.sequences();
    let (t, v) = (sequences[0].len(), fixture.model.config().vocab_size);
    let found = fixture.model.ahead_logits(&Batch::packed(&sequences))?.expect("the fixture has an MTP module");
    // The last row of each sequence has no following token and predicts nothing.
    let found = found.reshape((2, t, v))?.narrow(1, 0, t - 1)?;
    let difference = largest_difference(&found, &fixture.expected["mtp_logits"]);
    println!("v3-mtp: largest difference ahead {difference:e}");
    assert!(difference <= TOLERANCE, "logits ahead differ by {difference}");
    Ok(())
}

/// Feeds both sequences through a cache: a prefill of `first` tokens, then steps of `stride`, next to each other.
fn cached_logits(model: &DeepSeek, sequences: &[Vec<u32>], first: usize, stride: usize) -> Result<Tensor> {
    let t = sequences[0].len();
    let cache = Cache::new(&model.cache_spec(), Precision::F32, 3, t, model.device())?;
    let mut parts: Vec<Vec<Tensor>> = vec![Vec::new(); sequences.len()];
    let mut start = 0;
    while start < t {
        let end = if start == 0 { first } else { (start + stride).min(t) };
        let slots = [2, 0];
        let batch = Batch::cached(sequences.iter().zip(slots).map(|(s, slot)| (slot, start, &s[start..end])));
        let logits = model.logits(&batch, Some(&cache))?;
        for (row, parts) in parts.iter_mut().enumerate() {
            parts.push(logits.narrow(0, row * (end - start), end - start)?);
        }
        start = end;
    }
    let rows = parts.iter().map(|parts| Tensor::cat(parts, 0)).collect::<Result<Vec<_>>>()?;
    Tensor::stack(&rows, 0)
}

#[test]
fn absorbed_decoding_over_the_latent_cache_matches() -> Result<()> {
    everywhere(absorbed_decoding_matches)
}

fn absorbed_decoding_matches(device: &Device) -> Result<()> {
    for name in ALL {
        let fixture = Fixture::on(device, name);
        for (first, stride) in [(1, 1), (9, 1), (5, 7)] {
            let found = cached_logits(&fixture.model, &fixture.sequences(), first, stride)?;
            let difference = largest_difference(&found, &fixture.expected["logits"]);
            assert!(difference <= TOLERANCE, "{name}, prefill {first}, steps of {stride}: {difference}");
        }
    }
    Ok(())
}

#[test]
fn greedy_continuations_match() -> Result<()> {
    for name in ALL {
        let fixture = Fixture::open(name);
        let expected = fixture.greedy();
        let prompt = fixture.sequences()[0][..8].to_vec();
        let cache =
            Cache::new(&fixture.model.cache_spec(), Precision::F32, 1, prompt.len() + expected.len(), &Device::Cpu)?;
        let (mut past, mut feed, mut found) = (0, prompt, Vec::new());
        while found.len() < expected.len() {
            let logits = fixture.model.logits(&Batch::cached([(0, past, feed.as_slice())]), Some(&cache))?;
            let next = greedy(&logits.get(feed.len() - 1)?.to_vec1::<f32>()?);
            past += feed.len();
            feed = vec![next];
            found.push(next);
        }
        assert_eq!(found, expected, "{name}");
    }
    Ok(())
}
