//! Why runs could not be scored, compared or written.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The part that a run plays in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The model that wrote the traces.
    Teacher,
    /// The student before distillation.
    Base,
    /// The same start, problems and steps, trained on final answers without the reasoning.
    Control,
    /// The student after distillation.
    Student,
}

impl Role {
    /// Every role, in the order in which reports list them.
    pub const ALL: [Self; 4] = [Self::Teacher, Self::Base, Self::Control, Self::Student];

    /// The name as it stands in `report.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Teacher => "teacher",
            Self::Base => "base",
            Self::Control => "control",
            Self::Student => "student",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{left} and {right} were not asked alike: `{setting}` is {left_value} and {right_value}")]
    SettingsDiffer { left: Role, right: Role, setting: &'static str, left_value: String, right_value: String },
    #[error("the {run} run is not finished: it has {samples} of {planned} samples")]
    Unfinished { run: String, samples: u64, planned: u64 },
    #[error("`{generator}` is none of the models that are compared, so its run is no point of their curves")]
    OtherModel { generator: String },
    #[error("the {run} run holds no samples")]
    EmptyRun { run: String },
    #[error("the {run} run holds sample {sample} of problem `{uuid}` twice (run id `{run_id}`)")]
    DuplicateSample { run: String, run_id: String, uuid: String, sample: u32 },
    #[error("the {run} run mixes samples of two models, `{first}` and `{second}`")]
    MixedGenerators { run: String, first: String, second: String },
    #[error(
        "the problem sets differ: {left} has {left_problems} problems and {right} has {right_problems}, {only_left} only in {left} and \
         {only_right} only in {right} (first: `{example}`)"
    )]
    ProblemSetsDiffer {
        left: Role,
        right: Role,
        left_problems: usize,
        right_problems: usize,
        only_left: usize,
        only_right: usize,
        example: String,
    },
    #[error("problem `{uuid}` is filed under `{left_label}` by {left} and under `{right_label}` by {right}")]
    LabelsDiffer { uuid: String, left: Role, left_label: String, right: Role, right_label: String },
    #[error("the benchmark `{name}` has no problems")]
    EmptyBenchmark { name: String },
    #[error("the benchmark `{name}` holds problem `{uuid}` twice")]
    DuplicateProblem { name: String, uuid: String },
    #[error("the benchmark `{name}` sets {setting} to {found}, and it must be {expected}")]
    BadSetting { name: String, setting: &'static str, found: String, expected: &'static str },
    #[error("`{origin}` defines no benchmark: {field}: {reason}")]
    BadDefinition { origin: String, field: String, reason: String },
    #[error(transparent)]
    Data(Box<retort_datagen::Error>),
    #[error("{place} makes no question: {reason}")]
    BadRow { place: String, reason: String },
    #[error("`{path}` is a single file, and examples come from the split `{split}` of the same data")]
    NoExamples { path: PathBuf, split: String },
    #[error("a question of `{benchmark}` has no options whose likelihood could be told")]
    NoChoices { benchmark: String },
    #[error("an option of a question of `{benchmark}` alone fills the model's context of {context} tokens")]
    ChoiceTooLong { benchmark: String, context: usize },
    #[error("the model could not be asked")]
    Model(#[from] retort_model::Error),
    #[error("the model could not be asked")]
    Score(#[from] retort_model::score::ScoreError),
    #[error("`{path}` holds answers of another run: there {there}, here {here}")]
    OtherLikelihoods { path: PathBuf, there: String, here: String },
    #[error("line {line} of `{path}` is damaged: {reason}")]
    DamagedLikelihoods { path: PathBuf, line: usize, reason: String },
    #[error("`{path}` could not be {action}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{folder}` holds no training run: its `metrics.jsonl` is missing or empty")]
    NoMetrics { folder: PathBuf },
    #[error("line {line} of `{path}` is damaged: {reason}")]
    DamagedMetrics { path: PathBuf, line: usize, reason: String },
    #[error("`{path}` does not say which problems share a stem")]
    BadStems {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("`{path}` is not a report")]
    BadReport {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("`{path}` has the format `{found}`, expected `{expected}`")]
    OtherFormat { path: PathBuf, expected: &'static str, found: String },
    #[error("the report could not be turned into JSON")]
    Unserialisable(#[source] serde_json::Error),
}

impl From<retort_datagen::Error> for Error {
    fn from(error: retort_datagen::Error) -> Self {
        Self::Data(Box::new(error))
    }
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::SettingsDiffer { .. } => Some("score both models with the same settings".into()),
            Self::Unfinished { .. } => Some("start it again on the same folder: it continues".into()),
            Self::OtherModel { .. } => Some("`--budget` takes runs of these models with another `thinking_budget` or `max_tokens`".into()),
            Self::EmptyRun { .. } => Some("run the benchmark first, or name the folder of a run that has finished".into()),
            Self::DuplicateSample { .. } => Some("give each run its own folder, or verify the folder that was merged".into()),
            Self::MixedGenerators { .. } => Some("compare runs of one model each".into()),
            Self::ProblemSetsDiffer { .. } => {
                Some("run both models on the same benchmark with the same limit and seed; an interrupted run continues when started again".into())
            }
            Self::LabelsDiffer { .. } => Some("run both models on the same problem file".into()),
            Self::EmptyBenchmark { .. } => Some("check the problem file and the limit".into()),
            Self::DuplicateProblem { .. } => Some("remove the repeated line from the problem file".into()),
            Self::BadSetting { .. } | Self::BadDefinition { .. } | Self::Score(_) => None,
            Self::Data(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::BadRow { .. } => Some("the data must have the columns that the definition names: compare a row with it".into()),
            Self::NoExamples { .. } => Some("name the folder that holds both splits".into()),
            Self::NoChoices { .. } => Some("give the definition an `[options]` section".into()),
            Self::ChoiceTooLong { .. } => Some("take a model with a longer context".into()),
            Self::OtherLikelihoods { .. } => Some("use another output folder".into()),
            Self::DamagedLikelihoods { .. } => Some("remove the file and run again".into()),
            Self::Io { .. } => Some("check that the folder exists, can be written to and has space left".into()),
            Self::NoMetrics { .. } | Self::DamagedMetrics { .. } => {
                Some("`--curves` takes folders that `distill run`, `teacher train` or `student train` wrote".into())
            }
            Self::BadStems { .. } => Some("run the benchmark on the same folder again: it is written anew".into()),
            Self::BadReport { .. } | Self::OtherFormat { .. } => Some("compare the runs again to write a new `report.json`".into()),
            Self::Unserialisable(_) => None,
        }
    }
}
