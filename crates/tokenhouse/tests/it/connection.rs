//! One connection to a server that may be killed, stopped or cut off at any moment.
//!
//! The one thing to know: `None` is a server that is not there any more and nothing else; an answer that was not expected
//! fails the test.

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A connection; of no more use once an answer has been `None`.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    pub(crate) async fn open(address: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Self(sender))
    }

    /// Whether the other side has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// One call; its body is sent as JSON, and an answer that is none is null.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        authorization: &str,
        body: Option<Value>,
    ) -> Option<(u16, Value)> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", authorization);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let bytes = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(bytes))).unwrap();
        self.0.ready().await.ok()?;
        let response = self.0.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.ok()?.to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Some((status, body))
    }

    /// The same where only one status is right.
    pub(crate) async fn expect(
        &mut self,
        expected: u16,
        method: &str,
        path: &str,
        authorization: &str,
        body: Option<Value>,
    ) -> Option<Value> {
        let (status, body) = self.send(method, path, authorization, body).await?;
        assert_eq!(status, expected, "{method} {path}: {body}");
        Some(body)
    }
}
