//! Metrics: the recorder of this process, and their text form.
//!
//! The one thing to know: the recorder is the one thing that is set globally, once, here; a process that serves no metrics
//! (the tests') records nothing.

use std::sync::Arc;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use web::native::MetricsText;

/// Begins to record.
pub(crate) fn start() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("metrics are recorded elsewhere already");
    }
    handle
}

/// What `/metrics` shows.
pub(crate) fn text_of(handle: &PrometheusHandle) -> MetricsText {
    let handle = handle.clone();
    Arc::new(move || handle.render())
}
