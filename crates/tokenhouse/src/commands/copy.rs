//! `tokenhouse copy`: a whole store into another one, verified.
//!
//! The one thing to know: no settings and no keyring are read. What is copied stays sealed, and the destination is served
//! with the keyring of the source.

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::Signal;
use serde_json::json;
use store::{CopyError, Options, Password, Progress, Side, Stage};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::CopyArguments;
use crate::config::{LogFormat, LogLevel, LogSettings};
use crate::exit::Failure;
use crate::logs;
use crate::password_file;
use crate::table::say;

/// Copies.
pub(super) async fn run(arguments: CopyArguments) -> Result<(), Failure> {
    logs::start(LogSettings {
        format: LogFormat::Human,
        level: LogLevel::WARN,
    });
    // A file that may not grow is to be an error that is told, and not the end of the process.
    let _limit = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map_err(Failure::failed)?;
    let distributed = match arguments.distributed.as_deref() {
        None => None,
        Some("citus") => Some(store::Distribution::Citus),
        Some(_) => return Err(Failure::usage("--distributed must be citus")),
    };
    let from = Side::new(
        arguments.from,
        Options {
            password: password(arguments.from_password_file.as_deref())?,
            ..Options::default()
        },
    );
    let to = Side::new(
        arguments.to,
        Options {
            password: password(arguments.to_password_file.as_deref())?,
            distributed,
            ..Options::default()
        },
    );
    let mut shown = Shown::new(std::io::stderr().is_terminal());
    let copied = store::copy(from, to, &mut |progress| {
        shown.show(progress);
        ControlFlow::Continue(())
    })
    .await;
    shown.end();
    let copied = copied.map_err(|error| failure(&error))?;
    if arguments.json {
        let outcome = json!({ "rows": copied.rows, "realms": copied.realms, "verified": true });
        return say(&format!("{outcome:#}"));
    }
    say(&format!(
        "copied and verified {} rows in {} realms; serve the destination with the same keyring",
        copied.rows, copied.realms
    ))
}

fn password(file: Option<&Path>) -> Result<Option<Password>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let line = password_file::read(file).map_err(Failure::usage)?;
    Ok(Some(Password::new(line.as_str().to_owned())))
}

fn failure(error: &CopyError) -> Failure {
    let (side, flag) = match error {
        CopyError::Same { .. } => return Failure::usage(error),
        CopyError::Source(side) => (side, "--from-password-file"),
        CopyError::Destination(side) => (side, "--to-password-file"),
        _ => return Failure::failed(error),
    };
    if side.is_usage() {
        Failure::usage(error)
    } else if side.is_login() {
        Failure::failed(error).hint(format!("{flag} names a file with the password"))
    } else {
        Failure::failed(error)
    }
}

/// A bar on a terminal, a line for each table elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    line: Option<(Stage, &'static str)>,
}

impl Shown {
    fn new(terminal: bool) -> Self {
        let bar = terminal.then(|| {
            let style = ProgressStyle::with_template(
                "{msg:20} [{wide_bar}] {human_pos}/{human_len} rows, {eta} left",
            );
            let bar = ProgressBar::new(0);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, line: None }
    }

    fn show(&mut self, progress: Progress) {
        let Progress {
            stage,
            table,
            done,
            total,
        } = progress;
        let word = match stage {
            Stage::Copying => "copying",
            Stage::Verifying => "verifying",
        };
        let began = self.line != Some((stage, table));
        if let Some(bar) = &self.bar {
            // What an earlier run has done is no measure of this one's speed.
            if self.line.is_none_or(|(before, _)| before != stage) {
                bar.reset_eta();
            }
            bar.set_length(total);
            bar.set_position(done);
            if began {
                bar.set_message(format!("{word} {table}"));
            }
        } else if began {
            anstream::eprintln!("{word} {table}: {done} of {total} rows are done");
        }
        self.line = Some((stage, table));
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
