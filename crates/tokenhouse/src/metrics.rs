//! Metrics: the recorder of this process, and their text form.
//!
//! The one thing to know: the recorder is the one thing that is set globally, once, here; a process that serves no metrics
//! (the tests') records nothing.

use std::sync::Arc;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use web::native::MetricsText;

/// What is counted only when something is wrong. It is shown from the beginning, so that a rule that watches it can tell
/// "never" from "no such thing".
const OF_TROUBLE: [(&str, &str); 3] = [
    (
        "tokenhouse_store_groups_lost_total",
        "Groups of writes that failed as a whole.",
    ),
    (
        "tokenhouse_store_repetitions_total",
        "Transactions that the database made begin again.",
    ),
    (
        "tokenhouse_nodes_expelled_total",
        "Nodes that were expelled because they were silent.",
    ),
];

/// Begins to record.
pub(crate) fn start() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("metrics are recorded elsewhere already");
    }
    for (name, about) in OF_TROUBLE {
        metrics::describe_counter!(name, about);
        metrics::counter!(name).increment(0);
    }
    metrics::describe_counter!(
        "tokenhouse_requests_total",
        "Requests answered, by kind (read, write) and status."
    );
    metrics::describe_histogram!(
        "tokenhouse_request_seconds",
        "How long requests took, by kind."
    );
    metrics::describe_histogram!(
        "tokenhouse_store_group_members",
        "Writes that shared a transaction."
    );
    handle
}

/// What `/metrics` shows.
pub(crate) fn text_of(handle: &PrometheusHandle) -> MetricsText {
    let handle = handle.clone();
    Arc::new(move || handle.render())
}
