//! `retort datagen export`.

use crate::args::Export as Arguments;
use crate::output::say;
use anyhow::{Result, bail};
use retort_datagen::exchange::{Export, Exported, export};
use retort_datagen::store::TraceReader;
use std::process::ExitCode;

pub fn run(args: &Arguments) -> Result<ExitCode> {
    let Arguments { dir, format, out, all, think } = args;
    let reader = TraceReader::open(dir)?;
    if reader.rows() == 0 {
        bail!("`{}` holds no samples yet", dir.display());
    }
    let Exported { rows, samples, left_out } =
        export(&reader, Export { format: *format, think: *think, all: *all }, out)?;
    say!("{rows} rows with {samples} samples in `{}`", out.display());
    if left_out > 0 {
        say!("{left_out} samples that are not kept for training were left out; `--all` takes them too");
    }
    Ok(ExitCode::SUCCESS)
}
