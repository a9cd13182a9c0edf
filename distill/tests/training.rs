//! The trainer on a tiny real model: it learns, resumes to the bit, does not depend on micro-batches, and every
//! parameter gets a gradient.

use candle_core::{Device, Result as TensorResult};
use retort_distill::Error;
use retort_distill::data::{Epochs, Example, Served, Stream};
use retort_distill::flops::Written;
use retort_distill::objective::Objective;
use retort_distill::on_policy::{OnPolicy, OnPolicySettings};
use retort_distill::schedule::{Decay, Schedule};
use retort_distill::trainer::{OptimiserSettings, Outcome, Precision, TrainSettings, Validation, train};
use retort_kernels::{Value, add, lift, linear};
use retort_model::chat::Thought;
use retort_model::decoder::Trainable;
use retort_model::generate::{Completion, FinishReason, Generate, GenerateError, Jobs};
use retort_model::observe::{Observer, Silent};
use retort_model::params::Fresh;
use retort_model::sampling::Sampling;
use std::cell::Cell;
use std::path::Path;

fn teacher() -> retort_teacher::train::Trainee {
    let config = serde_json::json!({
        "model_type": "deepseek_v3", "vocab_size": 24, "hidden_size": 16, "intermediate_size": 24,
        "moe_intermediate_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "q_lora_rank": 8,
        "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6, "n_routed_experts": 8,
        "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "norm_topk_prob": true,
        "routed_scaling_factor": 2.0, "first_k_dense_replace": 1, "num_nextn_predict_layers": 1,
        "max_position_embeddings": 64, "initializer_range": 0.2
    });
    let config = retort_teacher::Config::parse(&config.to_string(), Path::new("test")).expect("valid");
    let settings =
        retort_teacher::train::Pretraining { mtp_weight: 0.3, balance_weight: 1e-3, bias_step: 1e-2, bias_until: 0.9 };
    retort_teacher::train::Trainee::new(config, Box::new(Fresh { seed: 5 }), settings, &Device::Cpu).expect("builds")
}

/// Sequences that count upwards from different starts.
fn counting() -> Vec<Example> {
    (0..24u32).map(|start| Example::new((0..10).map(|i| (start + i) % 24).collect(), 2)).collect()
}

fn settings(steps: u64, micro_batch_tokens: usize, checkpoint_every: u64) -> TrainSettings {
    TrainSettings {
        steps,
        micro_batch_tokens,
        schedule: Schedule { learning_rate: 1e-2, warmup_steps: 3, decay: Decay::Cosine, final_share: 0.1 },
        optimiser: OptimiserSettings::default(),
        precision: Precision::Auto,
        checkpoint_every,
        report_every: 1,
        average: None,
        divergence: 10.0,
    }
}

fn run(
    model: &dyn Trainable,
    settings: &TrainSettings,
    validation: Option<Validation>,
    out: &Path,
    observer: &dyn Observer,
) -> Result<Outcome, Error> {
    train(model, &Epochs::new(counting(), 8, 1), &Objective::cross_entropy(), settings, validation, out, observer)
}

fn weights(model: &dyn Trainable) -> Vec<(String, Vec<f32>)> {
    let all = model.parameters().iter().cloned().chain(model.buffers());
    all.map(|(name, var)| (name, var.flatten_all().and_then(|t| t.to_vec1()).expect("f32"))).collect()
}

#[test]
fn a_mixture_of_experts_learns_to_count() -> Result<(), Error> {
    let out = tempfile::tempdir().expect("temporary folder");
    let model = teacher();
    let outcome = run(&model, &settings(120, 1000, 0), None, out.path(), &Silent)?;
    assert!(outcome.loss < 0.3, "loss {}", outcome.loss);
    let metrics = std::fs::read_to_string(out.path().join("metrics.jsonl")).expect("metrics");
    assert_eq!(metrics.lines().count(), 120);
    Ok(())
}

