//! Memory as a person writes and reads it, and how much of it this process has had.

use anyhow::{Result, bail};

/// Reads a size such as `900M`, `16G` or plain bytes; K, M, G and T are powers of 1024.
pub fn parse(text: &str) -> Result<usize> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u128 = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1 << 40,
        unit => bail!("`{unit}` is no unit of memory; write `900M` or `16G`"),
    };
    let Ok(number) = digits.parse::<u64>() else { bail!("`{text}` is no size; write `900M` or `16G`") };
    match usize::try_from(u128::from(number) * factor) {
        Ok(bytes) => Ok(bytes),
        Err(_) => bail!("`{text}` is more memory than there can be"),
    }
}

/// Lets the allocator keep freed pages: a training step frees and takes the same gigabytes again, and pages that the system
/// gives anew are filled with zeros first, which takes a tenth of the time. The peak is the same.
pub fn keep_freed_pages() {
    /// `mi_option_purge_delay` of `mimalloc.h`, in milliseconds.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    #[expect(unsafe_code, reason = "a setting of the allocator, which is written in C")]
    // SAFETY: sets a number.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
}

/// The most memory that this process has had resident, mapped files included; known on Linux.
pub fn peak_resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok().map(|kib| kib << 10)
}

/// Memory that can still be taken; known on Linux.
pub fn available() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok().map(|kib| kib << 10)
}

/// Bytes in MiB, for a line of text.
pub fn mib(bytes: usize) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_are_read_in_the_usual_spellings() {
        let read = |text| parse(text).ok();
        assert_eq!(
            ["512", "3K", "900M", "2g", "1GiB"].map(read),
            [512, 3 << 10, 900 << 20, 2 << 30, 1 << 30].map(Some)
        );
        assert_eq!(["", "M", "-1G", "1.5G", "7X", "99999999999T"].map(read), [None; 6]);
    }
}
