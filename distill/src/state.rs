//! Checkpoints of a run: weights, moments and step, written durably and checked before they are used.
//!
//! `checkpoints/step-00000100/` holds `state.safetensors` and, written last, `state.json` with the step, the run's
//! fingerprint and the blake3 of the weights file. A folder without `state.json` was never finished and is ignored.
//! `best/` holds the weights of the best look at the validation examples.

use crate::Error;
use crate::average::Average;
use crate::flops::Flops;
use crate::identity::Identity;
use crate::optimiser::Optimiser;
use candle_core::{DType, Device, Tensor};
use retort_kernels::{Codes, Moments};
use retort_model::checkpoint::{Checkpoint, Outgoing, Stored, write_bytes, write_outgoing, write_tensors};
use retort_model::decoder::Trainable;
use retort_model::files::read_json;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize)]
struct Manifest {
    step: u64,
    /// What it took to get here.
    #[serde(default)]
    flops: Flops,
    run: Identity,
    blake3: String,
}

fn name_of(step: u64) -> String {
    format!("step-{step:08}")
}

/// How many checkpoints stay on disk.
const KEPT: usize = 2;

const WEIGHTS: &str = "model.safetensors";
const MANIFEST: &str = "state.json";

/// Saves the state after `step` steps and removes checkpoints beyond the last two.
pub(crate) fn save(
    out: &Path,
    model: &dyn Trainable,
    optimiser: &Optimiser,
    average: Option<&Average>,
    (step, flops): (u64, Flops),
    run: &Identity,
) -> Result<(), Error> {
    let folder = out.join("checkpoints").join(name_of(step));
    let io = |action| move |source| Error::Io { action, path: out.into(), source };
    std::fs::create_dir_all(&folder).map_err(io("created"))?;
    // One tensor at a time is copied to be written.
    let buffers = model.buffers();
    let mut tensors: Vec<_> = buffers.iter().map(|(name, var)| Outgoing::held(name, var.as_tensor())).collect();
    for ((name, var), moments) in model.parameters().iter().zip(&optimiser.moments) {
        tensors.push(Outgoing::held(name, var.as_tensor()));
        tensors.extend(parts(moments).into_iter().map(|(kind, part)| part.outgoing(format!("{kind}.{name}"))));
    }
    for ((name, _), mean) in model.parameters().iter().zip(average.iter().flat_map(|average| &average.weights)) {
        tensors.push(Part::Numbers(mean).outgoing(format!("average.{name}")));
    }
    let weights = folder.join(WEIGHTS);
    // Codes are whole numbers up to 255: bf16 holds them.
    let stored = |name: &str| if is_codes(name) { Stored::Bf16 } else { Stored::F32 };
    write_outgoing(&weights, &tensors, stored)?;
    let manifest = Manifest { step, flops, run: run.clone(), blake3: hash(&weights)? };
    let json =
        serde_json::to_vec_pretty(&manifest).map_err(|e| Error::Damaged { path: weights, reason: e.to_string() })?;
    write_bytes(&folder.join(MANIFEST), &json)?;
    for old in finished(out)?.into_iter().rev().skip(KEPT) {
        std::fs::remove_dir_all(&old).map_err(io("tidied"))?;
    }
    Ok(())
}

