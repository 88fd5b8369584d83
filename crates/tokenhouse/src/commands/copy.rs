//! `tokenhouse copy`: a whole store into another one, verified.
//!
//! The one thing to know: no settings and no keyring are read. What is copied stays sealed, and the destination is served
//! with the keyring of the source.

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use store::{CopyError, OpenError, Options, Password, Progress, Side, Stage};
use zeroize::Zeroizing;

use crate::cli::CopyArguments;
use crate::config::{LogFormat, LogLevel, LogSettings};
use crate::exit::Failure;
use crate::logs;
use crate::table::say;

/// Copies.
pub(super) async fn run(arguments: CopyArguments) -> Result<(), Failure> {
    logs::start(LogSettings {
        format: LogFormat::Human,
        level: LogLevel::WARN,
    });
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

/// The first line of a file.
fn password(file: Option<&Path>) -> Result<Option<Password>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|error| {
        let file = file.display();
        Failure::usage(format!(
            "{file}, the file of a password, cannot be read: {error}"
        ))
    })?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Some(Password::new(line.to_owned())))
}

fn failure(error: &CopyError) -> Failure {
    match error {
        CopyError::Same { .. }
        | CopyError::Source(OpenError::Url { .. } | OpenError::Unsupported { .. })
        | CopyError::Destination(OpenError::Url { .. } | OpenError::Unsupported { .. }) => {
            Failure::usage(error)
        }
        _ => Failure::failed(error),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\nnot this\n").unwrap();
        let read = password(Some(file.path())).unwrap();
        assert_eq!(format!("{read:?}"), "Some(Password)");
        assert!(password(None).unwrap().is_none());
        let error = password(Some(Path::new("/nowhere/at/all"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"));
    }
}
