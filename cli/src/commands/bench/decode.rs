//! `retort bench decode`: how fast this machine runs models of known shapes, with random weights.

use super::{CacheNumbers, Quant, Shape};
use crate::architecture::Architecture;
use crate::args::BenchDecode;
use crate::commands::INTERRUPTED;
use crate::memory;
use crate::output::say;
use crate::progress::cancelled;
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use retort_kernels::{self as kernels, Value, gather_rows, peaks, write_cache};
use retort_model::batch::Batch;
use retort_model::cache::{Cache, CacheSpec, Precision};
use retort_model::decoder::Decoder;
use retort_model::inventory::Part;
use retort_model::params::{Random, frozen};
use retort_model::score::{Given, Score, Scorer, Want};
use retort_model::workers::{Workers, inside};
use retort_student::Dense;
use retort_teacher::DeepSeek;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Tokens that one pass of a prefill takes, as in the engine.
const PREFILL_TOKENS: usize = 2048;

enum Model {
    DeepSeek(Box<DeepSeek>),
    Dense(Box<Dense>),
}

impl Model {
    fn new(shape: Shape, quant: Quant, device: &Device) -> Result<Self> {
        let (name, json) = shape.config();
        // Embedding and head too, as in the peers' files.
        let (source, path) = (Box::new(Random::new(quant.format().projections())), Path::new(name));
        Ok(match shape {
            Shape::Qwen2_5_0_5b => {
                let config = retort_student::Config::parse(&json.to_string(), path)?;
                Self::Dense(Box::new(frozen(source, device, |params| Dense::new(config, params))?))
            }
            Shape::V2Lite | Shape::Mini => {
                let config = retort_teacher::Config::parse(&json.to_string(), path)?;
                Self::DeepSeek(Box::new(frozen(source, device, |params| DeepSeek::new(config, params))?))
            }
        })
    }

    fn decoder(&self) -> &dyn Decoder {
        match self {
            Self::DeepSeek(model) => model.as_ref(),
            Self::Dense(model) => model.as_ref(),
        }
    }

    /// Logits of the last row of every sequence, and the experts that each expert layer reached.
    fn step(&self, batch: &Batch, cache: &Cache) -> Result<(Value, Vec<usize>)> {
        let (hidden_nd, experts) = match self {
            Self::DeepSeek(model) => model.hidden_and_experts(batch, Some(cache))?,
            Self::Dense(model) => (model.hidden(batch, Some(cache))?, vec![]),
        };
        let last = gather_rows(&hidden_nd, &batch.last_rows())?;
        let logits = self.decoder().head().linear(&last)?;
        // A GPU answers before it has done what it was asked for.
        self.decoder().device().synchronize()?;
        Ok((logits, experts))
    }

    fn parts(&self) -> Vec<Part> {
        match self {
            Self::DeepSeek(model) => model.config().parts().collect(),
            Self::Dense(model) => model.config().parts().collect(),
        }
    }

    /// (all experts of a layer, those that a token is sent to)
    fn experts(&self) -> Option<(usize, usize)> {
        match self {
            Self::DeepSeek(model) => Some((model.config().n_routed_experts, model.config().num_experts_per_tok)),
            Self::Dense(_) => None,
        }
    }
}

