//! `retort bench train`: the trainer of `distill run`, on random tokens.

use crate::args::BenchTrain;
use crate::commands::INTERRUPTED;
use crate::memory;
use crate::output::say;
use crate::progress::cancelled;
use anyhow::{Context, Result};
use clap::ValueEnum;
use retort_distill::data::{Captured, Epochs, Example};
use retort_distill::objective::{CapturedForm, Objective, ObjectiveSettings, Rows, Teacher, Term};
use retort_distill::schedule::{Decay, Schedule};
use retort_distill::trainer::{OptimiserSettings, Outcome, TrainSettings, train};
use retort_kernels::device::memory as memory_of;
use retort_kernels::losses::SparseRows;
use retort_kernels::{MatmulPrecision, instructions, peaks};
use retort_model::decoder::Trainable;
use retort_model::observe::Observer;
use retort_model::params::Fresh;
use retort_student::lora::{LoraConfig, LoraSettings};
use retort_student::{Config, Trainee};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the student learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Goal {
    /// The tokens
    Sft,
    /// A teacher's 32 likeliest tokens at each place, as they come with traces
    Kd,
}

/// Captured outcomes of each token.
const LIKELIEST: usize = 32;

pub fn run(args: &BenchTrain) -> Result<ExitCode> {
    memory::keep_freed_pages();
    let (name, json, batch, length) = args.shape.config();
    let (batch, length) = (args.batch.map_or(batch, |b| b.get()), args.sequence.map_or(length, |t| t.get()));
    let config = Config::parse(&json.to_string(), Path::new(name))?;
    let device = args.on.open()?;
    let peak = match MatmulPrecision::Bf16.is_here() {
        true => MatmulPrecision::Bf16,
        false => MatmulPrecision::F32,
    };
    // What is measured is the processor: of a GPU nothing is said.
    let products = || peaks::products((1024, 1024, 1024), peak, Duration::from_millis(500));
    let peak = device.is_cpu().then(|| products().into_iter().fold(0.0, f64::max));
    let fresh = || Box::new(Fresh { seed: 0 });
    let model = match args.lora {
        false => Trainee::new(config.clone(), fresh(), &device)?,
        true => {
            let settings: LoraSettings = serde_json::from_value(json!({ "rank": 16, "alpha": 32.0 }))?;
            let lora = LoraConfig::new(&settings, name);
            Trainee::with_lora(config.clone(), lora, fresh(), fresh(), &device)?
        }
    };
    let examples: Vec<Example> =
        (0..batch as u64).map(|at| example(at, length, config.vocab_size, args.objective)).collect();
    let objective = match args.objective {
        Goal::Sft => Objective::new(ObjectiveSettings::default(), Teacher::None, None)?,
        Goal::Kd => {
            let settings = ObjectiveSettings {
                terms: vec![Term::ForwardKl { weight: 1.0, temperature: 1.0, rows: Rows::TopK(LIKELIEST) }],
            };
            Objective::new(settings, Teacher::Captured(CapturedForm::of(&examples).context("captured")?), None)?
        }
    };
    let settings = TrainSettings {
        steps: 1 + args.steps.get() as u64,
        micro_batch_tokens: args.micro_batch.map_or(batch * length, |tokens| tokens.get()),
        schedule: Schedule { learning_rate: 1e-4, warmup_steps: 0, decay: Decay::Constant, final_share: 0.0 },
        optimiser: OptimiserSettings { moments: args.moments, ..OptimiserSettings::default() },
        precision: args.precision,
        checkpoint_every: 0,
        report_every: 1,
        average: None,
        divergence: f64::INFINITY,
    };
    let (stream, steps) = (Epochs::new(examples, batch, 0), Steps::default());
    let scratch = tempfile::tempdir().context("no folder for the metrics of this run")?;
    let outcome = train(&model, &stream, &objective, &settings, None, scratch.path(), &steps)?;
    if outcome.interrupted {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let seconds = steps.median();
    let tokens = (batch * length) as f64;
    let weights: usize = model.parameters().iter().map(|(_, var)| var.elem_count()).sum();
    let all = retort_model::inventory::Totals::of(config.parts()).total as f64;
    let exact = model.training_operations().sequence(length, length - 1) * batch as f64;
    let Outcome { phases, seconds: whole, .. } = outcome;
    say!(
        "{}",
        json!({
            "shape": name, "parameters": all, "trained": weights, "batch": batch, "sequence": length, "lora": args.lora,
            "objective": args.objective.to_possible_value().map(|value| value.get_name().to_owned()),
            "precision": args.precision, "moments": args.moments, "instructions": instructions(), "threads": rayon::current_num_threads(), "steps": args.steps,
            "tokens_per_second": tokens / seconds, "flops_6n": 6.0 * all * tokens / seconds, "flops": exact / seconds,
            "product_peak_flops": peak, "peak_share": peak.map(|peak| exact / seconds / peak),
            "device": args.on.name(), "device_bytes": memory_of(&device).map(|memory| memory.used),
            "share_forward": phases.forward / whole, "share_backward": phases.backward / whole,
            "share_optimiser": phases.optimiser / whole,
            "share_other": 1.0 - (phases.forward + phases.backward + phases.optimiser) / whole,
            "loss": outcome.loss, "peak_resident_bytes": memory::peak_resident(),
        })
    );
    Ok(ExitCode::SUCCESS)
}

/// Random tokens, every one of them to be predicted.
fn example(seed: u64, length: usize, vocabulary: usize, goal: Goal) -> Example {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % vocabulary as u64) as u32
    };
    let tokens: Vec<u32> = (0..length).map(|_| next()).collect();
    let mut example = Example::new(tokens, 1);
    if goal == Goal::Kd {
        let mut rows = SparseRows::default();
        for _ in 1..length {
            let first = next();
            let ids: Vec<u32> = (0..LIKELIEST as u32).map(|at| (first + at * 37) % vocabulary as u32).collect();
            let log_probs: Vec<f32> = (0..LIKELIEST).map(|at| 0.5f32.powi(1 + at as i32).ln()).collect();
            rows.push(&ids, &log_probs);
        }
        example.captured = Some(Arc::new(Captured { rows, counts: None }));
    }
    example
}

/// Keeps when each step ended.
#[derive(Default)]
struct Steps(Mutex<Vec<Instant>>);

impl Steps {
    /// Seconds of the median step, the first one left out.
    fn median(&self) -> f64 {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seconds: Vec<f64> = ends.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

impl Observer for Steps {
    fn advanced(&self, _: u64, _: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }

    fn cancelled(&self) -> bool {
        cancelled()
    }
}
