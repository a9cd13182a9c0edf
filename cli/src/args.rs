//! The command line: names, help and examples; nothing is computed here.

mod bench;
mod datagen;
mod exchange;
mod model;

pub use bench::{
    Bench, BenchCurate, BenchDecode, BenchDraft, BenchExperts, BenchGrade, BenchMatmul, BenchQuality, BenchStatistics,
    BenchTrain, Measurement,
};
pub use datagen::{Datagen, DatagenRun, Merge, Page, Select, Show};
pub use exchange::{Batch, BatchRead, BatchRun, BatchWrite, Export, Import};
pub use model::{Generate, Model};

use crate::endpoint::Here;
use clap::{Args, Parser, Subcommand};
use retort_datagen::sources::Selection;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Distil a reasoning teacher into a small student.
#[derive(Debug, Parser)]
#[command(name = "retort", version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole pipeline at once: embedded teacher, traces, student, control, report; nothing to download
    #[command(after_help = "Example:\n  retort quickstart --out demo")]
    Quickstart(Quickstart),
    /// Train teachers
    #[command(subcommand)]
    Teacher(Teacher),
    /// Start students: from nothing, from a teacher, or trained from scratch
    #[command(subcommand)]
    Student(Student),
    /// Look into and run a model
    #[command(subcommand)]
    Model(Model),
    /// Generate reasoning traces, verified, as an Arrow dataset
    #[command(subcommand)]
    Datagen(Datagen),
    /// Fine-tune students on traces
    #[command(subcommand)]
    Distill(Distill),
    /// Score models and compare them
    #[command(subcommand)]
    Evals(Evals),
    /// Serve a model as an OpenAI-compatible endpoint
    #[command(after_help = "Example:\n  retort serve --model embedded --addr 127.0.0.1:8080")]
    Serve(Serve),
    /// Measure the speed of this machine; one JSON line for each measurement
    Bench(Bench),
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Model folder, `hub:org/name[@revision]`, or `embedded`
    #[arg(long)]
    pub model: String,
    /// Where to listen; an address that other machines can reach needs a key
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub addr: std::net::SocketAddr,
    /// The model's name in the protocol; without it, what `--model` says
    #[arg(long)]
    pub name: Option<String>,
    /// The environment variable that holds the API key; without it, `RETORT_API_KEY` where that is set
    #[arg(long, value_name = "NAME", conflicts_with = "key_file")]
    pub key_env: Option<String>,
    /// A file that holds the API key
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    #[command(flatten)]
    pub place: crate::device::Place,
}

#[derive(Debug, Args)]
pub struct Quickstart {
    /// Folder for everything; a second run continues there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seed of problems, sampling and training
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Change one key of the recipe, such as `traces.limit=300` or `student.epochs=1`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub on: crate::device::On,
}

#[derive(Debug, Subcommand)]
pub enum Teacher {
    /// Pretrain a small DeepSeek-style teacher (MLA, MoE, MTP) on the gym
    #[command(
        after_help = "Example:\n  retort teacher train --recipe teacher/recipes/embedded.toml --out runs/teacher"
    )]
    Train(Pretrain),
}

#[derive(Debug, Subcommand)]
pub enum Student {
    /// Pretrain a small dense student on the gym
    #[command(after_help = "Example:\n  retort student train --recipe student/recipes/embedded.toml --out runs/base")]
    Train(Pretrain),
    /// A student to be trained: a preset's shape, with fresh weights or a teacher's where they fit
    ///
    /// Presets: 1m, 3m, 10m, 30m, smollm2-135m, smollm2-360m, qwen2.5-0.5b, qwen3-0.6b, qwen2.5-1.5b.
    #[command(after_help = "Examples:\n  retort student init --preset 3m --vocabulary embedded --out fresh\n  \
                            retort student init --preset qwen3-0.6b --vocabulary teacher --from teacher --layers 0,9,18 --out student")]
    Init(StudentInit),
}

