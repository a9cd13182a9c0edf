//! Arguments of `retort datagen export`, `import` and `batch`.

use super::{Asking, DatasetPart};
use clap::{Args, Subcommand};
use retort_datagen::exchange::{Format, Think};
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Export {
    /// A dataset folder
    pub dir: PathBuf,
    /// parquet or jsonl (every column), messages, sharegpt, prompt-completion, openr1 (a row per problem), or axolotl-kd
    /// (with captured log-probabilities)
    #[arg(long, value_parser = format)]
    pub format: Format,
    /// The file to write; one that is there is not overwritten
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Rows that are not kept for training, too
    #[arg(long)]
    pub all: bool,
    /// How thinking is written: tags (`<think>`, the default), none, separate (a field of its own), begin-of-thought
    /// (OpenThoughts), im-start (s1) or answer-tags (AM-DeepSeek)
    #[arg(long, value_parser = think)]
    pub think: Option<Think>,
}

#[derive(Debug, Args)]
pub struct Import {
    /// A file or the folder of a dataset, of any kind that `datagen run --problems` reads
    pub source: PathBuf,
    /// The shape of its rows: messages, sharegpt, prompt-completion, openr1, or parquet or jsonl (every column, as
    /// `datagen export` writes them)
    #[arg(long, value_parser = format)]
    pub format: Format,
    /// Folder of the new dataset
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub part: DatasetPart,
    /// At most this many rows
    #[arg(long)]
    pub limit: Option<NonZeroUsize>,
    /// Keep rows for training that nobody can verify, because they have no gold answer
    #[arg(long)]
    pub keep_unverified: bool,
    /// Model folder, `hub:org/name` or `embedded`: store the tokens in which this model would have written the texts
    #[arg(long, value_name = "MODEL")]
    pub tokenizer: Option<String>,
    /// Name a column, such as `problems.answer=ground_truth_solution`; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Batch {
    /// Write the requests of a run as a file in OpenAI's batch format, which `vllm run-batch` reads too
    #[command(
        after_help = "Example:\n  retort datagen batch write --problems gsm8k/train.jsonl --teacher-model deepseek-ai/DeepSeek-R1 \
                      -n 4 --out requests.jsonl"
    )]
    Write(BatchWrite),
    /// Store the results of such a file, verified, as the dataset of that run; more results continue it
    #[command(after_help = "Example:\n  retort datagen batch read results.jsonl --problems gsm8k/train.jsonl \
                      --teacher-model deepseek-ai/DeepSeek-R1 -n 4 --out traces")]
    Read(BatchRead),
}

/// What decides the requests; both commands need the same.
#[derive(Debug, Args)]
pub struct BatchRun {
    /// A file, the folder of a dataset, or `gym...`, as for `datagen run`
    #[arg(long)]
    pub problems: String,
    /// The model's name at the server
    #[arg(long, visible_alias = "model-name", value_name = "NAME")]
    pub teacher_model: String,
    #[command(flatten)]
    pub asking: Asking,
}

#[derive(Debug, Args)]
pub struct BatchWrite {
    #[command(flatten)]
    pub run: BatchRun,
    /// The file to write; one that is there is not overwritten
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct BatchRead {
    /// A file of results, one a line
    #[arg(value_name = "FILE.jsonl")]
    pub results: PathBuf,
    #[command(flatten)]
    pub run: BatchRun,
    /// Folder of the dataset; with more results the same command continues it
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

fn format(text: &str) -> Result<Format, String> {
    let found = Format::ALL.into_iter().find(|format| format.as_str() == text);
    found.ok_or_else(|| format!("there are {}", Format::ALL.map(Format::as_str).join(", ")))
}

fn think(text: &str) -> Result<Think, String> {
    let found = Think::ALL.into_iter().find(|think| think.as_str() == text);
    found.ok_or_else(|| format!("there are {}", Think::ALL.map(Think::as_str).join(", ")))
}
