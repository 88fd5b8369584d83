//! The whole program under test: one test binary, one module for each kind of question.
//!
//! The one thing to know: `app.rs` starts the real server on a real socket with an injected clock and injected chance;
//! `cli.rs`, `secrets.rs` and `crash.rs` run the real binary. There is no mock of anything.
#![allow(clippy::unwrap_used)]

mod app;
mod audit;
mod backend;
mod cli;
mod connection;
mod copy;
mod crash;
mod dependencies;
mod doors;
mod elsewhere;
mod history;
mod in_force;
mod infisical;
mod keys;
mod listener;
mod mindbridge;
mod native;
mod nodes;
mod one_update;
mod promises;
mod replay;
mod rig;
mod secrets;
mod seeds;
mod sql;
mod tidy;
mod transcripts;
mod verbs;
