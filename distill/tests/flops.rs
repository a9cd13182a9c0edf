//! The count of operations against one by hand: training, a teacher beside it, a run that goes on, an adapter.

use candle_core::Device;
use retort_distill::Error;
use retort_distill::data::{Epochs, Example};
use retort_distill::flops::Flops;
use retort_distill::objective::{Objective, ObjectiveSettings, Rows, Teacher, Term};
use retort_distill::schedule::{Decay, Schedule};
use retort_distill::trainer::{OptimiserSettings, Precision, TrainSettings, train};
use retort_model::decoder::Trainable;
use retort_model::observe::Silent;
use retort_model::params::Fresh;
use retort_model::score::Scorer;
use retort_model::workers::Workers;
use retort_student::lora::{LoraConfig, LoraSettings};
use retort_student::{Config, Trainee};
use std::path::Path;

fn config() -> Config {
    let config = serde_json::json!({
        "model_type": "qwen2", "vocab_size": 24, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": true
    });
    Config::parse(&config.to_string(), Path::new("test")).expect("valid")
}

fn student(seed: u64) -> Trainee {
    Trainee::new(config(), Box::new(Fresh { seed }), &Device::Cpu).expect("builds")
}

/// Multiplications of a token in two layers: q and o, k and v, three of the feed-forward part.
const LAYERS: f64 = 2.0 * (2.0 * 16.0 * 16.0 + 2.0 * 16.0 * 8.0 + 3.0 * 16.0 * 20.0);
/// Of a row of logits, and of a pair of tokens: two layers, four heads, keys and values of 4 numbers.
const ROW: f64 = 24.0 * 16.0;
const PAIR: f64 = 2.0 * 4.0 * (4.0 + 4.0);

#[test]
fn a_run_counts_training_and_its_teacher_and_goes_on_counting() -> Result<(), Error> {
    let (model, teacher) = (student(1), student(2));
    let workers = Workers::for_model(1)?;
    let scorer = Scorer { decoder: teacher.decoder(), workers: &workers, model: "teacher".into() };
    let terms = vec![Term::ForwardKl { weight: 1.0, temperature: 1.0, rows: Rows::Full }];
    let objective = Objective::new(ObjectiveSettings { terms }, Teacher::Online(&scorer), None)?;
    // Ten tokens, of which eight are predicted.
    let examples = (0..6u32).map(|start| Example::new((start..start + 10).collect(), 2)).collect();
    let settings = TrainSettings {
        steps: 3,
        micro_batch_tokens: 25,
        schedule: Schedule { learning_rate: 1e-3, warmup_steps: 0, decay: Decay::Constant, final_share: 1.0 },
        optimiser: OptimiserSettings::default(),
        precision: Precision::F32,
        checkpoint_every: 3,
        report_every: 1,
        average: None,
        divergence: 10.0,
    };
    let (stream, out) = (Epochs::new(examples, 4, 0), tempfile::tempdir().expect("folder"));
    let run = |model: &Trainee| train(model, &stream, &objective, &settings, None, out.path(), &Silent);
    let found = run(&model)?.flops;
    let examples = 3.0 * 4.0;
    let training = examples * 3.0 * 2.0 * (10.0 * LAYERS + 8.0 * ROW + 55.0 * PAIR);
    // The teacher does not read the last token.
    let teacher = examples * 2.0 * (9.0 * LAYERS + 8.0 * ROW + 45.0 * PAIR);
    assert_eq!(found, Flops { training, completions: 0.0, teacher });
    let metrics = std::fs::read_to_string(out.path().join("metrics.jsonl")).expect("metrics");
    let line: serde_json::Value = serde_json::from_str(metrics.lines().nth(1).expect("a line")).expect("JSON");
    assert_eq!(line["flops"]["training"].as_f64(), Some(training / 3.0 * 2.0));
    // Nothing is left to do, and what was done is known.
    assert_eq!(run(&student(1))?.flops, found);
    Ok(())
}

#[test]
fn fixed_weights_have_no_gradient_to_count() {
    let settings = serde_json::json!({ "rank": 2, "alpha": 4.0, "target_modules": ["q_proj", "down_proj"] });
    let settings: LoraSettings = serde_json::from_value(settings).expect("settings");
    let fresh = || Box::new(Fresh { seed: 1 });
    let lora = LoraConfig::new(&settings, "base");
    let model = Trainee::with_lora(config(), lora, fresh(), fresh(), &Device::Cpu).expect("builds");
    let found = model.training_operations();
    let updates = 2.0 * 2.0 * ((16.0 + 16.0) + (20.0 + 16.0));
    assert_eq!(found.token, 2.0 * (2.0 * LAYERS + 3.0 * updates));
    assert_eq!((found.row, found.pair), (2.0 * 2.0 * ROW, 3.0 * 2.0 * PAIR));
}
