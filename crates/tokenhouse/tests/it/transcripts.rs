//! The recorded conversations, replayed: the compatibility of each dialect *is* these files.
//!
//! The one thing to know: every file gets a fresh server with the settings that it states, at 2026-01-01T00:00:00Z, once on
//! each store.

use std::path::Path;

use crate::app::TestServer;
use crate::backend::{Backend, on_each_store};
use crate::replay::{Settings, replay_directory};

async fn replay(backend: Backend, dialect: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(dialect);
    let start = async |variables: &Settings| TestServer::start_on(backend, &[], variables).await;
    let replayed = replay_directory(&directory, start).await;
    let replayed = replayed.unwrap_or_else(|report| panic!("{report}"));
    assert!(
        replayed.files > 0 && replayed.exchanges > 0,
        "no transcripts"
    );
}

on_each_store! { mindbridge, piiano, unleash, infisical }

async fn mindbridge(backend: Backend) {
    replay(backend, "mindbridge").await;
}

async fn piiano(backend: Backend) {
    replay(backend, "piiano").await;
}

async fn unleash(backend: Backend) {
    replay(backend, "unleash").await;
}

async fn infisical(backend: Backend) {
    replay(backend, "infisical").await;
}
