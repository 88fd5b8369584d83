//! Logs: to standard error, as text for people or JSON for machines.
//!
//! The one thing to know: the level is that of our own crates. Others stay at warnings whatever the level: what a library
//! finds worth tracing may be what it was given, and that may be a secret.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSettings};

/// Our crates, as targets of log lines.
const OURS: [&str; 4] = ["engine", "store", "web", "tokenhouse"];

/// Begins to log; the first call in a process counts.
pub(crate) fn start(settings: LogSettings) {
    let level = settings.level.word();
    let filter = OURS.iter().fold("warn".to_owned(), |filter, target| {
        format!("{filter},{target}={level}")
    });
    let filter = if level == "off" { "off" } else { &filter };
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(EnvFilter::new(filter));
    // An error means that somebody logs already: a test.
    let _ = match settings.format {
        LogFormat::Human => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    log_panics();
}

/// A panic is logged with its place. Its message is shown only if it is a literal of the program: one that was put
/// together may quote what a request held.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload().downcast_ref::<&'static str>();
        let place = panic.location().map(ToString::to_string);
        tracing::error!(
            place = place.as_deref().unwrap_or("unknown"),
            message = message.unwrap_or(&"(withheld)"),
            "panicked"
        );
    }));
}
