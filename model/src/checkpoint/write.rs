//! Writing: tensors to one safetensors file, in the format asked for, durably.

use super::fp8::Fp8Block;
use crate::Error;
use candle_core::{DType, Tensor};
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    F32,
    Bf16,
    /// e4m3 with 128 x 128 scales beside it; for matrices only.
    Fp8,
}

struct Raw {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Raw {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes `tensors` as one safetensors file; `stored` picks the format of each by name.
///
/// Numbers that are not finite are refused: a checkpoint that holds them is worth nothing.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)], stored: impl Fn(&str) -> Stored) -> Result<(), Error> {
    let mut raw = BTreeMap::new();
    for (name, tensor) in tensors {
        let shape = tensor.dims().to_vec();
        let values: Vec<f32> = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { name: name.clone(), path: path.into(), at });
        }
        match (stored(name), shape.as_slice()) {
            (Stored::Fp8, &[o, i]) => {
                let packed = Fp8Block::quantise(&values, o, i);
                let scale_shape = vec![o.div_ceil(retort_kernels::FP8_BLOCK), i.div_ceil(retort_kernels::FP8_BLOCK)];
                let scale = Raw { dtype: Dtype::F32, shape: scale_shape, bytes: le_bytes(&packed.scale_inv) };
                raw.insert(format!("{name}_scale_inv"), scale);
                raw.insert(name.clone(), Raw { dtype: Dtype::F8_E4M3, shape, bytes: packed.bytes });
            }
            (Stored::Bf16, _) => {
                let bytes = values.iter().flat_map(|&value| half::bf16::from_f32(value).to_le_bytes()).collect();
                raw.insert(name.clone(), Raw { dtype: Dtype::BF16, shape, bytes });
            }
            _ => {
                raw.insert(name.clone(), Raw { dtype: Dtype::F32, shape, bytes: le_bytes(&values) });
            }
        }
    }
    let header = Some([("format".to_string(), "pt".to_string())].into_iter().collect());
    let bytes = safetensors::serialize(raw, header)
        .map_err(|source| Error::Safetensors { path: path.into(), reason: source.to_string() })?;
    write_bytes(path, &bytes)
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
