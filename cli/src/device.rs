//! `--device` and `--memory`: what computes, and in how much memory.

use candle_core::Device;
use clap::{Args, ValueEnum};
use retort_kernels::device::{NoCuda, cuda};
use std::fmt::{self, Display, Formatter};

/// Kinds of devices by their names on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// This machine's processor
    #[default]
    Cpu,
    /// Its first NVIDIA GPU
    Cuda,
}

/// What a command computes on.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct On {
    /// What computes: the processor where nothing is said, or an NVIDIA GPU
    #[arg(long, value_enum)]
    pub device: Option<Kind>,
}

impl On {
    /// `cpu` or `cuda`.
    pub fn name(self) -> &'static str {
        match self.device.unwrap_or_default() {
            Kind::Cpu => "cpu",
            Kind::Cuda => "cuda",
        }
    }

    /// Opens the device.
    pub fn open(self) -> Result<Device, NoDevice> {
        match self.device.unwrap_or_default() {
            Kind::Cpu => Ok(Device::Cpu),
            Kind::Cuda => cuda().map_err(NoDevice),
        }
    }
}

/// What a model runs on, and in how much memory.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Place {
    #[command(flatten)]
    pub on: On,
    /// The most memory to take, such as `16G`: experts that do not fit stay on disk and are read as they are needed. Of a
    /// GPU's memory all that is free may be taken unless this says less, and what does not fit stays in the host's
    #[arg(long, value_name = "SIZE", value_parser = crate::memory::parse)]
    pub memory: Option<usize>,
}

/// Why `--device` cannot be followed.
#[derive(Debug)]
pub struct NoDevice(NoCuda);

impl NoDevice {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self.0 {
            NoCuda::NotBuilt => {
                "with NVIDIA's toolkit installed, `cargo build --release --features cuda` makes one that does; \
                 `kernels/cuda/README.md` says how without"
            }
            NoCuda::Refused(_) => {
                "`nvidia-smi` shows whether driver and GPU are there; `--device cpu` computes without them"
            }
        }
        .into()
    }
}

impl Display for NoDevice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            NoCuda::NotBuilt => {
                f.write_str("this `retort` was built without CUDA: `--device cuda` has nothing to run on")
            }
            NoCuda::Refused(said) => write!(f, "no NVIDIA GPU can be used here: {said}"),
        }
    }
}

impl std::error::Error for NoDevice {}
