//! Passes over numbers in a GPU's memory: the sources in `cuda/`, compiled once a program for the GPU at hand.
//!
//! Every function answers `None`, or `false`, where its tensors are not on a GPU in the types that its pass reads; candle's
//! operations do it then.

mod attention;
mod few_rows;
mod losses;
mod rows;
mod stored;

pub(crate) use attention::{cached_attention, causal_softmax, write_cache};
pub(crate) use few_rows::few_rows;
pub(crate) use losses::{divergence, token_gradient, token_log_probs};
pub(crate) use rows::{adamw, adamw_coded, rms_norm, rms_norm_backward, rope, sum_rows, swiglu, swiglu_backward};
pub(crate) use stored::widened;

use crate::device::{Memory, NoCuda, said};
use crate::portable;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDType, CudaDevice, WrapErr};
use candle_core::{DType, Device, Error, Result, Shape, Storage, Tensor, bail};
use std::sync::OnceLock;

const SOURCE: &str = concat!(include_str!("cuda/passes.cu"), include_str!("cuda/losses.cu"));

/// Threads of a block, as the source has them.
const THREADS: usize = 256;

/// Opens the first GPU, with one stream for all threads.
pub(crate) fn open() -> std::result::Result<Device, NoCuda> {
    let device = CudaDevice::new_with_stream(0).map_err(|error| NoCuda::Refused(said(&error)))?;
    #[expect(unsafe_code, reason = "events between streams cost time, and there is one stream")]
    // SAFETY: all that is asked of this device goes through its one stream, in the order in which it is asked.
    unsafe {
        device.disable_event_tracking();
    }
    Ok(Device::Cuda(device))
}

/// What is in use of a GPU's memory.
pub(crate) fn memory(device: &Device) -> Option<Memory> {
    let Device::Cuda(device) = device else { return None };
    let (free, total) = device.cuda_stream().context().mem_get_info().ok()?;
    Some(Memory { used: total - free, total })
}

/// The GPU that `tensors` are on, if they all are f32 there, one number behind the other.
fn gpu_of<'a>(tensors: &[&'a Tensor]) -> Option<&'a CudaDevice> {
    let Device::Cuda(device) = tensors.first()?.device() else { return None };
    let fits = |x: &&Tensor| x.device().is_cuda() && x.dtype() == DType::F32 && x.is_contiguous();
    (!portable::is_asked_for() && tensors.iter().all(fits)).then_some(device)
}

/// A result whose numbers are yet to be written.
fn room(shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
    room_of(DType::F32, shape, device)
}

/// The same in another type.
fn room_of(dtype: DType, shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
    #[expect(unsafe_code, reason = "memory that is written before it is read")]
    // SAFETY: whoever asks for it lets a pass write each of its numbers.
    unsafe {
        Tensor::empty(shape, dtype, device)
    }
}

/// Whole numbers that a pass reads, on the GPU.
fn numbers(values: impl IntoIterator<Item = u32>, device: &Device) -> Result<Tensor> {
    Tensor::from_iter(values, device)
}

/// What a pass is given.
#[derive(Clone, Copy)]
enum Arg {
    /// Where numbers begin.
    At(u64),
    Count(u32),
    Size(u64),
    Number(f32),
}

impl Arg {
    /// The f32 numbers of `tensor`, which must outlive the call of the pass.
    fn at(tensor: &Tensor) -> Result<Self> {
        Self::of::<f32>(tensor)
    }

    /// The same of another type.
    fn of<T: CudaDType>(tensor: &Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let (Storage::Cuda(storage), Some((start, _))) = (&*storage, layout.contiguous_offsets()) else {
            bail!("a pass on a GPU was given {:?} on {:?}", tensor.dtype(), tensor.device());
        };
        let stream = storage.device.cuda_stream();
        let (address, _read) = storage.as_cuda_slice::<T>()?.device_ptr(&stream);
        Ok(Self::At(address + (start * size_of::<T>()) as u64))
    }

    fn count(n: usize) -> Result<Self> {
        u32::try_from(n).map(Self::Count).map_err(|_| Error::msg(format!("{n} is more than a pass on a GPU counts")))
    }
}

/// The passes in the instructions of `device`.
fn compiled(device: &CudaDevice) -> Result<&'static str> {
    static COMPILED: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let compile = || -> std::result::Result<String, String> {
        let capability = device.cuda_stream().context().compute_capability();
        let (major, minor) = capability.map_err(|error| error.to_string())?;
        compile(&format!("compute_{major}{minor}"))
    };
    match COMPILED.get_or_init(compile) {
        Ok(text) => Ok(text),
        Err(said) => bail!("the passes for the GPU could not be compiled: {said}"),
    }
}

/// The passes for one kind of GPU, as PTX.
fn compile(architecture: &str) -> std::result::Result<String, String> {
    let options = vec![format!("--gpu-architecture={architecture}")];
    let options = CompileOptions { options, ..CompileOptions::default() };
    let compiled = compile_ptx_with_opts(SOURCE, options).map_err(|error| format!("{error:?}"))?;
    Ok(compiled.to_src())
}

/// Lets `blocks` blocks of threads, with `shared` numbers of memory each, work as `pass` says.
fn launch(device: &CudaDevice, pass: &'static str, blocks: usize, shared: usize, args: &[Arg]) -> Result<()> {
    if blocks == 0 {
        return Ok(());
    }
    let Ok(blocks) = i32::try_from(blocks) else { bail!("{pass}: {blocks} blocks are more than a GPU takes at once") };
    let function = device.get_or_load_custom_func(pass, "retort", compiled(device)?)?;
    let mut builder = function.builder();
    for arg in args {
        match arg {
            Arg::At(address) => builder.arg(address),
            Arg::Count(count) => builder.arg(count),
            Arg::Size(size) => builder.arg(size),
            Arg::Number(number) => builder.arg(number),
        };
    }
    let config = LaunchConfig {
        grid_dim: (blocks as u32, 1, 1),
        block_dim: (THREADS as u32, 1, 1),
        shared_mem_bytes: (shared * size_of::<f32>()) as u32,
    };
    #[expect(unsafe_code, reason = "a pass on a GPU reads and writes what its pointers say")]
    // SAFETY: callers give each pass the arguments of its declaration, of tensors that hold as many numbers as it touches.
    // All tensors of a device share one stream, so that none is freed or read before the pass is through.
    unsafe { builder.launch(config) }.w()?;
    Ok(())
}

/// A thread for each of `n` pieces of work.
fn each(device: &CudaDevice, pass: &'static str, n: usize, args: &[Arg]) -> Result<()> {
    launch(device, pass, n.div_ceil(THREADS), 0, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_passes_compile_for_gpus_from_ampere_on() {
        for architecture in ["compute_80", "compute_90", "compute_100"] {
            let compiled = compile(architecture).expect("sound source");
            // Attention over the cache is written once for two types.
            let passes = SOURCE.matches("extern \"C\" __global__ void ").count() + 1;
            assert_eq!(compiled.matches(".entry ").count(), passes, "{architecture}");
        }
    }
}
