//! A model computed from the bytes of its file against the same model widened to f32.

use candle_core::{Device, Result, Tensor};
use retort_kernels::device::cuda;
use retort_kernels::{Offload, portably};
use retort_model::batch::Batch;
use retort_model::cache::{Cache, Precision};
use retort_model::checkpoint::{Checkpoint, ExpertMemory, NumberFormat, write_tensors};
use retort_model::decoder::Decoder;
use retort_model::params::frozen;
use retort_teacher::weights::Published;
use retort_teacher::{Config, DeepSeek, embedded};
use std::path::Path;

fn model(config: &Config, checkpoint: Checkpoint) -> DeepSeek {
    model_on(&Device::Cpu, config, checkpoint)
}

fn model_on(device: &Device, config: &Config, checkpoint: Checkpoint) -> DeepSeek {
    frozen(Box::new(Published(checkpoint)), device, |params| DeepSeek::new(config.clone(), params)).expect("a model")
}

/// All tensors of a folder in f32.
fn tensors(folder: &Path) -> Vec<(String, Tensor)> {
    let checkpoint = Checkpoint::open(folder).expect("weights");
    let read = |name: &str| (name.to_string(), checkpoint.read(name, &Device::Cpu).expect("a tensor"));
    checkpoint.names().map(read).collect()
}

/// |a - b| / |b|
fn relative_norm(a: &Tensor, b: &Tensor) -> Result<f32> {
    let norm = |x: Tensor| x.sqr()?.sum_all()?.to_scalar::<f32>().map(f32::sqrt);
    Ok(norm((a - b)?)? / norm(b.clone())?)
}

/// Logits of the two forms of a checkpoint.
fn both(config: &Config, open: impl Fn() -> Checkpoint) -> Result<(Tensor, Tensor)> {
    let text: Vec<u32> = (0..60).map(|at| (at * 37 + 11) % config.vocab_size as u32).collect();
    let batch = Batch::packed([&text[..41], &text[41..]]);
    let stored = model(config, open().in_stored_form()).logits(&batch, None)?;
    Ok((stored, model(config, open()).logits(&batch, None)?))
}

#[test]
fn fp8_blocks_are_computed_as_they_are_stored() -> Result<()> {
    let config = Config::parse(&embedded::files().config, Path::new("config.json")).expect("config");
    let (stored, widened) = both(&config, || Checkpoint::embedded(embedded::WEIGHTS, "teacher").expect("weights"))?;
    let difference = relative_norm(&stored, &widened)?;
    println!("FP8: relative difference {difference:e}");
    assert!(difference < 1e-3, "{difference}");
    Ok(())
}

/// Every published shape, its projections rounded to FP8 and to bf16: widths that are no multiple of a block included.
#[test]
fn every_shape_runs_from_its_bytes() -> Result<()> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in ["v2-lite", "v2", "v3", "v3-yarn", "v3-mtp", "moonlight", "k2"] {
        let config = Config::open(&fixtures.join(name).join("config.json")).expect("config");
        let tensors = tensors(&fixtures.join(name));
        for narrow in [NumberFormat::Fp8, NumberFormat::Bf16] {
            let folder = tempfile::tempdir()?;
            write_tensors(&folder.path().join("model.safetensors"), &tensors, |name| narrow.stored(name))
                .expect("written");
            let (stored, widened) = both(&config, || Checkpoint::open(folder.path()).expect("weights"))?;
            let difference = relative_norm(&stored, &widened)?;
            assert!(difference < 1e-5, "{name}: {difference}");
        }
    }
    Ok(())
}

/// A limit that holds a handful of experts: they are read again and again, and the logits are the same.
#[test]
fn experts_may_stay_on_disk() -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v3");
    let config = Config::open(&fixture.join("config.json")).expect("config");
    let (folder, tensors) = (tempfile::tempdir()?, tensors(&fixture));
    write_tensors(&folder.path().join("model.safetensors"), &tensors, |name| NumberFormat::Fp8.stored(name))
        .expect("written");
    let open = || Checkpoint::open(folder.path()).expect("weights");
    let (experts, largest) = open().bytes_of(|name| name.contains(".mlp.experts."));
    let memory = ExpertMemory::new(5 * largest);
    assert!(experts > 20 * largest, "the limit must be felt");
    let batch = Batch::packed([(0..40).map(|at| at * 7 % 50).collect::<Vec<u32>>()]);
    let in_memory = model(&config, open().in_stored_form()).logits(&batch, None)?;
    let on_disk = model(&config, open().with_experts_on_disk(memory.clone()));
    assert_eq!(relative_norm(&on_disk.logits(&batch, None)?, &in_memory)?, 0.0);
    let once = memory.bytes_read();
    on_disk.logits(&batch, None)?;
    assert!(once > 0 && memory.bytes_read() > once, "what was given back is read again");
    Ok(())
}

/// Room on a device for some of the matrices that every token needs and for five of experts.
#[test]
fn what_does_not_fit_on_a_device_stays_in_the_hosts_memory() -> Result<()> {
    portably(|| from_the_host(&Device::Cpu))?;
    cuda().map_or(Ok(()), |gpu| from_the_host(&gpu))
}

fn from_the_host(device: &Device) -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v3");
    let config = Config::open(&fixture.join("config.json")).expect("config");
    let (folder, tensors) = (tempfile::tempdir()?, tensors(&fixture));
    write_tensors(&folder.path().join("model.safetensors"), &tensors, |name| NumberFormat::Fp8.stored(name))
        .expect("written");
    let open = || Checkpoint::open(folder.path()).expect("weights");
    let is_expert = |name: &str| name.contains(".mlp.experts.");
    let ((experts, expert), (others, _)) = (open().bytes_of(is_expert), open().bytes_of(|name| !is_expert(name)));
    assert!(experts > 20 * expert, "the limit must be felt");
    // Experts have 8 bits here and 16 there.
    let offload = Offload::new(device, others / 2, 2 * 5 * expert);
    let there = model_on(device, &config, open().in_stored_form());
    let streamed = model_on(device, &config, open().with_offload(offload.clone()));
    let text: Vec<u32> = (0..40).map(|at| at * 7 % 50).collect();
    let caches = [&there, &streamed].map(|model| Cache::new(&model.cache_spec(), Precision::F32, 1, 40, device));
    let [expected_cache, cache] = caches.map(|cache| cache.expect("a cache"));
    // A prompt in one go, then token by token over its cache.
    let mut moved = 0;
    for (start, end) in [(0, 37), (37, 38), (38, 40)] {
        let batch = Batch::cached([(0, start, &text[start..end])]);
        let expected = there.logits(&batch, Some(&expected_cache))?;
        let difference = relative_norm(&streamed.logits(&batch, Some(&cache))?, &expected)?;
        assert!(difference < 2e-2, "{start}: {difference}");
        assert!(offload.bytes_moved() > moved, "what has no room comes anew");
        moved = offload.bytes_moved();
    }
    Ok(())
}
