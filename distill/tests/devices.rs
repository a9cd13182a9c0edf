//! Training away from the CPU's own kernels: gradients in the forms for other devices, and whole steps in bf16 products over
//! f32 weights.

use candle_core::{Device, Result, Tensor, Var};
use retort_distill::data::{Epochs, Example};
use retort_distill::objective::Objective;
use retort_distill::schedule::{Decay, Schedule};
use retort_distill::trainer::{OptimiserSettings, Precision, TrainSettings, train};
use retort_kernels::device::everywhere;
use retort_kernels::losses::CrossEntropy;
use retort_kernels::{AdamW, Gradients, MatmulPrecision, Moments, adamw_step, linear_loss, portably};
use retort_model::batch::Batch;
use retort_model::decoder::{Decoder, TrainOutput, Trainable};
use retort_model::observe::Silent;
use retort_model::params::Fresh;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

fn student(device: &Device) -> Box<dyn Trainable> {
    let config = serde_json::json!({
        "model_type": "qwen3", "vocab_size": 24, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "initializer_range": 0.2,
        "hidden_act": "silu", "attention_bias": false
    });
    let config = retort_student::Config::parse(&config.to_string(), Path::new("test")).expect("valid");
    Box::new(retort_student::Trainee::new(config, Box::new(Fresh { seed: 5 }), device).expect("builds"))
}

fn teacher(device: &Device) -> Box<dyn Trainable> {
    let config = serde_json::json!({
        "model_type": "deepseek_v3", "vocab_size": 24, "hidden_size": 16, "intermediate_size": 24,
        "moe_intermediate_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "q_lora_rank": 8,
        "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6, "n_routed_experts": 8,
        "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "norm_topk_prob": true,
        "routed_scaling_factor": 2.0, "first_k_dense_replace": 1, "num_nextn_predict_layers": 0,
        "max_position_embeddings": 64, "initializer_range": 0.2
    });
    let config = retort_teacher::Config::parse(&config.to_string(), Path::new("test")).expect("valid");
    let settings =
        retort_teacher::train::Pretraining { mtp_weight: 0.0, balance_weight: 0.0, bias_step: 0.0, bias_until: 0.0 };
    let source = Box::new(Fresh { seed: 5 });
    Box::new(retort_teacher::train::Trainee::new(config, source, settings, device).expect("builds"))
}

/// The mean loss over sequences that count upwards, and its gradients.
fn backward(model: &dyn Trainable) -> Result<(f64, Gradients)> {
    let batch = Batch::packed((0..12u32).map(|start| (0..10).map(|i| (2 * start + i) % 24).collect::<Vec<u32>>()));
    let output = model.forward_train(&batch)?;
    let following = batch.following(1);
    let share = 1.0 / following.iter().flatten().count() as f32;
    let weights: Vec<f32> = following.iter().map(|token| token.map_or(0.0, |_| share)).collect();
    let targets: Vec<u32> = following.iter().map(|token| token.unwrap_or(0)).collect();
    let term = CrossEntropy { targets: &targets, weights: &weights };
    let loss = linear_loss(&output.hidden_nd, &output.head_vd, None, &[&term])?.total;
    Ok((loss.to_scalar()?, loss.backward()?))
}

