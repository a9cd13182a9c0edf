//! One module per command; each opens what it is given, calls one library and prints what came of it.

mod bench;
mod convert;
mod datagen;
mod distill;
mod evals;
mod generate;
mod inspect;
mod model;
mod pretrain;
mod quickstart;
mod serve;
mod student;

pub use bench::{CacheNumbers, Goal, MostInstructions, Quant, Shape, TrainShape};
pub use convert::To;
pub use student::preset;

use crate::args::{Arguments, Command, Student, Teacher};
use crate::device::NoDevice;
use crate::{progress, recipe};
use anyhow::Result;
use retort_model::Error;
use std::process::ExitCode;

/// The exit code of work that was interrupted and can be continued.
pub const INTERRUPTED: u8 = 3;

/// Runs the command that was asked for.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    progress::catch_interrupts();
    match arguments.command {
        Command::Quickstart(args) => quickstart::run(&args),
        Command::Teacher(Teacher::Train(args)) => pretrain::teacher(&args),
        Command::Student(Student::Train(args)) => pretrain::student(&args),
        Command::Student(Student::Init(args)) => student::init(&args),
        Command::Model(command) => model::run(command),
        Command::Datagen(command) => datagen::run(command),
        Command::Distill(command) => distill::run(command),
        Command::Evals(command) => evals::run(command),
        Command::Serve(args) => serve::run(&args),
        Command::Bench(command) => bench::run(command),
    }
}

/// The exit code of an error: that of an interruption where the same command can go on once the user has seen to what
/// stopped it (an account, a full disk), or 2 for work that could not be done.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    use retort_model::{Error::Hub, hub::HubError};
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let goes_on = |cause: &(dyn std::error::Error + 'static)| {
        let stopped = |cause: &Error| matches!(cause, Hub(HubError::Interrupted) | Error::Interrupted);
        let is_full = |cause: &std::io::Error| matches!(cause.kind(), StorageFull | QuotaExceeded);
        cause.downcast_ref().is_some_and(stopped)
            || cause.downcast_ref().is_some_and(is_full)
            || cause.downcast_ref().is_some_and(retort_teacher::endpoint::Error::is_pause)
            || matches!(cause.downcast_ref(), Some(retort_datagen::Error::Interrupted))
    };
    if error.chain().any(goes_on) { INTERRUPTED } else { 2 }
}

/// Prints an error with its causes, and what to do about it where something in the chain knows.
pub fn report(error: &anyhow::Error) {
    eprintln!("error: {error}");
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // Transparent wrappers repeat their source's text.
        if text != last {
            eprintln!("  caused by: {text}");
        }
        last = text;
    }
    if let Some(hint) = hint(error) {
        eprintln!("\nhint: {hint}");
    }
}

fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let model = cause.downcast_ref::<retort_model::Error>().and_then(retort_model::Error::hint);
        let gym = || cause.downcast_ref::<retort_datagen::gym::Error>().and_then(retort_datagen::gym::Error::hint);
        let datagen = || cause.downcast_ref::<retort_datagen::Error>().and_then(retort_datagen::Error::hint);
        let evals = || cause.downcast_ref::<retort_evals::Error>().and_then(retort_evals::Error::hint);
        let distill = || cause.downcast_ref::<retort_distill::Error>().and_then(retort_distill::Error::hint);
        let endpoint =
            || cause.downcast_ref::<retort_teacher::endpoint::Error>().and_then(retort_teacher::endpoint::Error::hint);
        let serve = || cause.downcast_ref::<retort_serve::Error>().and_then(retort_serve::Error::hint);
        let device = || cause.downcast_ref::<NoDevice>().map(NoDevice::hint);
        let settings = || cause.downcast_ref::<recipe::OtherSettings>();
        let settings = || settings().map(|_| "choose another `--out`, or delete the folder to start anew".to_string());
        model
            .or_else(gym)
            .or_else(endpoint)
            .or_else(datagen)
            .or_else(evals)
            .or_else(distill)
            .or_else(serve)
            .or_else(device)
            .or_else(settings)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn what_the_same_command_goes_on_from_is_an_interruption() {
        let full = |kind: ErrorKind| {
            let error = retort_datagen::Error::Io { action: "written", path: "out".into(), source: kind.into() };
            exit_code(&anyhow::Error::from(error).context("the traces could not be made"))
        };
        assert_eq!([ErrorKind::StorageFull, ErrorKind::QuotaExceeded].map(full), [INTERRUPTED; 2]);
        assert_eq!(exit_code(&retort_datagen::Error::Interrupted.into()), INTERRUPTED);
        assert_eq!([ErrorKind::PermissionDenied, ErrorKind::NotFound].map(full), [2; 2]);
    }
}
