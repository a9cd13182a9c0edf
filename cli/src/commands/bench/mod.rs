//! `retort bench ...`: how fast this machine runs models, what drafts save, what reading experts from disk and what
//! packing weights cost, how fast traces are curated, answers graded and questions resampled.

mod curate;
mod decode;
mod draft;
mod experts;
mod grade;
mod matmul;
mod quality;
mod shapes;
mod statistics;
mod train;

pub use shapes::{Shape, TrainShape};
pub use train::Goal;

use crate::args::{Bench, Measurement};
use anyhow::Result;
use clap::ValueEnum;
use retort_kernels::{Bits, Instructions, limit_instructions};
use retort_model::cache::Precision;
use retort_model::checkpoint::NumberFormat;
use retort_model::workers::inside;
use std::process::ExitCode;

/// `--instructions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MostInstructions {
    Portable,
    Avx2,
    Avx512,
}

impl From<MostInstructions> for Instructions {
    fn from(most: MostInstructions) -> Self {
        match most {
            MostInstructions::Portable => Self::Portable,
            MostInstructions::Avx2 => Self::Avx2,
            MostInstructions::Avx512 => Self::Avx512,
        }
    }
}

/// How weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Quant {
    /// Blocks of 32 with 4 bits each and a scale: 4.5 bits a weight
    Q4,
    /// Blocks of 32 with 8 bits each and a scale: 8.5 bits a weight
    Q8,
    Bf16,
    Fp8,
}

impl Quant {
    fn format(self) -> NumberFormat {
        match self {
            Self::Q4 => NumberFormat::Quantised(Bits::Four),
            Self::Q8 => NumberFormat::Quantised(Bits::Eight),
            Self::Bf16 => NumberFormat::Bf16,
            Self::Fp8 => NumberFormat::Fp8,
        }
    }

    fn bits_per_weight(self) -> f64 {
        match self {
            Self::Q4 => 4.5,
            Self::Q8 => 8.5,
            Self::Bf16 => 16.0,
            Self::Fp8 => 8.0,
        }
    }

    /// The name on the command line.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
    }
}

/// How the cache keeps its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CacheNumbers {
    F32,
    Bf16,
}

impl CacheNumbers {
    fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

pub fn run(command: Bench) -> Result<ExitCode> {
    if let Some(most) = command.instructions {
        limit_instructions(most.into());
    }
    match command.what {
        Measurement::Curate(args) => curate::run(&args),
        Measurement::Grade(args) => grade::run(&args),
        Measurement::Statistics(args) => statistics::run(&args),
        Measurement::Decode(args) => inside(|| decode::run(&args)),
        Measurement::Draft(args) => draft::run(&args),
        Measurement::Experts(args) => experts::run(&args),
        Measurement::Matmul(args) => matmul::run(&args),
        Measurement::Quality(args) => quality::run(&args),
        Measurement::Train(args) => train::run(&args),
    }
}
