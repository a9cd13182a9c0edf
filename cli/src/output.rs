//! Standard output: lines that may meet a closed pipe (`| head`), which is no failure, and numbers as people read them.

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

/// Writes a part of a line and shows it at once.
pub fn part(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Whether an error says that nobody reads any more.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe))
}

/// A number of things: `671.03 billion`, `41.2 million`, `812`.
pub fn count(number: u64) -> String {
    let number = number as f64;
    match number {
        ..1e6 => format!("{number}"),
        ..1e9 => format!("{:.2} million", number / 1e6),
        _ => format!("{:.2} billion", number / 1e9),
    }
}

/// A size in kibibytes: `68.6 KiB`.
pub fn kibibytes(bytes: u64) -> String {
    let text = format!("{:.1}", bytes as f64 / 1024.0);
    format!("{} KiB", text.strip_suffix(".0").unwrap_or(&text))
}

/// A size in the unit that fits it: `3.1 GiB`.
pub fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut units = ["KiB", "MiB", "GiB"].into_iter();
    let mut unit = "bytes";
    while size >= 1024.0
        && let Some(next) = units.next()
    {
        size /= 1024.0;
        unit = next;
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(671_026_404_352), "671.03 billion");
        assert_eq!(count(812), "812");
        assert_eq!(kibibytes(70_272), "68.6 KiB");
        assert_eq!(kibibytes(4_997_120), "4880 KiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        assert_eq!(bytes(1000), "1000 bytes");
    }
}
