//! Why a training run stopped.

use candle_core::Device;
use retort_model::score::ScoreError;
use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the {what} of step {step} is not finite: {value}")]
    NotFinite { what: &'static str, step: u64, value: f64 },
    #[error("the loss of step {step} is {loss:.4}, {:.1} times the mean of the steps before it ({mean:.4})", loss / mean)]
    Diverged { step: u64, loss: f64, mean: f64 },
    #[error("step {step} has no token to learn from")]
    EmptyStep { step: u64 },
    #[error("`{field}` = {value} is out of range: {allowed}")]
    Setting { field: &'static str, value: String, allowed: &'static str },
    #[error("`{path}` holds another run: {differences}")]
    OtherRun { path: PathBuf, differences: String },
    #[error("checkpoint `{path}` is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error("no trace in `{path}` can be trained on: {reason}")]
    NoTraces { path: PathBuf, reason: String },
    #[error(
        "`{path}` was written in other tokens than the student's: {rows} of {of} kept rows are another text in them"
    )]
    OtherTokens { path: PathBuf, rows: usize, of: usize },
    #[error("the rollouts that led to step {step} are gone")]
    NoRollouts { step: u64 },
    #[error("the loss `{loss}` {reason}")]
    Objective { loss: &'static str, reason: String },
    #[error(transparent)]
    Datagen(Box<retort_datagen::Error>),
    #[error(transparent)]
    Generate(#[from] retort_model::generate::GenerateError),
    #[error(transparent)]
    Score(#[from] ScoreError),
    #[error("`{path}` could not be {action}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Model(#[from] retort_model::Error),
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}

impl From<retort_datagen::Error> for Error {
    fn from(error: retort_datagen::Error) -> Self {
        Self::Datagen(Box::new(error))
    }
}

impl Error {
    /// Whether somebody asked to stop while a teacher was being asked or a completion was being written.
    pub fn is_interruption(&self) -> bool {
        use retort_model::Error::Interrupted;
        matches!(self, Self::Model(Interrupted) | Self::Score(ScoreError::Model(Interrupted)))
    }

    /// The same error; where a GPU ran out of memory, with what it was for and what would lower that.
    pub(crate) fn of_memory(self, device: &Device, what: impl FnOnce() -> String, remedy: &'static str) -> Self {
        match self {
            Self::Tensor(error) => match retort_model::Error::Tensor(error).of_memory(device, what, remedy) {
                retort_model::Error::Tensor(error) => Self::Tensor(error),
                named => Self::Model(named),
            },
            Self::Model(error) => Self::Model(error.of_memory(device, what, remedy)),
            other => other,
        }
    }

    /// Whether a GPU has no memory left: with other settings there may be enough.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Model(retort_model::Error::DeviceMemory { .. }))
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFinite { .. } | Self::Diverged { .. } => Some(
                "the weights of the last checkpoint are intact; lower `learning_rate` or look at the data of this step"
                    .into(),
            ),
            Self::NoRollouts { .. } => Some(
                "they belong to the run's checkpoints: put their folder back, or delete the run's to start anew".into(),
            ),
            Self::OtherRun { .. } => Some("choose another `--out`, or delete the folder to start anew".into()),
            Self::Damaged { .. } => {
                Some("delete that checkpoint's folder; the run continues from the one before it, or anew".into())
            }
            Self::OtherTokens { .. } => {
                Some("`--set retokenise=true` learns from the text, in the student's own tokens".into())
            }
            Self::NoTraces { .. } => Some("see `retort datagen stats` for what was dropped and why".into()),
            Self::Objective { .. } => Some(
                "targets come from `--teacher`, or from traces whose run captured them; `cross_entropy` needs neither"
                    .into(),
            ),
            Self::Model(error) => error.hint(),
            Self::Datagen(error) => error.hint(),
            _ => None,
        }
    }
}
