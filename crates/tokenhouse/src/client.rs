//! A client of HTTP/1.1 over one connection, for the control socket and the demo.
//!
//! The one thing to know: it sends what it is given and follows nothing: no redirects, no retries, no cookies.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Bytes of an answer: a page of the longest tokens is far below.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Reads the body of a response.
    pub(crate) async fn read<B>(response: Response<B>) -> io::Result<Self>
    where
        B: http_body_util::BodyExt + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(io::Error::other)?
            .to_bytes();
        Ok(Self {
            status: parts.status,
            body,
        })
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client(SendRequest<Body>);

impl Client {
    /// Speaks over a stream that is connected already.
    pub(crate) async fn over<S>(stream: S) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke off");
            }
        });
        Ok(Self(sender))
    }

    /// Sends one request and reads its answer.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> io::Result<Answer> {
        let exchange = async {
            self.0.ready().await.map_err(io::Error::other)?;
            let response = self
                .0
                .send_request(request)
                .await
                .map_err(io::Error::other)?;
            Answer::read(response).await
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}
