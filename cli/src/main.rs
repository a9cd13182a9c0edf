//! The `retort` program: arguments in, exit code out. Everything else is in the modules.

#![expect(clippy::print_stderr, clippy::exit, reason = "this is the crate that talks to a person")]
#![expect(unreachable_pub, reason = "nothing is outside a program")]

mod architecture;
mod args;
mod commands;
mod device;
mod endpoint;
mod hub;
mod memory;
mod open;
mod output;
mod placement;
mod progress;
mod recipe;

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    match commands::run(arguments) {
        Ok(code) => code,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            commands::report(&error);
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
