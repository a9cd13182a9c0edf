//! The command line of `retort bench`.

use clap::{Args, Subcommand};
use retort_distill::trainer::{MomentFormat, Precision};
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Bench {
    /// The most vector instructions that kernels may use, of those that this machine has; products in f32 are the `gemm`
    /// crate's, which uses what it finds
    #[arg(long, global = true, value_enum)]
    pub instructions: Option<crate::commands::MostInstructions>,
    #[command(subcommand)]
    pub what: Measurement,
}

#[derive(Debug, Subcommand)]
pub enum Measurement {
    /// Prefill and decode with random weights of a known shape, every sequence fed random tokens
    #[command(after_help = "Example:\n  retort bench decode --shape mini --quant q4 --batch 1,8,32")]
    Decode(BenchDecode),
    /// What packing a model's matrices does to its predictions: KL divergence per token from the model as it is
    #[command(after_help = "Example:\n  retort bench quality --model embedded --quant q8,q4")]
    Quality(BenchQuality),
    /// What drafts from a model's multi-token-prediction module save: acceptance, and speed by turns with and without
    #[command(after_help = "Example:\n  retort bench draft --model embedded")]
    Draft(BenchDraft),
    /// Generation with experts on disk, first with nothing of the files in the system's cache, then once more
    #[command(after_help = "Example:\n  retort bench experts --model moonlight --memory 6G")]
    Experts(BenchExperts),
    /// The matrix products of training, one layer's three, in f32 and in bf16
    #[command(after_help = "Example:\n  retort bench matmul --shapes 1024x1024x1024,2048x256x704")]
    Matmul(BenchMatmul),
    /// The trainer on random tokens, with a student of a known shape
    #[command(after_help = "Example:\n  retort bench train --shape tiny")]
    Train(BenchTrain),
    /// How fast traces are curated with every step, and in how much memory
    #[command(after_help = "Example:\n  retort bench curate --rows 100000 --dir /tmp/curation")]
    Curate(BenchCurate),
    /// How long the grader takes over pairs of answers
    #[command(after_help = "Example:\n  retort bench grade pairs.jsonl")]
    Grade(BenchGrade),
    /// How long resampling the questions of a benchmark takes
    #[command(after_help = "Example:\n  retort bench statistics --questions 1319 --replicates 10000")]
    Statistics(BenchStatistics),
}

#[derive(Debug, Args)]
pub struct BenchStatistics {
    /// Questions that two models answered
    #[arg(long, default_value = "1319")]
    pub questions: NonZeroUsize,
    /// Draws of as many questions, and of signs of their differences
    #[arg(long, default_value = "10000")]
    pub replicates: u64,
}

