//! LoRA against PEFT: the adapter that PEFT wrote for the `qwen3` fixture (`model/reference/make_adapter.py`).

use candle_core::{DType, Device, Result, Tensor};
use retort_kernels::device::everywhere;
use retort_kernels::linear_loss;
use retort_kernels::losses::CrossEntropy;
use retort_model::batch::Batch;
use retort_model::checkpoint::Checkpoint;
use retort_model::decoder::{Decoder, Trainable};
use retort_model::params::{Fresh, frozen};
use retort_student::lora::{Adapter, LoraConfig, LoraSettings, Merged, Targets};
use retort_student::{Config, Dense, Trainee};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn config() -> Config {
    Config::open(&folder("qwen3").join("config.json")).expect("config")
}

fn base() -> Checkpoint {
    Checkpoint::open(&folder("qwen3")).expect("weights")
}

fn adapter() -> Adapter {
    Adapter::open(&folder("lora"), &config()).expect("PEFT's adapter")
}

fn load(path: PathBuf) -> Result<HashMap<String, Tensor>> {
    candle_core::safetensors::load(path, &Device::Cpu)
}

fn sequences() -> Result<Vec<Vec<u32>>> {
    load(folder("qwen3").join("expected.safetensors"))?["input_ids"].to_dtype(DType::U32)?.to_vec2()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> Result<f32> {
    (a.to_device(b.device())?.flatten_all()? - b.flatten_all()?)?.abs()?.max(0)?.to_scalar()
}

fn trainee(base: Checkpoint) -> Trainee {
    trainee_on(&Device::Cpu, base)
}

fn trainee_on(device: &Device, base: Checkpoint) -> Trainee {
    let adapter = adapter();
    Trainee::with_lora(config(), adapter.config.clone(), Box::new(base), Box::new(adapter), device)
        .expect("a model to train")
}

/// The mean next-token loss over both sequences and its gradients.
fn backward(model: &Trainee, sequences: &[Vec<u32>]) -> Result<(f64, retort_kernels::Gradients)> {
    let batch = Batch::packed(sequences);
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
fn an_adapter_computes_what_it_computes_in_peft() -> Result<()> {
    let expected = load(folder("lora").join("expected.safetensors"))?;
    let batch = Batch::packed(sequences()?);
    let beside = trainee(base()).decoder().logits(&batch, None)?;
    let merged = Box::new(Merged::new(base(), Some(adapter())));
    let merged = frozen(merged, &Device::Cpu, |params| Dense::new(config(), params)).expect("a model");
    for (form, logits) in [("beside", beside), ("merged", merged.logits(&batch, None)?)] {
        let difference = largest_difference(&logits, &expected["logits"])?;
        println!("{form}: largest difference {difference:e}");
        assert!(difference <= 1e-4, "{form}: {difference}");
    }
    Ok(())
}

/// PEFT's gradients for every matrix of the adapter, and none for anything else; also with the base in bf16 bytes.
#[test]
fn gradients_are_those_of_peft_and_frozen_weights_have_none() -> Result<()> {
    everywhere(gradients_are_those_of_peft)
}

fn gradients_are_those_of_peft(device: &Device) -> Result<()> {
    let expected = load(folder("lora").join("expected.safetensors"))?;
    let model = trainee_on(device, base());
    let (loss, gradients) = backward(&model, &sequences()?)?;
    assert!((loss - f64::from(expected["loss"].to_vec1::<f32>()?[0])).abs() < 1e-5, "loss {loss}");
    assert_eq!(model.parameters().len(), 2 * 3 * config().num_hidden_layers);
    for (name, var) in model.parameters() {
        let (found, wanted) = (gradients.get(var).expect("a gradient"), &expected[&format!("base_model.model.{name}")]);
        let (difference, largest) =
            (largest_difference(found, wanted)?, largest_difference(wanted, &wanted.zeros_like()?)?);
        assert!(largest > 0.0 && difference <= 1e-4 * largest.max(0.1), "{name}: {difference} of {largest}");
    }
    Ok(())
}

#[test]
fn a_base_in_the_bytes_of_its_file_gives_the_same_gradients() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tensors: Vec<_> =
        base().names().map(|name| (name.to_string(), base().read(name, &Device::Cpu).expect("a tensor"))).collect();
    let path = folder.path().join("model.safetensors");
    retort_model::checkpoint::write_tensors(&path, &tensors, |_| retort_model::checkpoint::Stored::Bf16)
        .expect("written");
    let open = || Checkpoint::open(folder.path()).expect("weights");
    let (widened, stored) = (trainee(open()), trainee(open().in_stored_form()));
    let ((loss, wanted), (stored_loss, found)) =
        (backward(&widened, &sequences()?)?, backward(&stored, &sequences()?)?);
    assert!((loss - stored_loss).abs() < 1e-5, "{loss} and {stored_loss}");
    for ((name, a), (_, b)) in widened.parameters().iter().zip(stored.parameters()) {
        let (a, b) = (wanted.get(a).expect("a gradient"), found.get(b).expect("a gradient"));
        assert!(largest_difference(a, b)? < 1e-4, "{name}");
    }
    Ok(())
}

#[test]
fn a_fresh_adapter_leaves_the_model_as_it_is_and_is_written_as_peft_would() -> Result<()> {
    let settings =
        LoraSettings { rank: 2, alpha: 4.0, target_modules: Targets::All("all-linear".into()), use_rslora: true };
    let lora = LoraConfig::new(&settings, "qwen3");
    lora.check(&config(), Path::new("recipe")).expect("supported");
    let model = Trainee::with_lora(config(), lora.clone(), Box::new(base()), Box::new(Fresh { seed: 3 }), &Device::Cpu)
        .expect("a model to train");
    let batch = Batch::packed(sequences()?);
    let plain = load(folder("qwen3").join("expected.safetensors"))?;
    assert!(largest_difference(&model.decoder().logits(&batch, None)?, &plain["logits"])? <= 1e-4);

    let out = tempfile::tempdir()?;
    Adapter::write(out.path(), &lora, &model.state()?).expect("written");
    assert_eq!(Adapter::open(out.path(), &config()).expect("read again").config, lora);
    // Seven projections to a layer, named as PEFT names them.
    let written: BTreeSet<String> = load(out.path().join("adapter_model.safetensors"))?.into_keys().collect();
    assert_eq!(written.len(), 2 * 7 * config().num_hidden_layers);
    let peft: BTreeSet<String> = load(folder("lora").join("adapter_model.safetensors"))?.into_keys().collect();
    assert!(peft.is_subset(&written), "{:?}", peft.difference(&written));
    Ok(())
}

#[test]
fn what_is_not_followed_is_refused_by_name() {
    let refused = |field: &str, value: serde_json::Value| {
        let copy = tempfile::tempdir().expect("folder");
        let text = std::fs::read_to_string(folder("lora").join("adapter_config.json")).expect("text");
        let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        json[field] = value;
        std::fs::write(copy.path().join("adapter_config.json"), json.to_string()).expect("written");
        std::fs::copy(folder("lora").join("adapter_model.safetensors"), copy.path().join("adapter_model.safetensors"))
            .expect("copied");
        Adapter::open(copy.path(), &config()).err().expect("refused").to_string()
    };
    for (field, value) in [
        ("use_dora", true.into()),
        ("bias", "all".into()),
        ("rank_pattern", serde_json::json!({ "q_proj": 8 })),
        ("modules_to_save", serde_json::json!(["lm_head"])),
        ("init_lora_weights", "pissa".into()),
        ("target_modules", serde_json::json!(["q_proj", "v_proj", "down_proj", "wqkv"])),
        ("target_modules", ".*".into()),
        ("peft_type", "IA3".into()),
        ("r", 0.into()),
        ("a_new_switch", 1.into()),
    ] {
        let error = refused(field, value);
        assert!(error.contains(field), "{field}: {error}");
    }
    assert!(refused("r", 5.into()).contains("lora_A"), "a rank that the weights do not have");
    assert!(
        refused("target_modules", serde_json::json!(["q_proj", "v_proj"])).contains("down_proj"),
        "weights too many"
    );
}
