//! The other side of every ratio: a handler of the same framework that reads the request's body, answers a body of a
//! given size, and does nothing else.
//!
//! The one thing to know: it runs as a process of its own, as the server does, so that both have their runtime and their
//! memory to themselves.

use std::io::Write;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::Error;

/// A router that answers every path and method with 200 and `body_bytes` bytes.
pub(crate) fn router(body_bytes: usize) -> Router {
    // JSON of the wanted size, so that a client that parses is not disturbed.
    let body = match body_bytes {
        0 => Bytes::new(),
        1 => Bytes::from_static(b"0"),
        _ => Bytes::from(format!("\"{}\"", "x".repeat(body_bytes - 2))),
    };
    Router::new().route(
        "/{*path}",
        any(
            move |Path(path): Path<String>, headers: HeaderMap, request: Bytes| {
                // What any handler needs: path, one header, the body. Kept alive by
                // `black_box` so that the optimiser does not take the reading away.
                std::hint::black_box((path, headers.get(AUTHORIZATION), request));
                let body = body.clone();
                async move { answer(body) }
            },
        ),
    )
}

fn answer(body: Bytes) -> Response {
    if body.is_empty() {
        return StatusCode::OK.into_response();
    }
    ([(CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}

/// Serves [`router`] on a free port of the loopback address until the process
/// is ended, and announces the port as the server does.
pub(crate) async fn serve(body_bytes: usize) -> Result<(), Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "listening on http://{address}")?;
    let listener = listener.tap_io(|stream| {
        // A socket that refuses the option still serves, only later.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router(body_bytes))
        .with_graceful_shutdown(terminated())
        .await?;
    Ok(())
}

/// Completes when the process is asked to end. Waiting for connections to
/// close is no issue: the generator drops its own before it asks.
async fn terminated() {
    let mut signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .expect("a handler for SIGTERM can be installed in a fresh process");
    signal.recv().await;
}
