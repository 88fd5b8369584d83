//! How the program ends: exit codes, and messages with a hint on standard error.
//!
//! The one thing to know: standard output is data, standard error is talk. A script may rely on the codes; they are listed
//! in the help.

use std::fmt;
use std::process::ExitCode;

/// Done; for `serve`: stopped as asked.
pub(crate) const DONE: u8 = 0;
/// It failed or was refused; nothing was changed unless the message says so.
pub(crate) const FAILED: u8 = 1;
/// Wrong arguments or settings; no token was touched.
pub(crate) const USAGE: u8 = 2;
/// The server that holds the data directory cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;

/// The codes as the help lists them.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done; for serve: stopped as asked
  1  failed or refused; the message on standard error says what and why
  2  wrong arguments or settings; no token was touched
  3  the server that holds the data directory does not answer on its control socket";

/// Why the program ends without having done what it was asked for.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(FAILED, message)
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(USAGE, message)
    }

    pub(crate) fn unreachable(message: impl fmt::Display) -> Self {
        Self::new(UNREACHABLE, message)
    }

    fn new(code: u8, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
            hint: None,
        }
    }

    /// What the reader can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints it and gives the code.
    pub(crate) fn report(&self) -> ExitCode {
        anstream::eprintln!("\u{1b}[1;31merror:\u{1b}[0m {}", self.message);
        if let Some(hint) = &self.hint {
            anstream::eprintln!("\u{1b}[1;36mhint:\u{1b}[0m {hint}");
        }
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