#[test]
fn micro_batches_change_rounding_only() -> Result<(), Error> {
    // Sequences of unequal length, so that micro-batches hold unequal numbers of them.
    let examples: Vec<Example> = counting()
        .into_iter()
        .zip((3..=10).cycle())
        .map(|(mut example, length)| {
            example.tokens.truncate(length);
            example
        })
        .collect();
    let models: [fn() -> Box<dyn Trainable>; 2] = [|| Box::new(teacher()), || Box::new(retort_student_tiny())];
    for model in models {
        let last_lines: Vec<String> = [1000, 25]
            .into_iter()
            .map(|budget| {
                let out = tempfile::tempdir().expect("temporary folder");
                let stream = Epochs::new(examples.clone(), 8, 1);
                let plain = Objective::cross_entropy();
                // Exact products: those of numbers rounded to bf16 differ more where an expert has other neighbours.
                let settings = TrainSettings { precision: Precision::F32, ..settings(12, budget, 0) };
                train(model().as_ref(), &stream, &plain, &settings, None, out.path(), &Silent)?;
                let metrics = std::fs::read_to_string(out.path().join("metrics.jsonl")).expect("metrics");
                Ok(metrics.lines().last().expect("a line").to_string())
            })
            .collect::<Result<_, Error>>()?;
        let term = |line: &str, pointer: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            line.pointer(pointer).and_then(serde_json::Value::as_f64)
        };
        for pointer in ["/loss", "/gradient_norm", "/terms/ahead", "/terms/balance"] {
            let [a, b] = [0, 1].map(|run| term(&last_lines[run], pointer).unwrap_or(0.0));
            assert!((a - b).abs() <= 1e-4 * (a.abs() + b.abs()).max(0.1), "{pointer}: {a} against {b}");
        }
    }
    Ok(())
}

#[test]
fn losses_of_both_precisions_agree() -> Result<(), Error> {
    let models: [fn() -> Box<dyn Trainable>; 2] = [|| Box::new(teacher()), || Box::new(retort_student_tiny())];
    for model in models {
        let curves = [Precision::F32, Precision::Bf16].map(|precision| -> Result<Vec<f64>, Error> {
            let out = tempfile::tempdir().expect("temporary folder");
            run(model().as_ref(), &TrainSettings { precision, ..settings(60, 1000, 0) }, None, out.path(), &Silent)?;
            let metrics = std::fs::read_to_string(out.path().join("metrics.jsonl")).expect("metrics");
            let loss = |line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["loss"].as_f64();
            Ok(metrics.lines().map(|line| loss(line).expect("a loss")).collect())
        });
        let [exact, rounded] = curves;
        let (exact, rounded) = (exact?, rounded?);
        assert_eq!(exact.len(), 60);
        assert!(exact[59] < 0.7 * exact[0], "it learns: {exact:?}");
        for (step, (exact, rounded)) in exact.iter().zip(&rounded).enumerate() {
            assert!((exact - rounded).abs() < 0.05, "step {step}: {exact} and {rounded}");
        }
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result<(), Error> {
    let trained: Vec<_> = [1, 2, 5]
        .into_iter()
        .map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let out = tempfile::tempdir().expect("temporary folder");
            let model = teacher();
            // Four micro-batches a step.
            pool.install(|| run(&model, &settings(6, 25, 0), None, out.path(), &Silent))?;
            Ok(weights(&model))
        })
        .collect::<Result<_, Error>>()?;
    assert!(trained.windows(2).all(|pair| pair[0] == pair[1]));
    Ok(())
}

fn retort_student_tiny() -> retort_student::Trainee {
    let config = serde_json::json!({
        "model_type": "qwen2", "vocab_size": 24, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "tie_word_embeddings": true, "initializer_range": 0.2
    });
    let config = retort_student::Config::parse(&config.to_string(), Path::new("test")).expect("valid");
    retort_student::Trainee::new(config, Box::new(Fresh { seed: 6 }), &Device::Cpu).expect("builds")
}

#[test]
fn layers_computed_again_change_no_bit() -> Result<(), Error> {
    let trained = |model: retort_student::Trainee| -> Result<_, Error> {
        let out = tempfile::tempdir().expect("folder");
        run(&model, &settings(5, 25, 0), None, out.path(), &Silent)?;
        Ok(weights(&model))
    };
    assert_eq!(trained(retort_student_tiny())?, trained(retort_student_tiny().recomputing())?);
    Ok(())
}

/// Asks to stop after a number of steps.
struct StopAfter {
    left: Cell<u32>,
}

impl Observer for StopAfter {
    fn cancelled(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left == 0
    }
}

#[test]
fn a_resumed_run_ends_with_the_same_bits() -> Result<(), Error> {
    let (whole, parts) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    for average in [None, Some(0.9)] {
        let (whole, parts) = (whole.path().join(format!("{average:?}")), parts.path().join(format!("{average:?}")));
        let settings = TrainSettings { average, ..settings(20, 1000, 5) };
        let uninterrupted = teacher();
        run(&uninterrupted, &settings, None, &whole, &Silent)?;

        let stopped = run(&teacher(), &settings, None, &parts, &StopAfter { left: Cell::new(7) })?;
        assert!(stopped.interrupted && stopped.steps == 7);
        let resumed = teacher();
        run(&resumed, &settings, None, &parts, &Silent)?;
        assert_eq!(weights(&uninterrupted), weights(&resumed));
    }
    Ok(())
}

