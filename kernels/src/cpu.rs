//! Reading tensors as plain `f32` slices, and back: the plumbing between candle and the loops of this crate.

use crate::portable;
use candle_core::{CpuStorage, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};
use std::ops::Deref;

/// Whether the fast CPU form applies: f32 on the CPU.
pub(crate) fn fast(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| is_here(t.device()) && t.dtype() == DType::F32)
}

/// Whether tensors of `device` are read as slices: on the CPU, unless this thread does without.
pub(crate) fn is_here(device: &Device) -> bool {
    device.is_cpu() && !portable::is_asked_for()
}

/// The contiguous f32 data behind a custom op's argument.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("a kernel needs contiguous input, got strides {:?}", layout.stride()),
    }
}

/// The same for the argument that an op changes in place.
pub(crate) fn slice_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a kernel changes contiguous numbers, got strides {:?}", layout.stride());
    };
    match storage {
        CpuStorage::F32(values) => Ok(&mut values[start..end]),
        _ => bail!("a kernel changes f32 in place, and was given other numbers"),
    }
}

/// The numbers of a contiguous CPU tensor, held for reading.
pub(crate) struct Data<G> {
    storage: G,
    start: usize,
    end: usize,
}

impl<G: Deref<Target = Storage>> Deref for Data<G> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.start..self.end],
            // `data` has seen to it that there is no other case.
            _ => &[],
        }
    }
}

/// Opens `tensor` for reading.
pub(crate) fn data(tensor: &Tensor) -> Result<Data<impl Deref<Target = Storage> + '_>> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a kernel needs contiguous input, got strides {:?}", layout.stride());
    };
    if !matches!(&*storage, Storage::Cpu(CpuStorage::F32(_))) {
        bail!("a CPU kernel was given {:?} on {:?}", tensor.dtype(), tensor.device());
    }
    Ok(Data { storage, start, end })
}

/// Wraps computed values as a CPU tensor without copying them.
pub(crate) fn tensor(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    shaped(values, like.shape())
}

/// The same with a shape of its own.
pub(crate) fn shaped(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// The sizes of a tensor seen as rows of its last dimension: (rows, width).
pub(crate) fn rows(tensor: &Tensor) -> Result<(usize, usize)> {
    match tensor.dims().split_last() {
        Some((&width, outer)) => Ok((outer.iter().product(), width)),
        None => bail!("a kernel that works on rows was given a scalar"),
    }
}
