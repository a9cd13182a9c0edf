//! Reading tensors as plain `f32` slices, and back: the plumbing between candle and the loops of this crate.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, bail};

/// Whether the fast CPU form applies: f32 on the CPU.
pub(crate) fn fast(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.device().is_cpu() && t.dtype() == DType::F32)
}

/// The contiguous f32 data behind a custom op's argument.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("a kernel needs contiguous input, got strides {:?}", layout.stride()),
    }
}

/// Calls `f` with the data of `tensor`, made contiguous first where it is not.
pub(crate) fn with<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => f(slice(cpu, layout)?),
        _ => bail!("a CPU kernel was given a tensor on another device"),
    }
}

/// Wraps computed values as a CPU tensor without copying them.
pub(crate) fn tensor(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, like.shape(), like.device())
}

/// The sizes of a tensor seen as rows of its last dimension: (rows, width).
pub(crate) fn rows(layout: &Layout) -> Result<(usize, usize)> {
    match layout.dims().split_last() {
        Some((&width, outer)) => Ok((outer.iter().product(), width)),
        None => bail!("a kernel that works on rows was given a scalar"),
    }
}
