//! Writing: tensors to one safetensors file, in the format asked for, durably.

use super::fp8::Fp8Block;
use crate::Error;
use candle_core::{DType, Tensor};
use retort_kernels::{Bits, FP8_BLOCK, StoredMatrix};
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    F32,
    Bf16,
    F16,
    /// e4m3 with 128 x 128 scales beside it; for matrices only.
    Fp8,
    /// Blocks of 32 codes, see `retort_kernels::Bits`; a tensor that is no matrix of whole tiles and blocks is bf16.
    Quantised(Bits),
}

/// A tensor to be written. Its numbers are asked for when their turn comes, so one tensor is in memory at a time.
pub struct Outgoing<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Box<dyn Fn() -> Result<Vec<f32>, Error> + 'a>,
}

impl<'a> Outgoing<'a> {
    /// A tensor that is in memory already.
    pub fn held(name: &str, tensor: &'a Tensor) -> Self {
        let values = || Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?);
        Self { name: name.into(), shape: tensor.dims().to_vec(), values: Box::new(values) }
    }
}

/// One entry of the file: a tensor's numbers, or the scales of its FP8 blocks.
struct Piece<'a> {
    tensor: &'a Outgoing<'a>,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Bits of the codes where it is written in quantised blocks.
    bits: Option<Bits>,
    /// Whether it is the scales that are written.
    scales: bool,
    path: &'a Path,
    /// Why a tensor could not be written; the format's library has no way to be told.
    failure: &'a RefCell<Option<Error>>,
}

impl Piece<'_> {
    fn bytes(&self) -> Result<Vec<u8>, Error> {
        let values = (self.tensor.values)()?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { name: self.tensor.name.clone(), path: self.path.into(), at });
        }
        let too_large = |value: f32| match self.dtype {
            Dtype::BF16 => half::bf16::from_f32(value).is_infinite(),
            Dtype::F16 => half::f16::from_f32(value).is_infinite(),
            _ => false,
        };
        if let Some(at) = values.iter().position(|&value| too_large(value)) {
            return Err(Error::NotFinite { name: self.tensor.name.clone(), path: self.path.into(), at });
        }
        if let (Some(bits), &[o, i]) = (self.bits, self.tensor.shape.as_slice()) {
            return Ok(StoredMatrix::quantised(&values, (o, i), bits)?.bytes().to_vec());
        }
        Ok(match (self.dtype, self.tensor.shape.as_slice()) {
            (Dtype::BF16, _) => values.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect(),
            (Dtype::F16, _) => values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect(),
            (Dtype::F8_E4M3, &[o, i]) => Fp8Block::quantise(&values, o, i).bytes,
            (_, &[o, i]) if self.scales => le_bytes(&Fp8Block::quantise(&values, o, i).scale_inv),
            _ => le_bytes(&values),
        })
    }
}

impl View for Piece<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = self.bytes().unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            vec![0; self.data_len()]
        });
        Cow::Owned(bytes)
    }
    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// Writes `tensors` as one safetensors file; `stored` picks the format of each by name.
///
/// Numbers that are not finite are refused: a checkpoint that holds them is worth nothing.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)], stored: impl Fn(&str) -> Stored) -> Result<(), Error> {
    let tensors: Vec<Outgoing> = tensors.iter().map(|(name, tensor)| Outgoing::held(name, tensor)).collect();
    write_outgoing(path, &tensors, stored)
}

/// The same for tensors whose numbers are made or read as they are written.
pub fn write_outgoing(path: &Path, tensors: &[Outgoing], stored: impl Fn(&str) -> Stored) -> Result<(), Error> {
    let failure = RefCell::new(None);
    let mut pieces = BTreeMap::new();
    for tensor in tensors {
        let piece = |dtype, shape, scales| Piece { tensor, dtype, shape, bits: None, scales, path, failure: &failure };
        let (dtype, name) = match (stored(&tensor.name), tensor.shape.as_slice()) {
            (Stored::Fp8, &[o, i]) => {
                let blocks = vec![o.div_ceil(FP8_BLOCK), i.div_ceil(FP8_BLOCK)];
                pieces.insert(format!("{}_scale_inv", tensor.name), piece(Dtype::F32, blocks, true));
                (Dtype::F8_E4M3, &tensor.name)
            }
            (Stored::Quantised(bits), shape) => {
                if let &[o, i] = shape
                    && let Some(shape) = bits.stored_shape((o, i))
                {
                    let piece = piece(Dtype::U8, shape.to_vec(), false);
                    pieces.insert(tensor.name.clone(), Piece { bits: Some(bits), ..piece });
                    continue;
                }
                (Dtype::BF16, &tensor.name)
            }
            (Stored::Bf16, _) => (Dtype::BF16, &tensor.name),
            (Stored::F16, _) => (Dtype::F16, &tensor.name),
            _ => (Dtype::F32, &tensor.name),
        };
        pieces.insert(name.clone(), piece(dtype, tensor.shape.clone(), false));
    }
    let header = Some([("format".to_string(), "pt".to_string())].into_iter().collect());
    let written = crate::durable::replace_with(path, |temporary| {
        safetensors::serialize_to_file(pieces, header, temporary).map_err(std::io::Error::other)?;
        match failure.borrow().is_some() {
            true => Err(std::io::Error::other("a tensor could not be written")),
            false => Ok(()),
        }
    });
    match (failure.take(), written) {
        (Some(error), _) => Err(error),
        (None, Err(source)) => Err(Error::Io { action: "written", path: path.into(), source }),
        (None, Ok(())) => Ok(()),
    }
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Puts `bytes` at `path` so that a crash leaves either the old file or the new one.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    crate::durable::replace(path, bytes).map_err(|source| Error::Io { action: "written", path: path.into(), source })
}

/// A hash over byte strings, as 16 hexadecimal digits.
pub fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update_rayon(part);
    }
    hasher.finalize().to_hex()[..16].to_string()
}
