//! The one place of the load generator that reads a clock.
//!
//! The one thing to know: measuring is its purpose, so unlike the engine it may ask the machine for the time, but only
//! here: a second clock would put its own cost into the figures unnoticed.

use std::time::Instant;

#[allow(
    clippy::disallowed_methods,
    reason = "a load generator measures real time; everything else takes it from here"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
