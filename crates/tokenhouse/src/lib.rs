//! How it is run: configuration, command line, wiring.
//!
//! The one thing to know: the program is a library with a thin `main` so that tests start the very same server in their
//! process; nothing else uses it. Time, chance, environment and arguments come in as arguments.

pub mod app;
pub mod cli;
mod client;
mod commands;
pub mod config;
mod control;
pub mod data_dir;
pub mod docs;
mod duration;
pub mod exit;
pub mod keyring_file;
mod logs;
mod metrics;
mod new_file;
mod open;
mod password_file;
mod reach;
pub mod serve;
mod server;
mod table;
mod tls;
mod users;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use crate::config::Variables;

/// Runs the command line to its end.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: Variables) -> ExitCode {
    let arguments = match cli::Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors and go to standard output.
            let code = if error.use_stderr() {
                exit::USAGE
            } else {
                exit::DONE
            };
            // Nobody reads: nothing more can be said.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = exit::Failure::failed(format!("the runtime cannot start: {error}"));
            return failure.report();
        }
    };
    match runtime.block_on(commands::run(arguments, environment)) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(failure) => failure.report(),
    }
}
