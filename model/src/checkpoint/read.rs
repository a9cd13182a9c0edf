//! Reading: maps each file once, finds tensors by name, checks what the header says before using it.

use super::fp8::{BLOCK, Fp8Block};
use crate::Error;
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The bytes of one safetensors file.
enum Bytes {
    Mapped(Mmap),
    Static(&'static [u8]),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

struct Shard {
    path: PathBuf,
    bytes: Bytes,
    header: Metadata,
    /// Where the tensors' bytes begin.
    start: usize,
}

/// An open checkpoint: tensors by their published names.
pub struct Checkpoint {
    shards: Vec<Shard>,
    /// Which shard holds a tensor.
    names: BTreeMap<String, usize>,
    failure: Failure,
}

/// The first error that a checkpoint met while a model was built from it. candle passes on only its text.
#[derive(Clone, Default)]
pub struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    /// The error behind what candle made of it.
    pub fn behind(&self, error: candle_core::Error) -> Error {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(|| error.into())
    }

    fn keep(&self, error: Error) -> candle_core::Error {
        let text = error.to_string();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        candle_core::Error::Msg(text)
    }
}

impl Checkpoint {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` lists, in `folder`.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        let paths = if single.is_file() {
            vec![single]
        } else if index.is_file() {
            shard_paths(folder, &index)?
        } else {
            return Err(Error::NoWeights { folder: folder.into() });
        };
        let shards = paths.into_iter().map(|path| map_shard(&path)).collect::<Result<_, _>>()?;
        Self::from_shards(shards)
    }

    /// A checkpoint inside the program itself; `label` names it in errors.
    pub fn embedded(bytes: &'static [u8], label: &str) -> Result<Self, Error> {
        Self::from_shards(vec![parse(label.into(), Bytes::Static(bytes))?])
    }

    fn from_shards(shards: Vec<Shard>) -> Result<Self, Error> {
        let mut names = BTreeMap::new();
        for (index, shard) in shards.iter().enumerate() {
            for name in shard.header.offset_keys() {
                if let Some(other) = names.insert(name.clone(), index) {
                    let (path, other) = (shard.path.clone(), shards[other].path.clone());
                    return Err(Error::DuplicateTensor { name, path, other });
                }
            }
        }
        Ok(Self { shards, names, failure: Failure::default() })
    }

    /// Tells afterwards why a model could not be built.
    pub fn failure(&self) -> Failure {
        self.failure.clone()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// All tensor names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let shard = &self.shards[*self.names.get(name)?];
        shard.header.info(name).map(|info| info.shape.as_slice())
    }

    /// The type a tensor is stored in, as safetensors writes it.
    pub fn dtype(&self, name: &str) -> Option<String> {
        let shard = &self.shards[*self.names.get(name)?];
        shard.header.info(name).map(|info| format!("{:?}", info.dtype))
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.bytes.get().len()).sum()
    }

    /// A tensor as f32, FP8 blocks multiplied out.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<Tensor, Error> {
        let (shape, values) = self.values(name)?;
        Ok(Tensor::from_vec(values, shape, device)?)
    }

    fn values(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), Error> {
        let Some(&shard) = self.names.get(name) else {
            return Err(Error::MissingTensor { name: name.into(), path: self.shards[0].path.clone() });
        };
        let shard = &self.shards[shard];
        let path = || shard.path.clone();
        let info = shard.header.info(name).ok_or_else(|| Error::MissingTensor { name: name.into(), path: path() })?;
        let bytes = &shard.bytes.get()[shard.start..][info.data_offsets.0..info.data_offsets.1];
        let values = match info.dtype {
            Dtype::F32 => numbers(bytes, f32::from_le_bytes),
            Dtype::BF16 => numbers(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
            Dtype::F16 => numbers(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
            Dtype::F8_E4M3 => {
                let scale_name = format!("{name}_scale_inv");
                let (scale_shape, scales) = self.values(&scale_name)?;
                let expected: Vec<usize> = info.shape.iter().map(|side| side.div_ceil(BLOCK)).collect();
                if info.shape.len() != 2 || scale_shape != expected {
                    return Err(Error::TensorShape { name: scale_name, path: path(), expected, found: scale_shape });
                }
                Fp8Block::dequantise(bytes, &scales, info.shape[1])
            }
            other => {
                return Err(Error::TensorType { name: name.into(), path: path(), found: format!("{other:?}") });
            }
        };
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { name: name.into(), path: path(), at });
        }
        Ok((info.shape.clone(), values))
    }

    /// A hash over the bytes of all files.
    pub fn digest(&self) -> String {
        super::fingerprint(&self.shards.iter().map(|shard| shard.bytes.get()).collect::<Vec<_>>())
    }
}

fn shard_paths(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, Error> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = crate::files::read_json(index)?;
    let files: BTreeSet<&String> = index.weight_map.values().collect();
    files
        .into_iter()
        .map(|file| {
            // The index is input: it may not lead out of its folder.
            let inside = Path::new(file).components().eq([std::path::Component::Normal(file.as_ref())]);
            if inside {
                Ok(folder.join(file))
            } else {
                Err(Error::ShardPath { folder: folder.into(), file: file.clone() })
            }
        })
        .collect()
}

#[expect(unsafe_code, reason = "mapping a file is unsafe by nature: another process may change it under the map")]
fn map_shard(path: &Path) -> Result<Shard, Error> {
    let io = |source| Error::Io { action: "read", path: path.into(), source };
    let file = File::open(path).map_err(io)?;
    // SAFETY: the map is read-only; checkpoints are written once and renamed into place, never changed in place.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    parse(path.into(), Bytes::Mapped(map))
}

/// Checks the header against the bytes: offsets in order, without gaps or overlaps, inside the file.
fn parse(path: PathBuf, bytes: Bytes) -> Result<Shard, Error> {
    let (length, header) = safetensors::SafeTensors::read_metadata(bytes.get())
        .map_err(|source| Error::Safetensors { path: path.clone(), reason: source.to_string() })?;
    let start = length + 8; // the header is preceded by its length as a u64
    if start + header.data_len() != bytes.get().len() {
        let reason = format!("its header describes {} bytes, it has {}", start + header.data_len(), bytes.get().len());
        return Err(Error::Safetensors { path, reason });
    }
    Ok(Shard { path, bytes, header, start })
}

fn numbers<const W: usize>(bytes: &[u8], decode: impl Fn([u8; W]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<W>().0.iter().map(|chunk| decode(*chunk)).collect()
}

/// A checkpoint as the source of a model's tensors: names must exist and shapes must fit.
impl SimpleBackend for Checkpoint {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let (found, values) = self.values(name).map_err(|error| self.failure.keep(error))?;
        if found != shape.dims() {
            let path = self.shards[self.names[name]].path.clone();
            let error = Error::TensorShape { name: name.into(), path, expected: shape.dims().to_vec(), found };
            return Err(self.failure.keep(error));
        }
        Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.tensor(name, device).map_err(|error| self.failure.keep(error))?.to_dtype(dtype)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.contains(name)
    }
}
