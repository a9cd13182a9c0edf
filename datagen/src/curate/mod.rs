//! Curation: a new dataset out of others, in which fewer rows are kept, each of the rest with the reason.
//!
//! The rows of the inputs stay, in the order of the inputs as they are named and of the rows in them; a row that is left
//! out says `kept = false` and why, so that one file answers what became of a trace, pass rates can be computed again, and
//! a later curation sees what an earlier one decided. `export` writes the kept rows alone. What an input did not keep
//! stays out with its own reason.
//!
//! The steps, each of which sees what the ones before it kept, so that whatever a duplicate goes for is there itself:
//! 1. repeated rows: the same (run, problem, sample) again;
//! 2. verdicts;
//! 3. windows of lengths;
//! 4. contamination: problems that overlap with benchmarks;
//! 5. pass rates, over all samples of a problem in its run, kept or not;
//! 6. duplicates, exact, among problems, then near ones;
//! 7. duplicates among traces, the same way;
//! 8. the choice among the traces of a problem;
//! 9. the mix of the inputs.
//!
//! The inputs are read three times at most: for names, lengths, hashes and signatures, which are held; for the shingles
//! of rows that may be near-duplicates or are chosen among, some at a time; and to write. The result depends on the inputs
//! and the recipe alone, whatever the number of threads.

mod contamination;
mod exact;
mod halt;
mod mix;
mod near;
pub mod pass_rate;
mod pick;
mod reason;
mod recipe;
mod scan;
mod shingles;
mod table;
mod texts;
mod words;

#[cfg(test)]
mod tests;

pub use recipe::{Choice, Mix, Near, NearDuplicates, PassRate, PerProblem, Recipe, Unit, Window};

use crate::Error;
use crate::sample::Sample;
use crate::store::{Derived, DerivedWriter, Manifest};
use crate::tally::Tally;
use contamination::Benchmarks;
pub use halt::Watcher;
use halt::{Halt, go_on};
use rayon::prelude::*;
use reason::Reason;
use scan::{Inputs, Lens};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use table::Table;

/// What a curation came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub manifest: Manifest,
    /// Of the new dataset.
    pub tally: Tally,
    /// (where it lies, its rows, those of them that it keeps itself), in order.
    pub inputs: Vec<(PathBuf, u64, u64)>,
    /// Kept rows before any step, with those that a choice of verdicts brought back.
    pub candidates: u64,
    /// Rows that each step took out, in the order of the steps; steps that took out none are left out.
    pub steps: Vec<(&'static str, u64)>,
}

/// Writes the dataset that `recipe` makes of those in `dirs` to `out`. It is there whole or not at all; `None` where the
/// observer stopped it, and then nothing is there.
///
/// # Errors
/// Where a dataset or benchmark cannot be read, the recipe cannot be meant, or a mix asks for more rows than there are.
pub fn select(dirs: &[PathBuf], recipe: &Recipe, out: &Path, observer: Watcher) -> Result<Option<Summary>, Error> {
    match selected(dirs, recipe, out, observer) {
        Ok(summary) => Ok(Some(summary)),
        Err(Halt::Stopped) => Ok(None),
        Err(Halt::Failed(error)) => Err(*error),
    }
}

fn selected(dirs: &[PathBuf], recipe: &Recipe, out: &Path, observer: Watcher) -> Result<Summary, Halt> {
    recipe.check(dirs.len())?;
    let inputs = Inputs::open(dirs)?;
    for reader in &inputs.readers {
        let (rows, planned) = (reader.rows(), reader.manifest().samples());
        if reader.manifest().run().is_some_and(|run| run.quota.is_none()) && rows < planned {
            observer.remark(&format!("`{}` holds {rows} of its {planned} samples", reader.dir().display()));
        }
    }
    let benchmarks = Benchmarks::read(&recipe.decontaminate, recipe.decontaminate_words)?;
    let derived = Derived {
        verb: "select".into(),
        settings: serde_json::json!({ "recipe": recipe, "benchmarks": benchmarks.files() }),
        parents: inputs.readers.iter().map(|reader| reader.manifest().as_parent(reader.dir())).collect(),
    };
    // Refuses a place that is taken before anything is read.
    let mut writer = DerivedWriter::create(out, derived, recipe.rows_per_shard.get())?;
    let mut table = inputs.scan(&Lens::new(recipe, &benchmarks), observer)?;
    let kept = |table: &Table, dataset: usize| {
        table.rows.iter().filter(|row| row.dataset as usize == dataset && row.kept).count() as u64
    };
    let held = inputs.readers.iter().enumerate();
    let held = held.map(|(place, reader)| (reader.dir().to_owned(), reader.rows(), kept(&table, place))).collect();
    bring_back(&mut table, recipe);
    let candidates = table.kept().count() as u64;
    let repeats = decide(&inputs, &mut table, recipe, observer)?;
    write(&inputs, &table, &benchmarks, recipe, &repeats, &mut writer, observer)?;
    let (manifest, tally) = writer.finish()?;
    let steps = Reason::CAUSES.into_iter().zip(table.taken).filter(|&(_, rows)| rows > 0).collect();
    Ok(Summary { manifest, tally, inputs: held, candidates, steps })
}