#[derive(Debug, Args)]
pub struct BenchGrade {
    /// Pairs as `evals grade` reads them
    #[arg(value_name = "FILE.jsonl")]
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct BenchCurate {
    /// Rows of the synthetic dataset
    #[arg(long, default_value = "100000")]
    pub rows: u64,
    /// Where the dataset is written, and left for the next time
    #[arg(long)]
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct BenchDraft {
    /// Model folder, `hub:org/name` or `embedded`
    #[arg(long)]
    pub model: String,
    /// Sequences side by side
    #[arg(long, default_value = "1")]
    pub batch: NonZeroUsize,
    /// What the model answers, greedily
    #[arg(long, value_name = "FILE|gym:NAME", default_value = "gym")]
    pub problems: String,
    #[arg(long, default_value = "20")]
    pub limit: NonZeroUsize,
    /// Runs of each kind, whose median counts
    #[arg(long, default_value = "5")]
    pub repeats: NonZeroUsize,
}

#[derive(Debug, Args)]
pub struct BenchExperts {
    /// Model folder or `hub:org/name`, larger than the memory that it may take
    #[arg(long)]
    pub model: String,
    /// The most memory that the run may take, mapped files included
    #[arg(long, value_name = "SIZE", value_parser = crate::memory::parse)]
    pub memory: usize,
    /// Sequences side by side, each with a problem of its own
    #[arg(long, default_value = "1")]
    pub batch: NonZeroUsize,
    /// Tokens of each answer
    #[arg(long, default_value = "40")]
    pub new: NonZeroUsize,
    /// What the model answers, greedily
    #[arg(long, value_name = "FILE|gym:NAME", default_value = "gym")]
    pub problems: String,
}

#[derive(Debug, Args)]
pub struct BenchMatmul {
    /// Rows x input width x output width
    #[arg(long, value_delimiter = ',', value_parser = shape, default_value = "1024x1024x1024")]
    pub shapes: Vec<(usize, usize, usize)>,
}

fn shape(text: &str) -> Result<(usize, usize, usize), String> {
    let sides: Vec<usize> = text.split('x').map_while(|side| side.parse().ok().filter(|side| *side > 0)).collect();
    match sides[..] {
        [m, k, n] if text.split('x').count() == 3 => Ok((m, k, n)),
        _ => Err("three sizes, as in `1024x256x704`".into()),
    }
}

#[derive(Debug, Args)]
pub struct BenchTrain {
    #[command(flatten)]
    pub on: crate::device::On,
    #[arg(long, value_enum)]
    pub shape: crate::commands::TrainShape,
    /// Train low-rank updates of every projection instead of all weights
    #[arg(long)]
    pub lora: bool,
    /// Cross-entropy with tokens, or the KL divergence from a teacher's 32 likeliest
    #[arg(long, value_enum, default_value = "sft")]
    pub objective: crate::commands::Goal,
    /// `auto`, `f32` or `bf16`, as `precision` in a recipe
    #[arg(long, value_parser = precision, default_value = "auto")]
    pub precision: Precision,
    /// `f32` or `8bit`, as `optimiser.moments` in a recipe
    #[arg(long, value_parser = moments, default_value = "f32")]
    pub moments: MomentFormat,
    /// Sequences of a step, in place of the shape's own
    #[arg(long)]
    pub batch: Option<NonZeroUsize>,
    /// Tokens of a sequence, in place of the shape's own
    #[arg(long)]
    pub sequence: Option<NonZeroUsize>,
    /// The most tokens that go through the model at once, in place of all of a step's
    #[arg(long)]
    pub micro_batch: Option<NonZeroUsize>,
    /// Steps whose median counts, after one that does not
    #[arg(long, default_value = "5")]
    pub steps: NonZeroUsize,
}

fn moments(text: &str) -> Result<MomentFormat, String> {
    Ok(match text {
        "f32" => MomentFormat::F32,
        "8bit" => MomentFormat::Coded,
        _ => return Err("it takes `f32` or `8bit`".into()),
    })
}

fn precision(text: &str) -> Result<Precision, String> {
    Ok(match text {
        "auto" => Precision::Auto,
        "f32" => Precision::F32,
        "bf16" => Precision::Bf16,
        _ => return Err("it takes `auto`, `f32` or `bf16`".into()),
    })
}

#[derive(Debug, Args)]
pub struct BenchQuality {
    /// Model folder, `hub:org/name` or `embedded`
    #[arg(long)]
    pub model: String,
    /// One line for each
    #[arg(long, value_enum, value_delimiter = ',', default_value = "bf16,fp8,q8,q4")]
    pub quant: Vec<crate::commands::Quant>,
    /// What the model answers, greedily; its predictions along the answers are compared
    #[arg(long, value_name = "FILE|gym:NAME", default_value = "gym")]
    pub problems: String,
    #[arg(long, default_value = "60")]
    pub limit: NonZeroUsize,
}

#[derive(Debug, Args)]
pub struct BenchDecode {
    #[command(flatten)]
    pub on: crate::device::On,
    #[arg(long, value_enum)]
    pub shape: crate::commands::Shape,
    /// How the weights are kept
    #[arg(long, value_enum, default_value = "q4")]
    pub quant: crate::commands::Quant,
    /// How the cache is kept: bf16 unless the weights are f32
    #[arg(long, value_enum)]
    pub cache: Option<crate::commands::CacheNumbers>,
    /// Sequences side by side; one line for each
    #[arg(long, value_delimiter = ',', default_value = "1,8,32")]
    pub batch: Vec<NonZeroUsize>,
    /// Tokens, of random numbers, that each sequence has behind it before its prompt
    #[arg(long, default_value = "0")]
    pub past: usize,
    /// Tokens of each prompt
    #[arg(long, default_value = "128")]
    pub prompt: NonZeroUsize,
    /// Tokens decoded after it
    #[arg(long, default_value = "64")]
    pub new: NonZeroUsize,
    /// Time the log-probabilities of given texts of the prompts' length too
    #[arg(long)]
    pub score: bool,
}
