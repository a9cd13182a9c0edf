//! Reading: maps each file once, finds tensors by name, checks what the header says before using it.

use super::header::{Entry, Header};
use super::index::shards;
use super::pager::{ExpertFiles, ExpertMemory, Pages, Unseen};
use crate::Error;
use crate::inventory::Part;
use crate::params::{Init, Source};
use candle_core::{Device, Shape, Tensor};
use memmap2::Mmap;
use retort_kernels::{FP8_BLOCK, Format, Offload, StoredMatrix};
use safetensors::tensor::Dtype;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The bytes of one safetensors file.
pub(super) enum Bytes {
    Mapped(Mmap),
    Held(Cow<'static, [u8]>),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Held(bytes) => bytes,
        }
    }
}

/// What the name of an FP8 weight's scales adds to its own.
const SCALES: &str = "_scale_inv";

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

struct Shard {
    path: PathBuf,
    bytes: Arc<Bytes>,
    header: Header,
}

impl Shard {
    fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// Where a tensor lies in the file.
    fn span(&self, entry: &Entry) -> Range<usize> {
        self.header.start + entry.data_offsets.0..self.header.start + entry.data_offsets.1
    }
}

/// An open checkpoint: tensors by their published names.
pub struct Checkpoint {
    /// The folder or file, for errors.
    origin: PathBuf,
    shards: Vec<Shard>,
    /// Which shard holds a tensor.
    names: BTreeMap<String, usize>,
    /// Whether matrices stay in the bytes of the file.
    in_stored_form: bool,
    /// The files again, where experts stay on disk.
    on_disk: Option<Arc<ExpertFiles>>,
    /// Room on the device, where not all of it fits there.
    offload: Option<Arc<Offload>>,
}

