//! Reading: maps each file once, finds tensors by name, checks what the header says before using it.

use crate::Error;
use crate::params::{Init, Source};
use candle_core::{Device, Shape, Tensor};
use memmap2::Mmap;
use retort_kernels::{FP8_BLOCK, Format, SharedBytes, StoredMatrix};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The bytes of one safetensors file.
enum Bytes {
    Mapped(Mmap),
    Static(&'static [u8]),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

struct Shard {
    path: PathBuf,
    bytes: SharedBytes,
    header: Metadata,
    /// Where the tensors' bytes begin.
    start: usize,
}

impl Shard {
    /// Where a tensor lies in the file.
    fn span(&self, info: &TensorInfo) -> Range<usize> {
        self.start + info.data_offsets.0..self.start + info.data_offsets.1
    }
}

/// An open checkpoint: tensors by their published names.
pub struct Checkpoint {
    shards: Vec<Shard>,
    /// Which shard holds a tensor.
    names: BTreeMap<String, usize>,
    /// Whether matrices stay in the bytes of the file.
    in_stored_form: bool,
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
        Ok(Self { shards, names, in_stored_form: false })
    }

    /// The same, with every matrix that is narrower than f32 computed from the bytes of its file.
    pub fn in_stored_form(self) -> Self {
        Self { in_stored_form: true, ..self }
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
        self.shards.iter().map(|shard| (*shard.bytes).as_ref().len()).sum()
    }

    /// The numbers of a tensor in f32, whatever shape it has.
    pub fn read(&self, name: &str, device: &Device) -> Result<Tensor, Error> {
        let (shape, values) = self.values(name)?;
        Ok(Tensor::from_vec(values, shape, device)?)
    }

    fn locate(&self, name: &str) -> Result<(&Shard, &TensorInfo), Error> {
        let missing = |shard: &Shard| Error::MissingTensor { name: name.into(), path: shard.path.clone() };
        let Some(&shard) = self.names.get(name) else { return Err(missing(&self.shards[0])) };
        let shard = &self.shards[shard];
        Ok((shard, shard.header.info(name).ok_or_else(|| missing(shard))?))
    }

    fn values(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), Error> {
        let (shard, info) = self.locate(name)?;
        let values = match self.stored_matrix(name)? {
            Some(matrix) => matrix.to_vec(),
            None => numbers(&(*shard.bytes).as_ref()[shard.span(info)]),
        };
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Error::NotFinite { name: name.into(), path: shard.path.clone(), at }),
            None => Ok((info.shape.clone(), values)),
        }
    }

    /// A tensor, seen as rows of its last dimension, in the form it is stored in; `None` for f32.
    fn stored_matrix(&self, name: &str) -> Result<Option<StoredMatrix>, Error> {
        let (shard, info) = self.locate(name)?;
        let path = || shard.path.clone();
        let i = info.shape.last().copied().unwrap_or(1);
        let dims = (info.shape.iter().rev().skip(1).product(), i);
        let format = match info.dtype {
            Dtype::F32 => return Ok(None),
            Dtype::BF16 => Format::Bf16,
            Dtype::F16 => Format::F16,
            Dtype::F8_E4M3 => {
                let scale_name = format!("{name}_scale_inv");
                let (found, scales) = self.values(&scale_name)?;
                let expected: Vec<usize> = info.shape.iter().map(|side| side.div_ceil(FP8_BLOCK)).collect();
                if info.shape.len() != 2 || found != expected {
                    return Err(Error::TensorShape { name: scale_name, path: path(), expected, found });
                }
                Format::Fp8 { scale_inv: scales.into() }
            }
            other => {
                return Err(Error::TensorType { name: name.into(), path: path(), found: format!("{other:?}") });
            }
        };
        Ok(Some(StoredMatrix::new(shard.bytes.clone(), shard.span(info), format, dims)?))
    }

    fn check_shape(&self, name: &str, expected: &Shape, found: &[usize]) -> Result<(), Error> {
        if found == expected.dims() {
            return Ok(());
        }
        let (path, expected) = (self.locate(name)?.0.path.clone(), expected.dims().to_vec());
        Err(Error::TensorShape { name: name.into(), path, expected, found: found.to_vec() })
    }

    /// A hash over the bytes of all files.
    pub fn digest(&self) -> String {
        super::fingerprint(&self.shards.iter().map(|shard| (*shard.bytes).as_ref()).collect::<Vec<_>>())
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
    let (length, header) = safetensors::SafeTensors::read_metadata(bytes.as_ref())
        .map_err(|source| Error::Safetensors { path: path.clone(), reason: source.to_string() })?;
    let start = length + 8; // the header is preceded by its length as a u64
    if start + header.data_len() != bytes.as_ref().len() {
        let reason = format!("its header describes {} bytes, it has {}", start + header.data_len(), bytes.as_ref().len());
        return Err(Error::Safetensors { path, reason });
    }
    Ok(Shard { path, bytes: Arc::new(bytes), header, start })
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

/// A checkpoint as the source of a model's weights: names must exist and shapes must fit.
impl Source for Checkpoint {
    fn tensor(&self, name: &str, shape: &Shape, _: Init, device: &Device) -> Result<Tensor, Error> {
        let (found, values) = self.values(name)?;
        self.check_shape(name, shape, &found)?;
        Ok(Tensor::from_vec(values, shape, device)?)
    }

    fn stored(&self, name: &str, shape: &Shape) -> Result<Option<Vec<StoredMatrix>>, Error> {
        if !self.in_stored_form {
            return Ok(None);
        }
        let (shard, info) = self.locate(name)?;
        self.check_shape(name, shape, &info.shape)?;
        let Some(matrix) = self.stored_matrix(name)? else { return Ok(None) };
        match matrix.first_not_finite() {
            Some(at) => Err(Error::NotFinite { name: name.into(), path: shard.path.clone(), at }),
            None => Ok(Some(vec![matrix])),
        }
    }
}