#[derive(Debug, Args)]
pub struct StudentInit {
    #[arg(long, value_name = "NAME", value_parser = crate::commands::preset)]
    pub preset: &'static retort_student::presets::Preset,
    /// The model whose tokenizer and chat template the student takes: a folder, `hub:org/name` or `embedded`
    #[arg(long, value_name = "MODEL")]
    pub vocabulary: String,
    /// A model whose weights the student takes where names and shapes agree: embedding, head, norms, layers
    #[arg(long, value_name = "MODEL")]
    pub from: Option<String>,
    /// The teacher's layers to take, separated by commas; without it, evenly spaced ones
    #[arg(long, value_delimiter = ',', requires = "from")]
    pub layers: Option<Vec<usize>>,
    /// Seed of the fresh weights
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Pretrain {
    /// The recipe, a TOML file
    #[arg(long, value_name = "FILE")]
    pub recipe: PathBuf,
    /// Folder for the model, its checkpoints and metrics; a second run continues there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Change one key of the recipe, such as `train.steps=100`; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub on: crate::device::On,
}

/// What is read of a dataset's folder.
#[derive(Debug, Args)]
pub struct DatasetPart {
    /// The config of a dataset's folder, where it has several
    #[arg(long, value_name = "NAME")]
    pub config: Option<String>,
    /// The split of a dataset's folder, where it has several
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
}

impl DatasetPart {
    pub fn selection(&self) -> Selection {
        Selection { config: self.config.clone(), split: self.split.clone() }
    }
}

/// Settings that `datagen run` and `evals run` share.
#[derive(Debug, Args)]
pub struct Asking {
    #[command(flatten)]
    pub place: crate::device::Place,
    /// Samples per problem
    #[arg(short = 'n', value_name = "N")]
    pub n: Option<u32>,
    /// At most this many problems
    #[arg(long)]
    pub limit: Option<NonZeroUsize>,
    #[command(flatten)]
    pub part: DatasetPart,
    #[arg(long)]
    pub seed: Option<u64>,
    /// Seconds that completions in flight may still take after Ctrl-C
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub grace: u64,
    /// The recipe, a TOML file; without it, DeepSeek-R1's sampling (temperature 0.6, top-p 0.95)
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Change one key of the recipe, such as `sampling.max_tokens=256`; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Asking {
    /// Where and within what a model runs that is no endpoint.
    pub fn here(&self) -> Here {
        Here { place: self.place, beside_student: false }
    }
}

#[derive(Debug, Subcommand)]
pub enum Distill {
    /// Fine-tune a student on the kept traces of a dataset, or let it learn from reward, then score it
    #[command(after_help = "Examples:\n  retort distill run --student embedded --traces traces --out student\n  \
                      retort distill run --student embedded --teacher embedded --traces traces --out student \\\n    \
                      --recipe distill/recipes/kl.toml\n  \
                      retort distill run --student embedded --problems gym:modular@1 --limit 1600 --out rewarded \\\n    \
                      --recipe distill/recipes/reward.toml")]
    Run(Box<DistillRun>),
}

#[derive(Debug, Args)]
pub struct DistillRun {
    /// Model folder, `hub:org/name[@revision]`, `embedded`, or `preset:NAME` for a fresh one with the teacher's tokens
    #[arg(long)]
    pub student: String,
    /// A dataset folder
    #[arg(long, value_name = "DIR", required_unless_present = "problems")]
    pub traces: Option<PathBuf>,
    /// What a recipe with `[reward]` learns from in place of traces: `gym`, `gym:FAMILY@LEVEL`, a file or dataset folder
    #[arg(long, value_name = "FILE|gym", conflicts_with = "traces")]
    pub problems: Option<String>,
    /// The first so many of the problems; of the gym 300 where nothing is said
    #[arg(long, value_name = "N", requires = "problems")]
    pub limit: Option<usize>,
    #[command(flatten)]
    pub part: DatasetPart,
    /// The model that an objective beyond `cross_entropy` asks while training: a folder, `hub:org/name[@revision]`,
    /// `embedded`, or the URL of an endpoint that echoes tokens, for losses that need no more than log-probabilities of
    /// the likeliest 20 and of given ones; without it, what the traces captured
    #[arg(long)]
    pub teacher: Option<String>,
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The recipe, a TOML file; without it, the one of the quickstart
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Change one key of the recipe, such as `epochs=3`; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Say what would be trained on and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Do not score the student at the end
    #[arg(long)]
    pub no_eval: bool,
    #[command(flatten)]
    pub on: crate::device::On,
    #[command(flatten)]
    pub endpoint: crate::endpoint::EndpointArgs,
}

#[derive(Debug, Subcommand)]
pub enum Evals {
    /// Score a model on a benchmark; a second run on the same folder continues
    #[command(after_help = "Examples:\n  retort evals run --model embedded --benchmark gym --out scores/teacher\n  \
                            retort evals run --model embedded --benchmark gsm8k/test.jsonl --limit 100 --out scores/gsm8k\n  \
                            retort evals run --model hub:org/name --benchmark math-500 --out scores/math-500\n  \
                            retort evals run --model DIR --benchmark arc-easy --data ai2_arc --out scores/arc-easy")]
    Run(Box<EvalsRun>),
    /// Set a student's run beside its teacher's, with intervals, as report.html and report.json
    #[command(
        after_help = "Example:\n  retort evals compare --teacher scores/teacher --student scores/student --out report"
    )]
    Compare(Compare),
    /// The benchmarks that come with the program, or the definition of one, to be copied and changed
    #[command(after_help = "Example:\n  retort evals benchmarks gsm8k > mine.toml")]
    Benchmarks { name: Option<String> },
    /// Judge the answers of a run anew, without its model: the verdicts of this version's verifiers
    #[command(after_help = "Example:\n  retort evals regrade scores/gsm8k --out scores/gsm8k-again")]
    Regrade(Regrade),
    /// Grade answers: {"gold": .., "answer": ..} per line in, {"verdict": "equal|not_equal|undecided", "reason": ..} out
    #[command(after_help = "Example:\n  retort evals grade pairs.jsonl")]
    Grade {
        /// A JSONL file
        #[arg(value_name = "FILE.jsonl")]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct EvalsRun {
    /// Model folder, `hub:org/name[@revision]`, `embedded`, or the URL of an OpenAI-compatible endpoint
    #[arg(long)]
    pub model: String,
    /// A benchmark by its name (`retort evals benchmarks`) or the TOML file that defines it; `gym` (its held-out side),
    /// `gym:FAMILY`, or a file or folder as `datagen run` reads them
    #[arg(long, value_name = "NAME|DEFINITION.toml|DATA")]
    pub benchmark: String,
    /// The benchmark's data, a file or the folder of a dataset; without it, the hub is asked
    #[arg(long, value_name = "FILE|DIR")]
    pub data: Option<PathBuf>,
    /// So many examples before each question in place of the definition's own number
    #[arg(long, value_name = "N")]
    pub shots: Option<usize>,
    /// Begin prompts that no chat template makes with the model's BOS token (lm-evaluation-harness: `add_bos_token=True`)
    #[arg(long)]
    pub bos: bool,
    /// Also write the results in the files of lm-evaluation-harness
    #[arg(long, value_name = "DIR")]
    pub harness_out: Option<PathBuf>,
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// One JSON document instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub asking: Asking,
    #[command(flatten)]
    pub endpoint: crate::endpoint::EndpointArgs,
}

#[derive(Debug, Args)]
pub struct Regrade {
    /// Folder of a finished eval run; it stays as it is
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Where the run goes with its new verdicts
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// One JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Compare {
    /// Folder of the teacher's eval run
    #[arg(long, value_name = "RUN")]
    pub teacher: PathBuf,
    /// Folder of the student's eval run
    #[arg(long, value_name = "RUN")]
    pub student: PathBuf,
    /// The student before distillation
    #[arg(long, value_name = "RUN")]
    pub base: Option<PathBuf>,
    /// The student trained on answers alone
    #[arg(long, value_name = "RUN")]
    pub control: Option<PathBuf>,
    /// A run of one of these models with another `sampling.thinking_budget` or `sampling.max_tokens`: a point of its curve of
    /// accuracy against tokens
    #[arg(long, value_name = "RUN")]
    pub budget: Vec<PathBuf>,
    /// Folders of training runs whose learning curves the page shows, such as the seeds of one
    #[arg(long, value_name = "RUN", num_args = 1..)]
    pub curves: Vec<PathBuf>,
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print report.json instead of the table
    #[arg(long)]
    pub json: bool,
}
