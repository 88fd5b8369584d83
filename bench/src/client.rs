//! One keep-alive connection and the exchange of one request on it.
//!
//! The one thing to know: there is no pool. A connection belongs to one worker, so "16 connections" in a table means
//! sixteen sockets that each carry one request at a time.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::Error;

/// A request whose whole body is in memory, as all of ours are.
pub(crate) type Outgoing = Request<Full<Bytes>>;

/// What came back, body included.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// An open HTTP/1.1 connection.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

impl Connection {
    /// Connects, and leaves the socket's driver to the runtime; it ends when
    /// the connection is dropped.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        // Small requests one after the other: waiting to fill a packet would
        // measure the kernel's timer.
        stream.set_nodelay(true)?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await?;
        // A driver's error reaches the caller through its pending request.
        tokio::spawn(driver);
        Ok(Self {
            sender,
            host: HeaderValue::from_str(&address.to_string())?,
        })
    }

    /// Sends one request and reads its whole answer.
    pub(crate) async fn exchange(&mut self, mut request: Outgoing) -> Result<Answer, Error> {
        request.headers_mut().insert(HOST, self.host.clone());
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer { status, body })
    }

    /// Sends one request that prepares or checks a scenario, and parses the
    /// answer. Any other status than `expected` is an error that names the
    /// step, since a scenario without its set-up would measure refusals.
    pub(crate) async fn prepare(
        &mut self,
        step: &str,
        request: Outgoing,
        expected: StatusCode,
    ) -> Result<Value, Error> {
        let answer = self.exchange(request).await?;
        if answer.status != expected {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("{step}: {} instead of {expected}: {body}", answer.status).into());
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| format!("{step}: the answer is not JSON: {error}").into())
    }
}
