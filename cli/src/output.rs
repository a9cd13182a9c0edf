//! Standard output that may end before the program does: a closed pipe (`| head`) is no failure.

use anyhow::Result;
use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes a line to standard output; returns the error, so that no write can panic.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::line(format_args!($($text)*))?
    };
}
pub(crate) use say;

pub fn line(text: Arguments) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// Whether an error says that nobody reads any more.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe))
}
