//! The commands, one file each.
//!
//! The one thing to know: a command gets its arguments and the environment, and answers with nothing or a failure; only
//! `exit.rs` prints failures and knows codes.

mod copy;
mod demo;
mod generate_docs;
mod keyring;
mod serve;
mod token;

use std::path::PathBuf;

use crate::cli::{Arguments, Command, Where};
use crate::config::{CONFIG_FILE, Layers, Settings, Variables};
use crate::exit::Failure;

/// Does what the command line says.
pub(crate) async fn run(arguments: Arguments, environment: Variables) -> Result<(), Failure> {
    match arguments.command {
        Command::Serve(arguments) => serve::run(arguments, environment).await,
        Command::Demo(arguments) => demo::run(&arguments).await,
        Command::Token(command) => token::run(command, environment).await,
        Command::Keyring(command) => keyring::run(command, environment).await,
        Command::Copy(arguments) => copy::run(arguments).await,
        Command::GenerateDocs(arguments) => generate_docs::run(&arguments),
    }
}

/// All settings of a command that has a place.
fn settings(
    place: &Where,
    flags: Variables,
    environment: Variables,
    dev: bool,
) -> Result<Settings, Failure> {
    let named = place.config.clone().or_else(|| {
        let path = environment.get(CONFIG_FILE)?;
        Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty())
    });
    let mut layers = Layers::new(flags, environment).map_err(Failure::usage)?;
    if let Some(path) = named {
        layers.read_file(&path).map_err(Failure::usage)?;
    }
    Settings::resolve(&layers, dev).map_err(Failure::usage)
}
