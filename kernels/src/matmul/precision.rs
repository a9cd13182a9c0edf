//! How exactly the matrix products of training are computed.

use crate::scope::within;
use std::cell::Cell;

/// What the numbers of a product are rounded to before they are multiplied; sums are f32 either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MatmulPrecision {
    #[default]
    F32,
    /// Where this machine multiplies bf16 (see [`MatmulPrecision::is_here`]), else as `F32`.
    Bf16,
}

thread_local! {
    static CURRENT: Cell<MatmulPrecision> = const { Cell::new(MatmulPrecision::F32) };
}

impl MatmulPrecision {
    /// Runs `work` with the products of differentiable operations, and those of their way back, computed like this; as
    /// PyTorch's `autocast` does, of this thread alone.
    pub fn within<R>(self, work: impl FnOnce() -> R) -> R {
        within(&CURRENT, self, work)
    }

    /// Whether this machine has instructions for it.
    pub fn is_here(self) -> bool {
        match self {
            Self::F32 => true,
            #[cfg(target_arch = "x86_64")]
            Self::Bf16 => crate::avx512_bf16::is_here(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Bf16 => false,
        }
    }

    /// `f32` or `bf16`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// What this thread computes with.
    pub(crate) fn current() -> Self {
        CURRENT.get()
    }
}
