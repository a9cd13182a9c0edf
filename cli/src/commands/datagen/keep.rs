//! `retort datagen verify`, `repair` and `merge`.

use crate::args::Merge;
use crate::output::say;
use crate::progress::Progress;
use anyhow::{Result, bail};
use retort_datagen::store;
use std::path::Path;
use std::process::ExitCode;

pub fn verify(dir: &Path) -> Result<ExitCode> {
    let found = store::verify(dir)?;
    for damage in &found.damage {
        say!("{}: {}", damage.file, damage.what);
    }
    if !found.damage.is_empty() {
        let (files, dir) = (found.damage.len(), dir.display());
        bail!(
            "{files} files of `{dir}` are not sound; {} samples are (`retort datagen repair {dir}` sets damage aside)",
            found.samples
        );
    }
    say!("{} samples in {} shards, every checksum right", found.samples, found.shards);
    Ok(ExitCode::SUCCESS)
}

pub fn repair(dir: &Path) -> Result<ExitCode> {
    let repaired = store::repair(dir)?;
    for damage in &repaired.quarantined {
        say!("{}: {}", damage.file, damage.what);
    }
    for remark in &repaired.remarks {
        say!("{remark}");
    }
    match repaired.quarantined.len() {
        _ if repaired.is_orphaned => say!(
            "{} samples are left, all in the journal; repeat the command that made them: it writes a new manifest and takes \
             them over",
            repaired.samples
        ),
        0 => say!("nothing to repair; {} samples", repaired.samples),
        files => say!(
            "{files} files set aside in `{}`; {} samples are left, and the command that wrote the dataset asks for what is missing",
            dir.join("quarantine").display(),
            repaired.samples
        ),
    }
    Ok(ExitCode::SUCCESS)
}

pub fn merge(args: &Merge) -> Result<ExitCode> {
    let (manifest, tally) = store::merge(&args.parts, &args.out, &Progress::new())?;
    say!(
        "{} samples in {} shards in `{}`, every checksum right",
        tally.samples(),
        manifest.shards.len(),
        args.out.display()
    );
    Ok(ExitCode::SUCCESS)
}