pub fn run(args: &BenchDecode) -> Result<ExitCode> {
    let (name, _) = args.shape.config();
    let device = args.on.open()?;
    if let Some(available) = memory::available().filter(|_| device.is_cpu()) {
        let needed = weight_bytes(args)? + most_cache_bytes(args)?;
        if needed > available as f64 {
            let (needed, available) = (memory::mib(needed as usize), memory::mib(available));
            bail!("{name} takes {needed} in this format with caches of this size; {available} of memory are free");
        }
    }
    let peaks = peaks::measure(Duration::from_secs(1));
    let begin = Instant::now();
    let model = Model::new(args.shape, args.quant, &device)?;
    let made = begin.elapsed().as_secs_f64();
    for batch in &args.batch {
        match measure(&model, args, batch.get(), peaks, made)? {
            Some(line) => say!("{line}"),
            None => return Ok(ExitCode::from(INTERRUPTED)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One line: `b` sequences of a model that took `made` seconds to make; none where Ctrl-C ended it.
fn measure(
    model: &Model,
    args: &BenchDecode,
    b: usize,
    peaks: peaks::Peaks,
    made: f64,
) -> Result<Option<serde_json::Value>> {
    let (prompt, new) = (args.prompt.get(), args.new.get());
    let decoder = model.decoder();
    let spec = decoder.cache_spec();
    let precision = args.cache.map_or_else(|| Precision::beside(decoder.head()), CacheNumbers::precision);
    let past = args.past;
    let cache = Cache::new(&spec, precision, b, past + prompt + new, decoder.device())?;
    if past > 0 {
        fill(&cache, &spec)?;
    }
    let mut tokens = Tokens { state: b as u64, vocabulary: decoder.head().rows() as u64 };

    let begin = Instant::now();
    for slots in (0..b).collect::<Vec<_>>().chunks((PREFILL_TOKENS / prompt).max(1)) {
        if cancelled() {
            return Ok(None);
        }
        let prompts: Vec<(usize, Vec<u32>)> = slots.iter().map(|&slot| (slot, tokens.take(prompt))).collect();
        model.step(&Batch::cached(prompts.iter().map(|(slot, tokens)| (*slot, past, tokens.as_slice()))), &cache)?;
    }
    let prefill = begin.elapsed().as_secs_f64();

    if cancelled() {
        return Ok(None);
    }
    let score = args.score.then(|| score(decoder, b, prompt, &mut tokens)).transpose()?;

    let (mut steps, mut reached) = (Vec::with_capacity(new), Vec::new());
    for position in past + prompt..past + prompt + new {
        if cancelled() {
            return Ok(None);
        }
        let next: Vec<[u32; 1]> = (0..b).map(|_| [tokens.next()]).collect();
        let batch = Batch::cached(next.iter().enumerate().map(|(slot, token)| (slot, position, token.as_slice())));
        let begin = Instant::now();
        let (_, experts) = inside(|| model.step(&batch, &cache))?;
        steps.push(begin.elapsed().as_secs_f64());
        reached.extend(experts);
    }
    let decode: f64 = steps.iter().sum();
    let rate = (b * new) as f64 / decode;
    let distinct = reached.iter().sum::<usize>() as f64 / reached.len().max(1) as f64;
    let expected = model.experts().map(|(e, k)| {
        let (e, k) = (e as f64, k as f64);
        e * (1.0 - (1.0 - k / e).powi(b as i32))
    });
    let kv_bytes_per_token = precision.bytes() * spec.elements_per_token();
    let weights = bytes_per_step(&model.parts(), args.quant, model.experts().map(|(e, _)| (e, distinct)));
    let read = weights / b as f64 + (kv_bytes_per_token * (past + prompt + new / 2)) as f64;
    let operations = 2.0 * model.parts().iter().map(active).sum::<f64>();
    Ok(Some(json!({
        "shape": args.shape.config().0, "quant": args.quant.name(), "instructions": kernels::instructions(), "device": args.on.name(),
        "seconds_to_make": made,
        "batch": b, "past": past, "prompt": prompt, "new": new, "threads": rayon::current_num_threads(),
        "prefill_tokens_per_second": (b * prompt) as f64 / prefill,
        "score_tokens_per_second": score.map(|seconds| (b * prompt) as f64 / seconds),
        "decode_tokens_per_second": rate,
        "distinct_experts": model.experts().map(|_| distinct),
        "expected_distinct_experts": expected,
        "bytes_per_token": read,
        "memory_bytes_per_second": peaks.memory_bytes_per_second,
        "memory_share": read * rate / peaks.memory_bytes_per_second,
        "integer_operations_per_second": peaks.integer_operations_per_second,
        "prefill_operations_share": operations * (b * prompt) as f64 / prefill / peaks.integer_operations_per_second,
        "decode_operations_share": operations * rate / peaks.integer_operations_per_second,
        "kv_bytes_per_token": kv_bytes_per_token,
        "kv_bytes": kv_bytes_per_token * b * (past + prompt + new),
        "peak_resident_bytes": memory::peak_resident(),
    })))
}

/// Writes every entry of a cache: pages that were never written would all be read from one place.
fn fill(cache: &Cache, spec: &CacheSpec) -> Result<()> {
    for layer in 0..spec.layers {
        for index in 0..spec.tensors.len() {
            let tensor = cache.tensor(layer, index);
            let (pages, size, heads, width) = tensor.dims4()?;
            let numbers = Tensor::randn(0f32, 1.0, (size, heads, width), tensor.device())?;
            for page in 0..pages {
                write_cache(tensor, &numbers, &(page * size..(page + 1) * size).collect::<Vec<_>>().into())?;
            }
        }
    }
    Ok(())
}

/// Seconds that the log-probabilities of `b` given texts of `length` tokens take: unlike a prefill, each token of them
/// meets the output head.
fn score(decoder: &dyn Decoder, b: usize, length: usize, tokens: &mut Tokens) -> Result<f64> {
    let texts: Vec<Vec<u32>> = (0..b).map(|_| tokens.take(length + 1)).collect();
    let given: Vec<_> = texts.iter().map(|text| Given { prompt: &text[..1], text: &text[1..] }).collect();
    let workers = Workers::for_model(usize::MAX)?;
    let scorer = Scorer { decoder, workers: &workers, model: String::new() };
    let begin = Instant::now();
    scorer.score(&given, Want::Sampled, &mut |_| Ok(()))?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Weights that a token is multiplied with.
fn active(part: &Part) -> f64 {
    part.shape.iter().product::<usize>() as f64 * part.used as f64
}

/// Bytes of weights that one step reads, `(all, reached)` being the experts of a layer.
fn bytes_per_step(parts: &[Part], quant: Quant, experts: Option<(usize, f64)>) -> f64 {
    let bytes = parts.iter().filter(|part| part.used > 0).map(|part| {
        let numbers = part.shape.iter().product::<usize>() as f64;
        let copies = match experts {
            Some((all, reached)) if part.copies == all => reached,
            _ => part.copies as f64,
        };
        numbers * copies * bits(part, quant) / 8.0
    });
    bytes.sum()
}

/// Norms and the router are f32.
fn bits(part: &Part, quant: Quant) -> f64 {
    if part.shape.len() < 2 || part.name.ends_with("mlp.gate.weight") { 32.0 } else { quant.bits_per_weight() }
}

fn weight_bytes(args: &BenchDecode) -> Result<f64> {
    Ok(architecture(args.shape)?.totals().total as f64 * args.quant.bits_per_weight() / 8.0)
}

/// Of the largest batch, in two bytes a number at the least.
fn most_cache_bytes(args: &BenchDecode) -> Result<f64> {
    let sequences = args.batch.iter().map(|batch| batch.get()).max().unwrap_or(1) as f64;
    let tokens = args.past as f64 + args.prompt.get() as f64 + args.new.get() as f64;
    Ok(2.0 * architecture(args.shape)?.cache_spec().elements_per_token() as f64 * sequences * tokens)
}

fn architecture(shape: Shape) -> Result<Architecture> {
    let (name, json) = shape.config();
    Architecture::parse(&json.to_string(), Path::new(name)).context("a shape of this program's own")
}

/// Random tokens, different for every sequence.
struct Tokens {
    state: u64,
    vocabulary: u64,
}

impl Tokens {
    fn next(&mut self) -> u32 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.state >> 33) % self.vocabulary) as u32
    }

    fn take(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.next()).collect()
    }
}
