//! The rest of a body that nobody has read.
//!
//! The one thing to know: an answer may be given before the body is read – to somebody without credentials, say. A server
//! that then finds more of the body on the connection has to close it, and a client that has just sent its next request
//! on it gets no answer. So what is left of a body is taken from the wire first, if it is little and comes soon; if it is
//! not, the answer says that the connection will be closed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;

/// Bytes that are taken from the wire for nothing. The largest bodies that are refused unread are rarely larger.
const BYTES_MAX: usize = 64 << 10;

/// How long they may take. Whoever sends a body sends it at once; whoever does not shall not keep an answer waiting.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// A body that stays with the one who lent it.
struct Lent(Arc<Mutex<Body>>);

impl Lent {
    fn with<T>(&self, look: impl FnOnce(&mut Body) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        self.with(|body| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.with(|body| body.size_hint())
    }
}

/// Lets the request be answered, and then takes what is left of its body.
pub async fn take(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    // Its body is not on its way before it is asked for.
    let waits_for_a_word = parts.headers.contains_key(header::EXPECT);
    let kept = Arc::new(Mutex::new(body));
    let lent = Body::new(Lent(Arc::clone(&kept)));
    let mut response = next.run(Request::from_parts(parts, lent)).await;
    let mut rest = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    let taken = !waits_for_a_word && is_taken(&mut rest).await;
    if !taken && !rest.is_end_stream() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

async fn is_taken(rest: &mut Body) -> bool {
    let all = async {
        let mut bytes = 0;
        while let Some(frame) = rest.frame().await {
            let Ok(frame) = frame else { return false };
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > BYTES_MAX {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(WAIT_MAX, all).await.unwrap_or(false)
}
