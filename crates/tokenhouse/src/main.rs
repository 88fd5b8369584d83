//! The program's entry: reads the arguments and the environment, once, and hands them on.
//!
//! The one thing to know: this is the only place that asks for the environment. Everything else is in the library beside
//! it, so that the tests can start the same program in their own process, with another clock and other settings.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment; settings are arguments from here on"
    )]
    let environment = std::env::vars_os();
    // A variable that is no UTF-8 cannot be one of ours.
    let environment = environment
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    tokenhouse::run(std::env::args_os(), environment)
}
