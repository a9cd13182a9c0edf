//! Training with moments in 8 bits: it learns as with exact ones, and resumes to the bit.

use candle_core::Device;
use retort_distill::Error;
use retort_distill::data::{Epochs, Example};
use retort_distill::objective::Objective;
use retort_distill::schedule::{Decay, Schedule};
use retort_distill::trainer::{MomentFormat, OptimiserSettings, TrainSettings, train};
use retort_kernels::device::everywhere;
use retort_model::decoder::Trainable;
use retort_model::observe::{Observer, Silent};
use retort_model::params::Fresh;
use retort_student::{Config, Trainee};
use std::cell::Cell;
use std::path::Path;

/// Wide enough that its projections have moments in 8 bits; its norms and its embedding have not.
fn student(device: &Device) -> Trainee {
    let config = serde_json::json!({
        "model_type": "qwen2", "vocab_size": 24, "hidden_size": 72, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "tie_word_embeddings": true, "initializer_range": 0.1
    });
    let config = Config::parse(&config.to_string(), Path::new("test")).expect("valid");
    Trainee::new(config, Box::new(Fresh { seed: 6 }), device).expect("builds")
}

/// Trains on sequences that count upwards, and returns the losses.
fn run(model: &Trainee, moments: MomentFormat, out: &Path, observer: &dyn Observer) -> Result<Vec<f64>, Error> {
    let examples = (0..24u32).map(|start| Example::new((0..10).map(|i| (start + i) % 24).collect(), 2)).collect();
    let settings = TrainSettings {
        steps: 60,
        micro_batch_tokens: 1000,
        schedule: Schedule { learning_rate: 3e-3, warmup_steps: 3, decay: Decay::Cosine, final_share: 0.1 },
        optimiser: OptimiserSettings { moments, ..OptimiserSettings::default() },
        precision: Default::default(),
        checkpoint_every: 25,
        report_every: 1,
        average: None,
        divergence: 10.0,
    };
    train(model, &Epochs::new(examples, 8, 1), &Objective::cross_entropy(), &settings, None, out, observer)?;
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).expect("metrics");
    let loss = |line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["loss"].as_f64();
    Ok(metrics.lines().map(|line| loss(line).expect("a loss")).collect())
}

fn weights(model: &Trainee) -> Vec<Vec<f32>> {
    model.parameters().iter().map(|(_, var)| var.flatten_all().and_then(|t| t.to_vec1()).expect("f32")).collect()
}

fn bytes_of_state(out: &Path) -> u64 {
    std::fs::metadata(out.join("checkpoints/step-00000060/model.safetensors")).expect("a checkpoint").len()
}

#[test]
fn both_kinds_of_moments_learn_alike() -> Result<(), Error> {
    let (exact_out, coded_out) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let exact = run(&student(&Device::Cpu), MomentFormat::F32, exact_out.path(), &Silent)?;
    let coded = run(&student(&Device::Cpu), MomentFormat::Coded, coded_out.path(), &Silent)?;
    assert!(exact[59] < 0.2 * exact[0], "it learns: {exact:?}");
    assert_ne!(exact, coded);
    for (step, (exact, coded)) in exact.iter().zip(&coded).enumerate() {
        assert!((exact - coded).abs() < 0.1, "step {step}: {exact} and {coded}");
    }
    // 12 bytes a weight, and 8.
    let (exact, coded) = (bytes_of_state(exact_out.path()), bytes_of_state(coded_out.path()));
    assert!(coded < exact * 3 / 4, "{exact} and {coded} bytes");
    Ok(())
}

struct StopAfter {
    left: Cell<u64>,
}

impl Observer for StopAfter {
    fn cancelled(&self) -> bool {
        self.left.set(self.left.get().saturating_sub(1));
        self.left.get() == 0
    }
}

#[test]
fn a_resumed_run_ends_with_the_same_bits() -> Result<(), Error> {
    everywhere(|device| {
        let (whole, parts) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
        let uninterrupted = student(device);
        run(&uninterrupted, MomentFormat::Coded, whole.path(), &Silent)?;
        run(&student(device), MomentFormat::Coded, parts.path(), &StopAfter { left: Cell::new(31) })?;
        let resumed = student(device);
        run(&resumed, MomentFormat::Coded, parts.path(), &Silent)?;
        assert!(weights(&uninterrupted) == weights(&resumed));
        Ok(())
    })
}