/// Keeps what a run rejected for a verdict that the recipe chooses.
fn bring_back(table: &mut Table, recipe: &Recipe) {
    let Some(verdicts) = &recipe.verdicts else { return };
    for row in table.rows.iter_mut().filter(|row| row.rejected && verdicts.contains(&row.verdict)) {
        row.kept = true;
    }
}

/// Takes every step; gives back how often rows are written that are not written once.
fn decide(
    inputs: &Inputs,
    table: &mut Table,
    recipe: &Recipe,
    observer: Watcher,
) -> Result<BTreeMap<usize, u64>, Halt> {
    exact::repeated(table);
    if let Some(verdicts) = &recipe.verdicts {
        table.drop_where(|row, _| (!verdicts.contains(&row.verdict)).then_some(Reason::Verdict(row.verdict)));
    }
    table.drop_where(|row, _| {
        let lengths = [
            (recipe.prompt_tokens, row.prompt_tokens, "prompt tokens"),
            (recipe.completion_tokens, row.completion_tokens, "completion tokens"),
            (recipe.trace_words, row.words, "words"),
        ];
        let outside = lengths.into_iter().find(|(window, found, _)| window.is_some_and(|window| !window.holds(*found)));
        outside.map(|(_, found, what)| Reason::Length { what, found })
    });
    table.drop_where(|row, problems| problems[row.problem as usize].overlap.map(Reason::Contaminated));
    if let Some(window) = &recipe.pass_rate {
        let quotas = inputs.readers.iter().flat_map(|reader| reader.manifest().quotas()).collect();
        pass_rate::apply(table, window, &quotas)?;
    }
    let near = recipe.near_duplicates;
    for (unit, near) in [(Unit::Problems, near.problems), (Unit::Traces, near.traces)] {
        if recipe.deduplicate.contains(&unit) {
            exact::apply(table, unit);
        }
        if let Some(near) = near {
            observer.remark(&format!("comparing {} that may be near-duplicates", unit.name()));
            near::apply(inputs, table, unit, &near, observer)?;
        }
    }
    if let Some(rule) = &recipe.per_problem {
        pick::apply(inputs, table, rule, observer)?;
    }
    Ok(match &recipe.mix {
        Some(mix) => mix::apply(table, mix, recipe.seed)?,
        None => BTreeMap::new(),
    })
}

/// Writes every row with what was decided of it.
fn write(
    inputs: &Inputs,
    table: &Table,
    benchmarks: &Benchmarks,
    recipe: &Recipe,
    repeats: &BTreeMap<usize, u64>,
    writer: &mut DerivedWriter,
    observer: Watcher,
) -> Result<(), Halt> {
    observer.started("writing", Some(table.rows.len() as u64), "rows");
    let (mut place, mut kept) = (0, 0u64);
    for some in inputs.parts().chunks(rayon::current_num_threads()) {
        go_on(observer)?;
        let read = some.par_iter().map(|&(dataset, part)| inputs.readers[dataset].part(part));
        for sample in read.collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
            let row = &table.rows[place];
            let drop_reason = match row.reason {
                _ if row.kept => String::new(),
                Some(reason) => reason.text(table, benchmarks, recipe.mix.as_ref()),
                None => sample.drop_reason,
            };
            let sample = Sample { kept: row.kept, drop_reason, ..sample };
            for _ in 1..repeats.get(&place).copied().unwrap_or(1) {
                writer.push(sample.clone())?;
            }
            writer.push(sample)?;
            place += 1;
            kept += u64::from(row.kept);
        }
        observer.advanced(place as u64, &format!("{kept} kept"));
    }
    observer.finished(&format!("{place} rows, {kept} kept"));
    Ok(())
}