/// What a checkpoint holds of a tensor's moments.
enum Part<'a> {
    Numbers(&'a [f32]),
    /// On another device.
    Tensor(&'a Tensor),
    Codes(&'a [u8]),
}

impl<'a> Part<'a> {
    fn outgoing(self, name: String) -> Outgoing<'a> {
        match self {
            Self::Numbers(x) => Outgoing { name, shape: vec![x.len()], values: Box::new(|| Ok(x.to_vec())) },
            Self::Tensor(x) => {
                // Widened here: there may be no memory left there.
                let values = || Ok(x.to_device(&Device::Cpu)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?);
                Outgoing { name, shape: vec![x.elem_count()], values: Box::new(values) }
            }
            Self::Codes(x) => {
                let values = || Ok(x.iter().copied().map(f32::from).collect());
                Outgoing { name, shape: vec![x.len()], values: Box::new(values) }
            }
        }
    }
}

const M_CODES: &str = "m_codes";
const ROOT_CODES: &str = "v_root_codes";

fn is_codes(name: &str) -> bool {
    name.split('.').next().is_some_and(|kind| kind == M_CODES || kind == ROOT_CODES)
}

/// Moments by what they are called.
fn parts(moments: &Moments) -> Vec<(&'static str, Part<'_>)> {
    match moments {
        Moments::Exact { m, v } => vec![("m", Part::Numbers(m)), ("v", Part::Numbers(v))],
        Moments::Elsewhere { m, v } => vec![("m", Part::Tensor(m)), ("v", Part::Tensor(v))],
        Moments::Coded { m, root } => vec![
            (M_CODES, Part::Codes(&m.codes)),
            ("m_scales", Part::Numbers(&m.scales)),
            (ROOT_CODES, Part::Codes(&root.codes)),
            ("v_root_scales", Part::Numbers(&root.scales)),
        ],
        Moments::CodedElsewhere { m, root } => vec![
            (M_CODES, Part::Tensor(&m.codes)),
            ("m_scales", Part::Tensor(&m.scales)),
            (ROOT_CODES, Part::Tensor(&root.codes)),
            ("v_root_scales", Part::Tensor(&root.scales)),
        ],
    }
}

/// Puts the published weights of the best look at the validation examples into `best/`, with a note of the look.
pub(crate) fn save_best(out: &Path, model: &dyn Trainable, step: u64, loss: f64) -> Result<(), Error> {
    let folder = out.join("best");
    std::fs::create_dir_all(&folder).map_err(|source| Error::Io { action: "created", path: folder.clone(), source })?;
    write_tensors(&folder.join(WEIGHTS), &model.state()?, |_| Stored::F32)?;
    let note = serde_json::json!({ "step": step, "validation_loss": loss });
    Ok(write_bytes(&folder.join("best.json"), note.to_string().as_bytes())?)
}

fn hash(path: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

/// Finished checkpoints, oldest first.
fn finished(out: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = out.join("checkpoints");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::Io { action: "read", path: folder, source }),
    };
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.join(MANIFEST).is_file()).collect();
    found.sort();
    Ok(found)
}

/// Loads the newest checkpoint, if there is one, and returns the number of steps it has behind it, and what they took.
pub(crate) fn resume(
    out: &Path,
    model: &dyn Trainable,
    optimiser: &mut Optimiser,
    average: Option<&mut Average>,
    run: &Identity,
) -> Result<Option<(u64, Flops)>, Error> {
    let Some(folder) = finished(out)?.pop() else { return Ok(None) };
    let manifest: Manifest = read_json(&folder.join(MANIFEST))?;
    let differences = manifest.run.differences(run);
    if !differences.is_empty() {
        return Err(Error::OtherRun { path: out.into(), differences });
    }
    if folder.file_name().is_none_or(|name| name != name_of(manifest.step).as_str()) {
        let reason = format!("it says that it was made at step {}", manifest.step);
        return Err(Error::Damaged { path: folder, reason });
    }
    if hash(&folder.join(WEIGHTS))? != manifest.blake3 {
        return Err(Error::Damaged {
            path: folder,
            reason: "its weights do not have the checksum written with them".into(),
        });
    }
    let checkpoint = Checkpoint::open(&folder)?;
    let tensor = |name: &str| checkpoint.read(name, model.decoder().device());
    for ((name, var), moments) in model.parameters().iter().zip(&mut optimiser.moments) {
        var.set(&tensor(name)?)?;
        let numbers = |kind: &str| -> Result<Vec<f32>, Error> {
            Ok(checkpoint.read(&format!("{kind}.{name}"), &Device::Cpu)?.flatten_all()?.to_vec1()?)
        };
        let codes = |codes: &str, scales: &str| -> Result<Codes, Error> {
            Ok(Codes { codes: numbers(codes)?.into_iter().map(|code| code as u8).collect(), scales: numbers(scales)? })
        };
        let first = || codes(M_CODES, "m_scales");
        let roots = || codes(ROOT_CODES, "v_root_scales");
        match moments {
            Moments::Exact { m, v } => (*m, *v) = (numbers("m")?, numbers("v")?),
            Moments::Elsewhere { m, v } => {
                let moment = |kind: &str| Ok::<_, Error>(tensor(&format!("{kind}.{name}"))?.reshape(var.shape())?);
                (*m, *v) = (moment("m")?, moment("v")?);
            }
            Moments::Coded { m, root } => (*m, *root) = (first()?, roots()?),
            Moments::CodedElsewhere { m, root } => {
                let device = var.device();
                (*m, *root) = (first()?.on(device)?, roots()?.on(device)?);
            }
        }
    }
    let means = average.into_iter().flat_map(|average| &mut average.weights);
    for ((name, _), mean) in model.parameters().iter().zip(means) {
        *mean = tensor(&format!("average.{name}"))?.flatten_all()?.to_vec1()?;
    }
    for (name, var) in model.buffers() {
        var.set(&tensor(&name)?)?;
    }
    Ok(Some((manifest.step, manifest.flops)))
}
