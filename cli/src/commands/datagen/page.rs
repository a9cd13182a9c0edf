//! `retort datagen page`.

use crate::args::Page;
use crate::output::say;
use anyhow::{Context, Result};
use retort_datagen::page;
use retort_datagen::store::TraceReader;
use std::process::ExitCode;

pub fn run(args: &Page) -> Result<ExitCode> {
    let name = args.dir.canonicalize().ok().and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
    let name = name.unwrap_or_else(|| args.dir.display().to_string());
    let html = page::render(&TraceReader::open(&args.dir)?, &name, args.examples)?;
    retort_model::durable::replace(&args.out, html.as_bytes())
        .with_context(|| format!("`{}` could not be written", args.out.display()))?;
    say!("`{}`, {} KiB", args.out.display(), html.len() / 1024);
    Ok(ExitCode::SUCCESS)
}