#[test]
fn gradients_of_whole_models_are_the_same_on_every_device() -> Result<()> {
    for make in [student, teacher] {
        let model = make(&Device::Cpu);
        let (loss, gradients) = backward(&*model)?;
        everywhere(|device| -> Result<()> {
            let other = make(device);
            let (found, others) = backward(&*other)?;
            assert!((found - loss).abs() < 1e-5, "loss {found} and {loss}");
            for ((name, var), (_, same)) in model.parameters().iter().zip(other.parameters()) {
                let Some(expected) = gradients.get(var) else {
                    assert!(others.get(same).is_none(), "{name}");
                    continue;
                };
                let found = others.get(same).expect("a gradient").to_device(&Device::Cpu)?;
                let [off, size] = [(found - expected)?, expected.clone()].map(|x| largest(&x));
                let (off, size) = (off?, size?);
                assert!(off <= 1e-4 * size.max(0.01), "{name}: {off} of {size}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn largest(x: &Tensor) -> Result<f32> {
    x.abs()?.flatten_all()?.max(0)?.to_scalar()
}

/// 40 steps of AdamW; returns the losses before the first and after the last.
fn taught(model: &dyn Trainable) -> Result<(f64, f64)> {
    let mut moments = model.parameters().iter().map(|(_, var)| Moments::beside(var)).collect::<Result<Vec<_>>>()?;
    let first = backward(model)?.0;
    for step in 1..=40 {
        let (_, gradients) = backward(model)?;
        for ((_, var), moments) in model.parameters().iter().zip(&mut moments) {
            let settings = AdamW {
                learning_rate: 2e-2,
                beta1: 0.9,
                beta2: 0.95,
                eps: 1e-8,
                weight_decay: 0.01,
                step,
                gradient_scale: 1.0,
            };
            if let Some(gradient) = gradients.get(var) {
                adamw_step(var, gradient, moments, settings)?;
            }
        }
    }
    Ok((first, backward(model)?.0))
}

#[test]
fn a_student_learns_in_bf16_products_over_f32_weights() -> Result<()> {
    let exact = taught(&*student(&Device::Cpu))?;
    let learns = |device: &Device| -> Result<()> {
        let (first, last) = MatmulPrecision::Bf16.within(|| taught(&*student(device)))?;
        assert!((first - exact.0).abs() < 0.05 * exact.0, "before the first step {first}, exactly {}", exact.0);
        assert!(last < 0.2 * first && last < exact.1 + 0.2, "from {first} to {last}, exactly to {}", exact.1);
        Ok(())
    };
    portably(|| learns(&Device::Cpu))?;
    retort_kernels::device::cuda().map_or(Ok(()), |gpu| learns(&gpu))
}

/// A student whose device has room for no more than `tokens` after some passes.
struct Full {
    student: Box<dyn Trainable>,
    passes: AtomicUsize,
    tokens: usize,
}

impl Trainable for Full {
    fn decoder(&self) -> &dyn Decoder {
        self.student.decoder()
    }

    fn parameters(&self) -> &[(String, Var)] {
        self.student.parameters()
    }

    fn settings(&self) -> serde_json::Value {
        self.student.settings()
    }

    fn forward_train(&self, batch: &Batch) -> Result<TrainOutput> {
        if self.passes.fetch_add(1, Ordering::Relaxed) >= 2 && batch.len() > self.tokens {
            // As cudarc says it.
            return Err(candle_core::Error::Cuda("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into()));
        }
        self.student.forward_train(batch)
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.student.state()
    }
}

#[test]
fn a_run_that_runs_out_of_memory_says_why_and_goes_on_in_smaller_pieces() {
    let out = tempfile::tempdir().expect("temporary folder");
    let examples: Vec<Example> =
        (0..24u32).map(|start| Example::new((0..10).map(|i| (start + i) % 24).collect(), 2)).collect();
    let run = |micro_batch_tokens| {
        let settings = TrainSettings {
            steps: 5,
            micro_batch_tokens,
            schedule: Schedule { learning_rate: 1e-2, warmup_steps: 1, decay: Decay::Cosine, final_share: 0.1 },
            optimiser: OptimiserSettings::default(),
            precision: Precision::F32,
            checkpoint_every: 100,
            report_every: 1,
            average: None,
            divergence: f64::INFINITY,
        };
        let model = Full { student: student(&Device::Cpu), passes: AtomicUsize::new(0), tokens: 40 };
        let stream = Epochs::new(examples.clone(), 8, 1);
        train(&model, &stream, &Objective::cross_entropy(), &settings, None, out.path(), &Silent)
    };
    let full = run(1000).expect_err("no memory");
    assert!(full.to_string().contains("no memory left for a micro-batch of 80 tokens"), "{full}");
    assert!(full.hint().is_some_and(|hint| hint.contains("micro_batch_tokens")));
    assert!(out.path().join("checkpoints/step-00000002/state.json").is_file(), "what was learnt is saved");
    let outcome = run(40).expect("room enough");
    // Three steps of 8 examples: the first two were not taken again.
    assert_eq!((outcome.steps, outcome.tokens), (5, 3 * 80));
}
