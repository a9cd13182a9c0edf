//! Writing: tensors to one safetensors file, in the format asked for, durably.

use super::fp8::Fp8Block;
use crate::Error;
use candle_core::{DType, Tensor};
use retort_kernels::{Bits, FP8_BLOCK, Format, QUANTISED_BLOCK, StoredMatrix};
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    F32,
    Bf16,
    F16,
    /// e4m3 with 128 x 128 scales beside it; for matrices only.
    Fp8,
    /// Blocks of 32 codes, see `retort_kernels::Bits`.
    Quantised(Bits),
}

impl Stored {
    /// What a tensor of this shape is stored as where this is asked for: only matrices are packed, and those that do not
    /// fill their tiles and blocks stay bf16.
    pub fn of_shape(self, shape: &[usize]) -> Self {
        match (self, shape) {
            (Self::Fp8, [_, _]) => self,
            (Self::Fp8, _) => Self::F32,
            (Self::Quantised(bits), &[o, i]) if bits.stored_shape((o, i)).is_some() => self,
            (Self::Quantised(_), _) => Self::Bf16,
            (Self::F32 | Self::Bf16 | Self::F16, _) => self,
        }
    }

    /// The numbers of a matrix [o, i], row after row, in this form; `None` for f32, which is none of the stored ones.
    pub fn pack(self, numbers: &[f32], (o, i): (usize, usize)) -> candle_core::Result<Option<StoredMatrix>> {
        Ok(Some(match self {
            Self::F32 => return Ok(None),
            Self::Bf16 => StoredMatrix::rounded(numbers, (o, i), Format::Bf16)?,
            Self::F16 => StoredMatrix::rounded(numbers, (o, i), Format::F16)?,
            Self::Quantised(bits) => StoredMatrix::quantised(numbers, (o, i), bits)?,
            Self::Fp8 => {
                let Fp8Block { bytes, scale_inv } = Fp8Block::quantise(numbers, o, i);
                let (range, format) = (0..bytes.len(), Format::Fp8 { scale_inv: scale_inv.into() });
                StoredMatrix::new(Arc::new(bytes), range, format, (o, i))?
            }
        }))
    }
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
        let too_large = |at: usize, format| {
            let (name, value) = (self.tensor.name.clone(), values[at]);
            Err(Error::TooLarge { name, path: self.path.into(), at, value, format })
        };
        if let (Some(bits), &[o, i]) = (self.bits, self.tensor.shape.as_slice()) {
            let packed = StoredMatrix::quantised(&values, (o, i), bits)?;
            // A block whose scale is beyond f16 begins here.
            return match packed.first_not_finite() {
                Some(at) => too_large(largest(&values, at..at + QUANTISED_BLOCK), "Q4 and Q8"),
                None => Ok(packed.bytes().to_vec()),
            };
        }
        let beyond = |value: &f32| match self.dtype {
            Dtype::BF16 => half::bf16::from_f32(*value).is_infinite(),
            Dtype::F16 => half::f16::from_f32(*value).is_infinite(),
            _ => false,
        };
        if let Some(at) = values.iter().position(beyond) {
            return too_large(at, if self.dtype == Dtype::F16 { "f16" } else { "bf16" });
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
        let (name, shape) = (&tensor.name, &tensor.shape);
        let whole = match (stored(name).of_shape(shape), shape.as_slice()) {
            (Stored::Fp8, &[o, i]) => {
                let blocks = vec![o.div_ceil(FP8_BLOCK), i.div_ceil(FP8_BLOCK)];
                pieces.insert(format!("{name}_scale_inv"), piece(Dtype::F32, blocks, true));
                piece(Dtype::F8_E4M3, shape.clone(), false)
            }
            (Stored::Quantised(bits), &[o, i]) => {
                let stored_shape = bits.stored_shape((o, i)).unwrap_or_default();
                Piece { bits: Some(bits), ..piece(Dtype::U8, stored_shape.to_vec(), false) }
            }
            (Stored::Bf16, _) => piece(Dtype::BF16, shape.clone(), false),
            (Stored::F16, _) => piece(Dtype::F16, shape.clone(), false),
            _ => piece(Dtype::F32, shape.clone(), false),
        };
        pieces.insert(name.clone(), whole);
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

/// Where in `range`, which the end of the numbers cuts, the one farthest from 0 stands.
fn largest(values: &[f32], range: Range<usize>) -> usize {
    let range = range.start..range.end.min(values.len());
    range.clone().max_by(|a, b| values[*a].abs().total_cmp(&values[*b].abs())).unwrap_or(range.start)
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
