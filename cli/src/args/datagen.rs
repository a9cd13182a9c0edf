//! Arguments of `retort datagen`.

use super::{Asking, Batch, Export, Import};
use clap::{Args, Subcommand};
use retort_datagen::store::Slice;
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
    /// Traces as a person reads them
    #[command(after_help = "Example:\n  retort datagen show traces --limit 3 --verdict wrong")]
    Show {
        dir: PathBuf,
        #[arg(long, default_value_t = 1)]
        limit: usize,
        /// Only traces with this verdict, such as `right` or `wrong`
        #[arg(long)]
        verdict: Option<String>,
    },
    /// Check every file of a dataset against its checksum
    #[command(after_help = "Example:\n  retort datagen verify traces")]
    Verify { dir: PathBuf },
    /// Set damaged files of a dataset aside, so that its run can go on and ask for what was in them again
    #[command(after_help = "Example:\n  retort datagen repair traces")]
    Repair { dir: PathBuf },
    /// Put the parts of a run that was divided by `--shard` together
    #[command(after_help = "Example:\n  retort datagen merge part-0 part-1 part-2 --out traces")]
    Merge(Merge),
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
