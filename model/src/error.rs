//! Why a model could not be read, built, run or written.

use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("`{path}` could not be {action}")]
    Io { action: &'static str, path: PathBuf, #[source] source: std::io::Error },
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}