impl Checkpoint {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` lists, in `folder`.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let single = folder.join("model.safetensors");
        if single.is_file() {
            return Self::from_shards(single.clone(), vec![map_shard(&single)?]);
        }
        let index = folder.join("model.safetensors.index.json");
        if !index.is_file() {
            return Err(no_weights(folder));
        }
        let listed = shards(folder, &index)?;
        let mapped = listed.files.iter().map(|path| map_shard(path)).collect::<Result<_, _>>()?;
        let checkpoint = Self::from_shards(folder.into(), mapped)?;
        let found = |name: &str| checkpoint.names.get(name).map(|&shard| checkpoint.shards[shard].path.as_path());
        listed.check(&index, checkpoint.names(), found)?;
        Ok(checkpoint)
    }

    /// Opens one safetensors file, whatever its name.
    pub fn open_file(path: &Path) -> Result<Self, Error> {
        Self::from_shards(path.into(), vec![map_shard(path)?])
    }

    /// A checkpoint that is in memory as one file, such as the program's own; `label` names it in errors.
    pub fn embedded(bytes: impl Into<Cow<'static, [u8]>>, label: &str) -> Result<Self, Error> {
        Self::from_shards(label.into(), vec![parse(label.into(), Bytes::Held(bytes.into()))?])
    }

    fn from_shards(origin: PathBuf, shards: Vec<Shard>) -> Result<Self, Error> {
        let mut names = BTreeMap::new();
        for (index, shard) in shards.iter().enumerate() {
            for name in shard.header.entries.keys() {
                if let Some(other) = names.insert(name.clone(), index) {
                    let (name, path, other) = (name.clone(), shard.path.clone(), shards[other].path.clone());
                    return Err(Error::DuplicateTensor { name, path, other });
                }
            }
        }
        Ok(Self { origin, shards, names, in_stored_form: false, on_disk: None, offload: None })
    }

    /// Holds names and shapes against what a model needs, before any number is read: `parts` must all be there, and
    /// nothing else but scales of FP8 weights and what `is_spare` knows to be harmless.
    pub fn check(&self, parts: impl Iterator<Item = Part>, is_spare: impl Fn(&str) -> bool) -> Result<(), Error> {
        let mut needed = HashSet::new();
        for part in parts {
            for name in part.names() {
                let (shard, entry) = self.find(&name)?;
                if entry.model_shape() != part.shape {
                    let (path, expected, found) = (shard.path.clone(), part.shape.clone(), entry.model_shape());
                    return Err(Error::TensorShape { name, path, expected, found });
                }
                if entry.dtype == Dtype::F8_E4M3 {
                    needed.insert(self.scales(&name, entry)?);
                }
                needed.insert(name);
            }
        }
        for (name, &shard) in &self.names {
            let weight = name.strip_suffix(SCALES).unwrap_or(name);
            if !needed.contains(name) && !is_spare(weight) {
                return Err(Error::ExtraTensor { name: name.clone(), path: self.shards[shard].path.clone() });
            }
        }
        Ok(())
    }

    /// Refuses a head that is not the embedding that it is tied to; a copy of it may be there.
    pub fn check_tied(&self, embedding: &str, head: &str) -> Result<(), Error> {
        let (Ok((own, entry)), Ok((shard, copy))) = (self.find(embedding), self.find(head)) else { return Ok(()) };
        let bytes = own.bytes()[own.span(entry)] == shard.bytes()[shard.span(copy)];
        let same = entry.dtype == copy.dtype && entry.shape == copy.shape && bytes;
        if same { Ok(()) } else { Err(Error::HeadNotTied { path: shard.path.clone() }) }
    }

    /// Whether a tensor of this name is there.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    fn find(&self, name: &str) -> Result<(&Shard, &Entry), Error> {
        let shard = self.names.get(name).map(|&shard| &self.shards[shard]);
        let found = shard.and_then(|shard| Some((shard, shard.header.entries.get(name)?)));
        found.ok_or_else(|| Error::MissingTensor { name: name.into(), path: self.origin.clone() })
    }

    /// The name of the scales of an FP8 weight, after checking that they are there, f32 and of the right shape.
    fn scales(&self, name: &str, weight: &Entry) -> Result<String, Error> {
        let scales = format!("{name}{SCALES}");
        let (shard, entry) = self.find(&scales)?;
        let path = shard.path.clone();
        if entry.dtype != Dtype::F32 {
            return Err(Error::TensorType { name: scales, path, found: format!("{:?}", entry.dtype) });
        }
        let expected: Vec<usize> = weight.shape.iter().map(|side| side.div_ceil(FP8_BLOCK)).collect();
        if weight.shape.len() != 2 || entry.shape != expected {
            return Err(Error::TensorShape { name: scales, path, expected, found: entry.shape.clone() });
        }
        Ok(scales)
    }

    /// The same, with every matrix that is narrower than f32 computed from the bytes of its file.
    pub fn in_stored_form(self) -> Self {
        Self { in_stored_form: true, ..self }
    }

    /// The same in stored form, with experts that are read as they are asked for.
    pub fn with_experts_on_disk(self, memory: Arc<ExpertMemory>) -> Self {
        let files = self.shards.iter().map(|shard| shard.bytes.clone()).collect();
        Self { in_stored_form: true, on_disk: Some(Arc::new(ExpertFiles { files, memory })), ..self }
    }

    /// The same in stored form, for a device on which `offload` has room for a part of it.
    pub fn with_offload(self, offload: Arc<Offload>) -> Self {
        Self { in_stored_form: true, offload: Some(offload), ..self }
    }

    /// An expert's matrix, kept on disk or in the host's memory where that is wanted; see [`Source::stored`].
    pub fn stored_expert(&self, name: &str, shape: &Shape) -> Result<Option<StoredMatrix>, Error> {
        let Some(experts) = &self.on_disk else {
            let matrix = self.sound_matrix(name, shape)?;
            return Ok(matrix.map(|matrix| match &self.offload {
                Some(offload) => offload.expert(matrix),
                None => matrix,
            }));
        };
        let (shard, entry) = self.find(name)?;
        self.check_shape(name, shape, &entry.model_shape())?;
        let Some(matrix) = self.stored_matrix(name)? else { return Ok(None) };
        let (name, path) = (name.to_owned(), shard.path.clone());
        let file = self.names[&name];
        let unseen = Unseen { name, path, matrix: matrix.clone(), seen: AtomicBool::new(false) };
        Ok(Some(matrix.with_pager(Arc::new(Pages { file, experts: experts.clone(), unseen }))))
    }

    /// Bytes in the files of the tensors that `chosen` picks: of all together, and of the largest.
    pub fn bytes_of(&self, chosen: impl Fn(&str) -> bool) -> (usize, usize) {
        let entries = self.shards.iter().flat_map(|shard| &shard.header.entries);
        let sizes = entries.filter(|(name, _)| chosen(name)).map(|(_, e)| e.data_offsets.1 - e.data_offsets.0);
        sizes.fold((0, 0), |(sum, largest), size| (sum + size, largest.max(size)))
    }

    pub fn contains(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// All tensor names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The tensors of the model and their shapes, in order; scales belong to their FP8 weights.
    pub fn weights(&self) -> impl Iterator<Item = (&str, Vec<usize>)> {
        let entries = self.shards.iter().flat_map(|shard| &shard.header.entries);
        let weights = entries.filter(|(name, _)| !name.ends_with(SCALES));
        weights.map(|(name, entry)| (name.as_str(), entry.model_shape()))
    }

    /// Whether any matrix is in quantised blocks, which have products of their own.
    pub fn is_quantised(&self) -> bool {
        self.shards.iter().flat_map(|shard| shard.header.entries.values()).any(|entry| entry.quantised().is_some())
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.find(name).ok().map(|(_, entry)| entry.model_shape())
    }

    /// The type a tensor is stored in: as safetensors writes it, or `Q8` or `Q4` for quantised blocks.
    pub fn dtype(&self, name: &str) -> Option<String> {
        self.find(name).ok().map(|(_, entry)| entry.type_name())
    }

    /// How many numbers are stored in each type; scales of FP8 weights are no numbers of the model.
    pub fn dtypes(&self) -> BTreeMap<String, u64> {
        let mut dtypes = BTreeMap::new();
        let entries = self.shards.iter().flat_map(|shard| &shard.header.entries);
        for (_, entry) in entries.filter(|(name, _)| !name.ends_with(SCALES)) {
            *dtypes.entry(entry.type_name()).or_default() += entry.model_shape().iter().product::<usize>() as u64;
        }
        dtypes
    }

    /// The files of the weights; those of the program itself are none.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let mapped = self.shards.iter().filter(|shard| matches!(&*shard.bytes, Bytes::Mapped(_)));
        mapped.map(|shard| shard.path.as_path())
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.bytes().len()).sum()
    }

    /// The numbers of a tensor in f32, whatever shape it has.
    pub fn read(&self, name: &str, device: &Device) -> Result<Tensor, Error> {
        let (shape, values) = self.values(name)?;
        Ok(Tensor::from_vec(values, shape, device)?)
    }

    fn values(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), Error> {
        let (shard, entry) = self.find(name)?;
        let values = match self.stored_matrix(name)? {
            Some(matrix) => matrix.to_vec(),
            None => numbers(&shard.bytes()[shard.span(entry)]),
        };
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Error::NotFinite { name: name.into(), path: shard.path.clone(), at }),
            None => Ok((entry.model_shape(), values)),
        }
    }

    /// A tensor, seen as rows of its last dimension, in the form it is stored in; `None` for f32.
    fn stored_matrix(&self, name: &str) -> Result<Option<StoredMatrix>, Error> {
        let (shard, entry) = self.find(name)?;
        if let Some((bits, dims)) = entry.quantised() {
            let format = Format::Quantised(bits);
            return Ok(Some(StoredMatrix::new(shard.bytes.clone(), shard.span(entry), format, dims)?));
        }
        let format = match entry.dtype {
            Dtype::F32 => return Ok(None),
            Dtype::BF16 => Format::Bf16,
            Dtype::F16 => Format::F16,
            Dtype::F8_E4M3 => Format::Fp8 { scale_inv: self.values(&self.scales(name, entry)?)?.1.into() },
            other => {
                let (path, found) = (shard.path.clone(), format!("{other:?}"));
                return Err(Error::TensorType { name: name.into(), path, found });
            }
        };
        let dims = (entry.shape.iter().rev().skip(1).product(), entry.shape.last().copied().unwrap_or(1));
        Ok(Some(StoredMatrix::new(shard.bytes.clone(), shard.span(entry), format, dims)?))
    }

    /// A matrix in stored form that has the shape it should have and only finite numbers; `None` where it is widened.
    fn sound_matrix(&self, name: &str, shape: &Shape) -> Result<Option<StoredMatrix>, Error> {
        if !self.in_stored_form {
            return Ok(None);
        }
        let (shard, entry) = self.find(name)?;
        self.check_shape(name, shape, &entry.model_shape())?;
        let Some(matrix) = self.stored_matrix(name)? else { return Ok(None) };
        match matrix.first_not_finite() {
            Some(at) => Err(Error::NotFinite { name: name.into(), path: shard.path.clone(), at }),
            None => Ok(Some(matrix)),
        }
    }

    fn check_shape(&self, name: &str, expected: &Shape, found: &[usize]) -> Result<(), Error> {
        if found == expected.dims() {
            return Ok(());
        }
        let (path, expected) = (self.find(name)?.0.path.clone(), expected.dims().to_vec());
        Err(Error::TensorShape { name: name.into(), path, expected, found: found.to_vec() })
    }

    /// A hash over the bytes of all files. They are read, not mapped, so that they need not fit in memory.
    pub fn digest(&self) -> Result<String, Error> {
        let mut hasher = blake3::Hasher::new();
        for shard in &self.shards {
            let io = |source| Error::Io { action: "read", path: shard.path.clone(), source };
            hasher.update(&(shard.bytes().len() as u64).to_le_bytes());
            match &*shard.bytes {
                Bytes::Held(bytes) => hasher.update(bytes),
                Bytes::Mapped(_) => hasher.update_reader(File::open(&shard.path).map_err(io)?).map_err(io)?,
            };
        }
        Ok(hasher.finalize().to_hex()[..16].to_string())
    }
}

/// Why a folder without safetensors cannot be read: pickle files are named, for they may be all there is.
fn no_weights(folder: &Path) -> Error {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let endings = [".bin", ".bin.index.json", ".pt", ".pth", ".ckpt"];
    let is_pickle = |name: &String| endings.iter().any(|ending| name.ends_with(ending));
    match names.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(is_pickle).min() {
        Some(file) => Error::Pickle { path: folder.join(file) },
        None => Error::NoWeights { folder: folder.into() },
    }
}

#[expect(unsafe_code, reason = "mapping a file is unsafe by nature: another process may change it under the map")]
fn map_shard(path: &Path) -> Result<Shard, Error> {
    let io = |source| Error::Io { action: "read", path: path.into(), source };
    let file = File::open(path).map_err(io)?;
    // SAFETY: the map is read-only. What we write is renamed into place and never changed there; a file that another
    // program changes or cuts short while it is in use is beyond what a map can be guarded against.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    parse(path.into(), Bytes::Mapped(map))
}

fn parse(path: PathBuf, bytes: Bytes) -> Result<Shard, Error> {
    match Header::parse(bytes.as_ref()) {
        Ok(header) => Ok(Shard { path, bytes: Arc::new(bytes), header }),
        Err(reason) => Err(Error::Safetensors { path, reason }),
    }
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
        let matrix = self.sound_matrix(name, shape)?;
        Ok(matrix.map(|matrix| match &self.offload {
            // Where the head is another matrix, rows of the embedding are all that is needed of it.
            Some(offload) if name == EMBEDDING && self.has(HEAD) => vec![offload.table(matrix)],
            Some(offload) => vec![offload.other(matrix)],
            None => vec![matrix],
        }))
    }
}
