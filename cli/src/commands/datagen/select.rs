//! `retort datagen select`.

use crate::args::Select;
use crate::commands::INTERRUPTED;
use crate::output::say;
use crate::progress::Progress;
use crate::recipe;
use anyhow::{Context, Result};
use retort_datagen::curate::{self, Recipe, Summary};
use std::process::ExitCode;

pub fn run(args: &Select) -> Result<ExitCode> {
    let recipe: Recipe = match &args.recipe {
        Some(path) => recipe::read(path, &args.set)?,
        None => recipe::parse("", &args.set).context("`--set` does not fit the recipe")?,
    };
    let Some(summary) = curate::select(&args.dirs, &recipe, &args.out, &Progress::new())? else {
        say!("interrupted; nothing was written to `{}`, and the same command begins anew", args.out.display());
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if args.json {
        say!("{:#}", json(&summary));
    } else {
        say!("{}", text(&summary));
    }
    Ok(ExitCode::SUCCESS)
}

/// What every step took, from the candidates to what is kept.
fn text(summary: &Summary) -> String {
    let mut lines = Vec::new();
    for (path, rows, kept) in &summary.inputs {
        lines.push(format!("{rows:>10} rows, {kept} kept, in `{}`", path.display()));
    }
    lines.push(format!("{:>10} candidates", summary.candidates));
    lines.extend(summary.steps.iter().map(|(cause, rows)| format!("{:>10} {cause}", format!("-{rows}"))));
    lines.push(format!("{:>10} kept of {} rows", summary.tally.kept, summary.tally.samples()));
    lines.join("\n")
}

fn json(summary: &Summary) -> serde_json::Value {
    let inputs =
        summary.inputs.iter().map(|(path, rows, kept)| serde_json::json!({ "path": path, "rows": rows, "kept": kept }));
    let steps: serde_json::Map<String, serde_json::Value> =
        summary.steps.iter().map(|&(cause, rows)| (cause.to_owned(), rows.into())).collect();
    serde_json::json!({
        "run_id": summary.manifest.run_id,
        "inputs": inputs.collect::<Vec<_>>(),
        "candidates": summary.candidates,
        "dropped": steps,
        "rows": summary.tally.samples(),
        "kept": summary.tally.kept,
    })
}
