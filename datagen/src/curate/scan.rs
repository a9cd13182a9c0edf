//! Reading the inputs once, part by part, into the numbers that the steps work with.

use super::contamination::Benchmarks;
use super::halt::{Halt, Watcher, go_on};
use super::recipe::Recipe;
use super::shingles::Sketch;
use super::table::{Problem, Row, Table};
use super::words::{same_text, words};
use crate::Error;
use crate::columns::Columns;
use crate::sample::Verdict;
use crate::store::TraceReader;
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::PathBuf;

/// In the order of the schema, as the reader of projections asks.
const COLUMNS: [&str; 12] = [
    "run_id",
    "uuid",
    "sample",
    "problem",
    "reasoning",
    "response",
    "verdict",
    "verdict_reason",
    "kept",
    "drop_reason",
    "prompt_tokens",
    "completion_tokens",
];

/// The datasets of a curation.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) readers: Vec<TraceReader>,
}

/// What is looked at in every text.
pub(super) struct Lens<'a> {
    pub(super) benchmarks: &'a Benchmarks,
    problems: Option<Sketch>,
    traces: Option<Sketch>,
}

impl<'a> Lens<'a> {
    pub(super) fn new(recipe: &Recipe, benchmarks: &'a Benchmarks) -> Self {
        let sketch = |near| Sketch::new(near, recipe.seed);
        let near = &recipe.near_duplicates;
        Self { benchmarks, problems: near.problems.map(sketch), traces: near.traces.map(sketch) }
    }
}

/// The rows of a part; runs and problems are those of the part, by their places in it.
struct Part {
    runs: Vec<String>,
    problems: Vec<Problem>,
    rows: Vec<Row>,
}

impl Inputs {
    pub(super) fn open(dirs: &[PathBuf]) -> Result<Self, Error> {
        Ok(Self { readers: dirs.iter().map(|dir| TraceReader::open(dir)).collect::<Result<_, _>>()? })
    }

    pub(super) fn rows(&self) -> u64 {
        self.readers.iter().map(TraceReader::rows).sum()
    }

    /// (dataset, part), in order.
    pub(super) fn parts(&self) -> Vec<(usize, usize)> {
        let parts = |(dataset, reader): (usize, &TraceReader)| (0..reader.parts()).map(move |part| (dataset, part));
        self.readers.iter().enumerate().flat_map(parts).collect()
    }

    /// The table of all rows.
    pub(super) fn scan(&self, lens: &Lens, observer: Watcher) -> Result<Table, Halt> {
        observer.started("reading", Some(self.rows()), "rows");
        let mut table =
            Table { datasets: self.readers.iter().map(|reader| reader.dir().to_owned()).collect(), ..Table::default() };
        let (mut runs, mut problems) = (HashMap::new(), HashMap::new());
        for some in self.parts().chunks(2 * rayon::current_num_threads()) {
            go_on(observer)?;
            let read = some.par_iter().map(|&(dataset, part)| self.part(dataset, part, lens));
            for (&(dataset, part), rows) in some.iter().zip(read.collect::<Result<Vec<_>, _>>()?) {
                table.parts.push((dataset, part, table.rows.len()));
                add(&mut table, rows, &mut runs, &mut problems);
            }
            observer.advanced(table.rows.len() as u64, &format!("{} problems", table.problems.len()));
        }
        observer.finished(&format!("{} rows, {} problems", table.rows.len(), table.problems.len()));
        Ok(table)
    }

    fn part(&self, dataset: usize, part: usize, lens: &Lens) -> Result<Part, Error> {
        let reader = &self.readers[dataset];
        let columns = Columns::read(reader, part, &COLUMNS)?;
        let [runs, uuids, questions, reasoning, responses, verdicts, verdict_reasons, drop_reasons] =
            ["run_id", "uuid", "problem", "reasoning", "response", "verdict", "verdict_reason", "drop_reason"]
                .map(|name| columns.texts(name));
        let (runs, uuids, questions, reasoning, responses) = (runs?, uuids?, questions?, reasoning?, responses?);
        let (verdicts, verdict_reasons, drop_reasons) = (verdicts?, verdict_reasons?, drop_reasons?);
        let (samples, kept) = (columns.counts("sample")?, columns.flags("kept")?);
        let (prompt_tokens, completion_tokens) =
            (columns.counts("prompt_tokens")?, columns.counts("completion_tokens")?);

        let mut read = Part { runs: Vec::new(), problems: Vec::new(), rows: Vec::with_capacity(columns.rows()) };
        let mut question = Vec::new();
        for at in 0..columns.rows() {
            // Rows of a run and of a problem come one after another.
            if read.runs.last().is_none_or(|run| run != runs[at]) {
                read.runs.push(runs[at].to_owned());
            }
            if read.problems.last().is_none_or(|problem| problem.uuid != uuids[at]) {
                question = words(questions[at]);
                read.problems.push(Problem {
                    uuid: uuids[at].to_owned(),
                    text: same_text([questions[at]]),
                    words: question.len() as u32,
                    bands: lens.problems.as_ref().map_or_else(Box::default, |sketch| sketch.bands(&question).into()),
                    overlap: lens.benchmarks.overlap(&question),
                    row: at,
                });
            }
            let trace: Vec<u64> = words(reasoning[at]).into_iter().chain(words(responses[at])).collect();
            let bands = |sketch: &Sketch| sketch.bands(&[&question[..], &trace].concat()).into_boxed_slice();
            read.rows.push(Row {
                dataset: dataset as u32,
                run: read.runs.len() as u32 - 1,
                problem: read.problems.len() as u32 - 1,
                sample: samples[at],
                verdict: Verdict::parse(verdicts[at]).unwrap_or(Verdict::Undecided),
                kept: kept[at],
                rejected: !kept[at] && drop_reasons[at] == verdict_reasons[at],
                prompt_tokens: prompt_tokens[at],
                completion_tokens: completion_tokens[at],
                words: trace.len() as u32,
                text: same_text([reasoning[at], responses[at]]),
                bands: lens.traces.as_ref().map_or_else(Box::default, bands),
                reason: None,
            });
        }
        Ok(read)
    }
}

/// Appends a part's rows, with the places that its runs and problems have among all.
fn add(table: &mut Table, part: Part, runs: &mut HashMap<String, u32>, problems: &mut HashMap<String, u32>) {
    let first = table.rows.len();
    let runs: Vec<u32> = part
        .runs
        .into_iter()
        .map(|run| {
            *runs.entry(run).or_insert_with_key(|run| {
                table.runs.push(run.clone());
                table.runs.len() as u32 - 1
            })
        })
        .collect();
    let places: Vec<u32> = part
        .problems
        .into_iter()
        .map(|problem| {
            *problems.entry(problem.uuid.clone()).or_insert_with(|| {
                table.problems.push(Problem { row: first + problem.row, ..problem });
                table.problems.len() as u32 - 1
            })
        })
        .collect();
    table.rows.extend(part.rows.into_iter().map(|row| Row {
        run: runs[row.run as usize],
        problem: places[row.problem as usize],
        ..row
    }));
}