#[test]
fn a_run_ends_with_the_mean_of_its_weights() -> Result<(), Error> {
    let end = |average: Option<f64>, steps: u64| -> Result<Vec<(String, Vec<f32>)>, Error> {
        let out = tempfile::tempdir().expect("folder");
        let mut settings = TrainSettings { average, ..settings(steps, 1000, 0) };
        settings.schedule = Schedule { warmup_steps: 0, decay: Decay::Constant, ..settings.schedule };
        let model = retort_student_tiny();
        run(&model, &settings, None, out.path(), &Silent)?;
        Ok(weights(&model))
    };
    // After one and two steps, from the formula: d = (1 + t) / (10 + t).
    let (zero, one, two) = (weights(&retort_student_tiny()), end(None, 1)?, end(None, 2)?);
    let averaged = end(Some(0.9), 2)?;
    for (((start, one), two), found) in zero.iter().zip(&one).zip(&two).zip(&averaged) {
        for (at, found) in found.1.iter().enumerate() {
            let first = 2.0 / 11.0 * start.1[at] + 9.0 / 11.0 * one.1[at];
            let expected = 3.0 / 12.0 * first + 9.0 / 12.0 * two.1[at];
            assert!((found - expected).abs() < 1e-5, "{}: {found} against {expected}", start.0);
        }
    }
    Ok(())
}

/// Counts upwards for so many steps, and then turns round.
struct Turning(u64);

impl Stream for Turning {
    fn serve(&self, step: u64) -> Result<Served, Error> {
        let mut examples = counting();
        if step >= self.0 {
            examples.iter_mut().for_each(|example| example.tokens.reverse());
        }
        Ok(examples.into())
    }

    fn fingerprint(&self) -> String {
        format!("turning at {}", self.0)
    }
}

#[test]
fn a_loss_that_jumps_stops_the_run_before_its_step() -> Result<(), Error> {
    let out = tempfile::tempdir().expect("folder");
    let settings = TrainSettings { divergence: 3.0, ..settings(100, 1000, 0) };
    let plain = Objective::cross_entropy();
    let stopped = train(&retort_student_tiny(), &Turning(80), &plain, &settings, None, out.path(), &Silent);
    assert!(matches!(stopped, Err(Error::Diverged { step: 80, .. })), "{stopped:?}");
    Ok(())
}

/// Answers every question with the same tokens, and counts what it is asked.
struct Parrot;

impl Generate for Parrot {
    fn name(&self) -> &str {
        "parrot"
    }
    fn fingerprint(&self) -> &str {
        "parrot"
    }
    fn generate(&self, jobs: &mut dyn Jobs) -> Result<(), GenerateError> {
        while let Some(request) = jobs.next() {
            let (question, noise) = (request.messages[0].content.len() as u32, request.noise.uniform(0));
            let completion = Completion {
                prompt_token_ids: vec![question, 1],
                token_ids: vec![2, (noise * 24.0) as u32],
                prompt_tokens: 2,
                completion_tokens: 2,
                ..Completion::of(Thought::default(), FinishReason::Stop)
            };
            jobs.done(request.id, completion).map_err(GenerateError::Job)?;
        }
        Ok(())
    }
}

#[test]
fn a_share_of_the_examples_is_the_student_s_own() -> Result<(), Error> {
    let settings = OnPolicySettings { share: 0.75, sampling: Sampling::default() };
    let questions = ["a", "bb", "ccc"].map(String::from).to_vec();
    let stream = OnPolicy::new(settings, &Parrot, questions, counting(), 8, 3, None)?;
    let step = stream.serve(5)?;
    assert_eq!(step.written, [Written { prompt: 2, completion: 2 }; 6]);
    let (own, given): (Vec<_>, Vec<_>) = step.examples.iter().partition(|example| example.tokens.len() == 4);
    assert_eq!((own.len(), given.len()), (6, 2));
    assert!(own.iter().all(|example| example.loss_from == 2 && (1..=3).contains(&example.tokens[0])));
    assert!(given.iter().all(|example| counting().contains(example)));
    assert!(stream.serve(5)? == step && stream.serve(6)? != step, "a step is a function of its number");
    Ok(())
}

