//! The `retort` program: arguments in, exit code out. Everything else is in the modules.

mod args;
mod commands;
mod progress;
mod recipe;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    match commands::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            commands::report(&error);
            ExitCode::from(2)
        }
    }
}
