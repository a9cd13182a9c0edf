//! Arguments of `retort datagen`.

use super::{Asking, Batch, Export, Import};
use clap::{Args, Subcommand};
use retort_datagen::sample::Verdict;
use retort_datagen::store::Slice;
use std::num::NonZeroU32;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Datagen {
    /// Generate, verify and store traces; a second run on the same folder continues
    #[command(
        after_help = "Examples:\n  retort datagen run --teacher embedded --problems gym --limit 300 -n 4 --out traces\n  \
                            retort datagen run --teacher embedded --problems gsm8k/test.jsonl --limit 50 -n 2 --out traces\n  \
                            retort datagen run --teacher embedded --problems gsm8k --config main --split train \
                            --set prompt.preset=r1 --out traces\n  \
                            retort datagen run --teacher http://localhost:8000/v1 --teacher-model deepseek-ai/DeepSeek-R1 \
                            --problems gsm8k/test.jsonl --out traces"
    )]
    Run(Box<DatagenRun>),
    /// Counts, verdicts, pass rates and lengths of a dataset
    #[command(after_help = "Example:\n  retort datagen stats traces")]
    Stats {
        dir: PathBuf,
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Traces as a person reads them; only those that every option given lets through
    #[command(after_help = "Examples:\n  retort datagen show traces --limit 3 --verdict wrong\n  \
                            retort datagen show curated --dropped --reason contaminated --limit 10")]
    Show(Box<Show>),
    /// One HTML page with a dataset's plots and some of its traces; it needs no network
    #[command(after_help = "Example:\n  retort datagen page traces --out traces.html")]
    Page(Page),
    /// Check every file of a dataset but its card against its checksum
    #[command(after_help = "Example:\n  retort datagen verify traces")]
    Verify { dir: PathBuf },
    /// Set damaged files of a dataset aside, so that its run can go on and ask for what was in them again
    #[command(after_help = "Example:\n  retort datagen repair traces")]
    Repair { dir: PathBuf },
    /// Put the parts of a run that was divided by `--shard` together
    #[command(after_help = "Example:\n  retort datagen merge part-0 part-1 part-2 --out traces")]
    Merge(Merge),
    /// Curate: a new dataset in which duplicates, contaminated, too easy and surplus traces are not kept
    #[command(
        after_help = "Examples:\n  retort datagen select traces --out curated --set 'decontaminate=[\"gsm8k/test.jsonl\"]'\n  \
                            retort datagen select traces --out curated --recipe datagen/recipes/curated.toml\n  \
                            retort datagen select math code --out both --set 'mix.weights=[2, 1]'"
    )]
    Select(Select),
    /// Write a dataset into a file of the shape that another program reads
    #[command(after_help = "Examples:\n  retort datagen export traces --format parquet --all --out traces.parquet\n  \
                            retort datagen export traces --format sharegpt --think begin-of-thought --out sharegpt.jsonl")]
    Export(Export),
    /// Make a dataset from the rows of another program, verified anew
    #[command(
        after_help = "Example:\n  retort datagen import OpenR1-Math-220k --format openr1 --split train --out traces"
    )]
    Import(Import),
    /// Have the requests of a run answered elsewhere: OpenAI's batch format
    #[command(subcommand)]
    Batch(Batch),
}

#[derive(Debug, Args)]
pub struct Select {
    /// The datasets, in the order in which duplicates give way to what came before
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The recipe, a TOML file; without it, exact duplicates go
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Change one key of the recipe, such as `per_problem.at_most=4`; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// One JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Show {
    pub dir: PathBuf,
    #[arg(long, default_value_t = 1)]
    pub limit: usize,
    /// Only traces with this verdict, such as `right` or `wrong`
    #[arg(long, value_parser = verdict)]
    pub verdict: Option<Verdict>,
    #[arg(long)]
    pub domain: Option<String>,
    #[arg(long)]
    pub difficulty: Option<String>,
    /// Only traces of this problem: its uuid or the beginning of it
    #[arg(long, value_name = "UUID")]
    pub problem: Option<String>,
    /// Only the samples with this number
    #[arg(long, value_name = "NUMBER")]
    pub sample: Option<u32>,
    /// Only traces that training may use
    #[arg(long, conflicts_with = "dropped")]
    pub kept: bool,
    /// Only traces that training may not use
    #[arg(long)]
    pub dropped: bool,
    /// Only traces whose reason, of the verdict or of the drop, holds this
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Only traces in whose question, thinking or response this stands, in any case
    #[arg(long)]
    pub text: Option<String>,
    /// One JSON object per trace and line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Page {
    pub dir: PathBuf,
    #[arg(long, value_name = "FILE.html")]
    pub out: PathBuf,
    /// Traces of every verdict, and of every cause for which traces were left out
    #[arg(long, value_name = "N", default_value_t = retort_datagen::page::EXAMPLES)]
    pub examples: usize,
}

#[derive(Debug, Args)]
pub struct Merge {
    /// Every part, in any order, each finished
    #[arg(required = true, value_name = "DIR")]
    pub parts: Vec<PathBuf>,
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct DatagenRun {
    /// Model folder, `hub:org/name[@revision]`, `embedded`, or the URL of an OpenAI-compatible endpoint
    #[arg(long)]
    pub teacher: String,
    /// A JSONL, CSV, Parquet or Arrow file, the folder of a dataset, or `gym`, `gym:FAMILY,...`, `gym:FAMILY@LEVEL` (its
    /// training side)
    #[arg(long)]
    pub problems: String,
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Do only part I of N, counted from 0, such as `$SLURM_ARRAY_TASK_ID/8`; `datagen merge` puts the parts together
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<Slice>,
    /// Stop a problem once so many of its samples, counted in their order, are right
    #[arg(long, value_name = "Q")]
    pub quota: Option<NonZeroU32>,
    #[command(flatten)]
    pub asking: Asking,
    #[command(flatten)]
    pub endpoint: crate::endpoint::EndpointArgs,
}

fn shard(text: &str) -> Result<Slice, String> {
    let numbers = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
    match numbers {
        Some((index, of)) if index < of => Ok(Slice { index, of }),
        _ => Err("write `I/N`, with I from 0 to N - 1".into()),
    }
}

fn verdict(name: &str) -> Result<Verdict, String> {
    Verdict::parse(name).ok_or_else(|| format!("there are {}", Verdict::ALL.map(Verdict::as_str).join(", ")))
}
