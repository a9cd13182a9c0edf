//! `retort datagen import`.

use crate::args::Import as Arguments;
use crate::open::{Embedded, ModelFiles};
use crate::output::say;
use crate::progress::Progress;
use crate::recipe;
use anyhow::{Context, Result, bail};
use retort_datagen::exchange::{Import, Imported, Tokens, import};
use retort_datagen::sample::Verdict;
use retort_datagen::sources::{Columns, Table};
use serde::Deserialize;
use std::num::NonZeroUsize;
use std::process::ExitCode;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct ImportRecipe {
    problems: Columns,
}

pub fn run(args: &Arguments) -> Result<ExitCode> {
    let Arguments { source, format, out, part, limit, keep_unverified, tokenizer, set } = args;
    let ImportRecipe { problems: columns } =
        recipe::parse("", set).context("`--set` takes `problems.NAME=COLUMN` here")?;
    let tokens = tokenizer.as_deref().map(tokens).transpose()?;
    let table = Table::open(source, &part.selection())?;
    let how = Import {
        format: *format,
        columns,
        keep_unverified: *keep_unverified,
        tokens: tokens.as_ref(),
        limit: limit.map(NonZeroUsize::get),
    };
    let Imported { rows, tally, left_out, unverified, left_behind } = import(table, &how, out, &Progress::new())?;
    let (samples, kept, right) = (tally.samples(), tally.kept, tally.count(Verdict::Right));
    say!("{samples} samples of {rows} rows in `{}`: {right} right, {kept} kept for training", out.display());
    if unverified > 0 {
        let kept = if *keep_unverified { "kept where they end as they should" } else { "not kept" };
        say!("{unverified} samples have no gold answer and could not be verified: {kept}");
    }
    for (why, rows) in left_out {
        say!("{rows} rows were left out: {why}");
    }
    if left_behind {
        say!("log-probabilities were left behind: they belong to the tokens of another dataset");
    }
    Ok(ExitCode::SUCCESS)
}

/// Tokenizer and template of a model; its weights are not needed.
fn tokens(name: &str) -> Result<Tokens> {
    let model = ModelFiles::look(name, Embedded::Teacher)?;
    let (tokenizer, template) = (model.files.tokenizer()?, model.files.template()?);
    let ends = model.files.eos(&tokenizer, &template)?;
    let named = template.eos().and_then(|token| tokenizer.id(token));
    let Some(eos) = named.or(ends.first().copied()) else { bail!("`{name}` names no token that ends a turn") };
    Ok(Tokens { name: model.name, tokenizer, template, eos })
}