#[test]
fn a_checkpoint_of_another_run_or_with_a_flipped_bit_is_refused() -> Result<(), Error> {
    let out = tempfile::tempdir().expect("folder");
    run(&teacher(), &settings(4, 1000, 4), None, out.path(), &Silent)?;
    let other = run(&teacher(), &settings(5, 1000, 4), None, out.path(), &Silent);
    assert!(matches!(other, Err(Error::OtherRun { .. })), "{other:?}");
    let other = run(&retort_student_tiny(), &settings(4, 1000, 4), None, out.path(), &Silent);
    assert!(matches!(other, Err(Error::OtherRun { .. })), "{other:?}");

    let file = out.path().join("checkpoints/step-00000004/model.safetensors");
    let mut bytes = std::fs::read(&file).expect("checkpoint");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("writable");
    let damaged = run(&teacher(), &settings(4, 1000, 4), None, out.path(), &Silent);
    assert!(matches!(damaged, Err(Error::Damaged { .. })), "{damaged:?}");
    Ok(())
}

#[test]
fn early_stopping_ends_with_the_best_weights() -> Result<(), Error> {
    let out = tempfile::tempdir().expect("folder");
    let held_out = counting();
    // A rate far too high: the loss falls, then blows up, so the best look is not the last one.
    let mut wild = TrainSettings { divergence: f64::INFINITY, ..settings(60, 1000, 0) };
    wild.schedule = Schedule { learning_rate: 0.3, warmup_steps: 50, decay: Decay::Constant, final_share: 1.0 };
    let look = Validation { examples: &held_out, every: 1, patience: Some(60) };
    let model = retort_student_tiny();
    let outcome = run(&model, &wild, Some(look), out.path(), &Silent)?;
    let best = outcome.validation.expect("there were looks");
    assert!(best.step < 60, "best at step {}", best.step);
    let hasty = Validation { patience: Some(1), ..look };
    let stopped =
        run(&retort_student_tiny(), &wild, Some(hasty), tempfile::tempdir().expect("folder").path(), &Silent)?;
    let first_best = stopped.validation.expect("there were looks").step;
    assert!(stopped.steps == first_best + 1 && !stopped.interrupted, "{stopped:?}");
    // One more step with a vanishing rate looks at the weights that were kept.
    let mut still = settings(1, 1000, 0);
    still.schedule.learning_rate = 1e-30;
    let again = run(&model, &still, Some(look), out.path(), &Silent)?.validation.expect("a look");
    assert!((again.loss - best.loss).abs() < 1e-5, "{} against {}", again.loss, best.loss);
    Ok(())
}

#[test]
fn every_parameter_gets_a_finite_gradient_that_is_not_zero() -> TensorResult<()> {
    let models: [Box<dyn Trainable>; 2] = [Box::new(teacher()), Box::new(retort_student_tiny())];
    for model in models {
        let batch = retort_model::batch::Batch::packed(counting().iter().map(|example| &example.tokens));
        let output = model.forward_train(&batch)?;
        let squares = |hidden: &Value| {
            let logits = linear(hidden, &output.head_vd)?;
            lift([&logits], |[logits]| logits.sqr()?.mean_all())
        };
        let mut loss = squares(&output.hidden_nd)?;
        for ahead in &output.ahead {
            loss = add(&loss, &squares(&ahead.hidden_nd)?)?;
        }
        for (_, term) in &output.regularisers {
            loss = add(&loss, term)?;
        }
        let store = loss.backward()?;
        for (name, var) in model.parameters() {
            let gradient = store.get(var).unwrap_or_else(|| panic!("`{name}` has no gradient"));
            let squares = gradient.sqr()?.sum_all()?.to_scalar::<f32>()?;
            assert!(squares.is_finite() && squares > 0.0, "`{name}`: sum of squares {squares}");
        }
    }
    Ok(())
}

#[test]
fn the_bias_update_balances_a_skewed_router() -> TensorResult<()> {
    let model = teacher();
    // Push one expert of every layer far ahead.
    for (_, bias) in model.buffers() {
        let mut values = vec![0f32; 8];
        values[3] = 0.5;
        bias.set(&candle_core::Tensor::new(values, &Device::Cpu)?)?;
    }
    let batch = retort_model::batch::Batch::packed(counting().iter().map(|example| &example.tokens));
    let step = || -> TensorResult<f64> {
        model.forward_train(&batch)?;
        let loads = model.after_step(0.0)?;
        Ok(loads.iter().map(|(_, load)| load).sum::<f64>() / loads.len() as f64)
    };
    let before = step()?;
    for _ in 0..150 {
        step()?;
    }
    let after = step()?;
    assert!(before > 2.5 && after < 1.6, "max/mean load {before} before, {after} after");
    Ok(())
}
