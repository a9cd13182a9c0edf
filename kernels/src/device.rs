//! The GPU: opening it, what of its memory is in use, and telling that it ran out.

use crate::portable::portably;
use candle_core::{Device, Error, Result};
use std::sync::OnceLock;

/// Why there is no GPU to compute on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCuda {
    /// This program was built without it.
    NotBuilt,
    /// What the driver says.
    Refused(String),
}

/// The first GPU; the same device whenever it is asked for.
///
/// All threads share one stream of it, so that what one computes another may read without further ado.
pub fn cuda() -> std::result::Result<Device, NoCuda> {
    static OPENED: OnceLock<std::result::Result<Device, NoCuda>> = OnceLock::new();
    OPENED.get_or_init(crate::cuda::open).clone()
}

/// Runs `check` in every way in which this machine can compute: with the fast forms, with those for other devices, and on
/// its GPU where there is one. For tests.
pub fn everywhere<E>(check: impl Fn(&Device) -> std::result::Result<(), E>) -> std::result::Result<(), E> {
    check(&Device::Cpu)?;
    portably(|| check(&Device::Cpu))?;
    cuda().map_or(Ok(()), |gpu| check(&gpu))
}

/// An error's own words, without the way it took.
pub(crate) fn said(error: &Error) -> String {
    match error {
        Error::WithBacktrace { inner, .. } | Error::Context { inner, .. } => said(inner),
        other => other.to_string(),
    }
}

/// Bytes of a device's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    pub used: usize,
    pub total: usize,
}

/// What is in use of `device`, by all programs; `None` of the CPU.
pub fn memory(device: &Device) -> Option<Memory> {
    crate::cuda::memory(device)
}

/// Whether `error` says that a GPU has no memory left.
pub fn is_out_of_memory(error: &Error) -> bool {
    let text = said(error);
    ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"].iter().any(|code| text.contains(code))
}

/// Runs `work` and says in an error of running out of memory what it was for.
pub(crate) fn named<R>(what: impl FnOnce() -> String, work: impl FnOnce() -> Result<R>) -> Result<R> {
    work().map_err(|error| match is_out_of_memory(&error) {
        true => error.context(Operation(what())),
        false => error,
    })
}

/// What an operation that ran out of memory was for, told by its innermost name.
struct Operation(String);

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{MARK}{}", self.0)
    }
}

/// Stands before the names of operations, which candle keeps as text.
const MARK: &str = "out of memory in ";

/// The operation that an error of running out of memory names.
pub fn operation(error: &Error) -> Option<String> {
    match error {
        Error::WithBacktrace { inner, .. } => operation(inner),
        Error::Context { inner, context } => {
            let own = || context.to_string().strip_prefix(MARK).map(String::from);
            operation(inner).or_else(own)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_memory_is_told_from_other_errors() {
        let error = |text: &str| Error::Cuda(text.into()).bt();
        // As cudarc writes it.
        assert!(is_out_of_memory(&error("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")").context("matmul")));
        let named = named(|| "a product".into(), || Err::<(), _>(error("DriverError(CUDA_ERROR_OUT_OF_MEMORY)")));
        let named = super::named(|| "attention".into(), || named).expect_err("no memory").context("layer 3");
        assert_eq!(operation(&named).as_deref(), Some("a product"));
        assert!(is_out_of_memory(&named));
        assert!(is_out_of_memory(&error("CublasError(CUBLAS_STATUS_ALLOC_FAILED)")));
        assert!(!is_out_of_memory(&error("DriverError(CUDA_ERROR_INVALID_VALUE, \"invalid argument\")")));
        assert_eq!(memory(&Device::Cpu), None);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_program_without_cuda_says_so() {
        assert_eq!(cuda().err(), Some(NoCuda::NotBuilt));
    }
}
