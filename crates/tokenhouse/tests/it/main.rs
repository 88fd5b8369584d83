//! The whole program under test: one test binary, one module for each kind of question.
//!
//! The one thing to know: `app.rs` starts the real server on a real socket with an injected clock and injected chance;
//! `cli.rs` and `crash.rs` run the real binary. There is no mock of anything.
#![allow(clippy::unwrap_used)]

mod app;
mod audit;
mod crash;
mod replay;
mod rig;
mod transcripts;
mod verbs;
