//! Scores, paired statistics and the report that sets a student beside its teacher.
//!
//! - [`definition`] is a benchmark as a file, [`items`] its questions;
//! - [`likelihood`] asks a model how likely it finds each option of a question.
//!
//! Every other eval run is a datagen run over a benchmark's problems, read back as samples. From there:
//!
//! - [`score`] turns one run's samples into pass@1 with its interval, by family and level, outcomes and tokens;
//! - [`compare`] pairs the runs of teacher, base, control and student question by question into a [`report::Report`];
//! - [`report`] writes it as `report.json` and a self-contained `report.html`, [`table`] as text for a terminal;
//! - [`statistics`] holds the estimators, one idea a file.

pub mod benchmark;
pub mod budget;
pub mod compare;
pub mod definition;
pub mod harness;
pub mod items;
pub mod learning;
pub mod likelihood;
pub mod metrics;
pub mod report;
pub mod run;
pub mod score;
pub mod statistics;
pub mod stems;
pub mod table;
pub mod transitions;
pub mod tries;

mod error;
mod python_random;
mod wording;

pub use compare::{Context, Runs, compare};
pub use definition::Definition;
pub use error::{Error, Role};
pub use report::Report;
pub use run::{EvalRun, same_settings};
pub use score::Scored;
pub use stems::Stems;
