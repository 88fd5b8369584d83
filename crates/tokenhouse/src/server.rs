//! One listener: accepts connections, ends TLS, speaks HTTP/1.1, stops gracefully.
//!
//! The one thing to know: here it is decided from where a request comes – the socket's peer, the last hop a proxy has
//! written down, or the operating system user at the control socket – and nothing further in ever looks at a header for
//! that.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use web::kit::trace::ClientAddress;
use web::native::Operator;
use web::native::problem::Problem;

use crate::users;

/// After a connection could not be accepted (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all listeners share.
#[derive(Clone)]
pub(crate) struct Ceilings {
    pub(crate) head_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) connections: Arc<Semaphore>,
}

/// What kind of socket it is.
pub(crate) enum Socket {
    /// Whoever can reach it; `tls` if we end it, `behind_proxy` if the last hop in a header is the client.
    Public {
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        behind_proxy: bool,
    },
    /// Our own user and root on this machine.
    Control(UnixListener),
}

/// From where the requests of a connection come.
#[derive(Clone)]
enum Peer {
    Address(IpAddr),
    Proxy,
    Operator(String),
}

/// Accepts until told to stop, then waits for the requests under way. Drop the future to cut them off.
pub(crate) async fn run(
    socket: Socket,
    router: Router,
    ceilings: Ceilings,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let Some(permit) = until_stopped(&mut stop, permit(&ceilings)).await else {
            break;
        };
        let Some(accepted) = until_stopped(&mut stop, socket.accept()).await else {
            break;
        };
        // Those that have ended are forgotten as we go, or the set would only grow.
        while let Some(ended) = connections.try_join_next() {
            note_end(ended);
        }
        let (stream, peer) = match accepted {
            Ok(Some(accepted)) => accepted,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (router, ceilings, stop) = (router.clone(), ceilings.clone(), stop.clone());
        connections.spawn(async move {
            stream.converse(peer, router, &ceilings, stop).await;
            drop(permit);
        });
    }
    drop(socket);
    while let Some(ended) = connections.join_next().await {
        note_end(ended);
    }
}

fn note_end(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        // The panic itself has been logged with its place.
        tracing::error!(panicked = error.is_panic(), "a connection ended badly");
    }
}

async fn permit(ceilings: &Ceilings) -> Option<OwnedSemaphorePermit> {
    let connections = Arc::clone(&ceilings.connections);
    connections.acquire_owned().await.ok()
}

/// `None` if the server is asked to stop before the work is done.
async fn until_stopped<T>(
    stop: &mut watch::Receiver<bool>,
    work: impl Future<Output = T>,
) -> Option<T> {
    // The guard that the wait returns must not live across an await.
    let stopped = async { drop(stop.wait_for(|stopped| *stopped).await) };
    tokio::select! {
        biased;
        () = stopped => None,
        done = work => Some(done),
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(TcpStream, TlsAcceptor),
    Unix(UnixStream),
}

impl Socket {
    /// The next connection; `None` for one that is turned away.
    async fn accept(&self) -> std::io::Result<Option<(Stream, Peer)>> {
        match self {
            Self::Public {
                listener,
                tls,
                behind_proxy,
            } => {
                let (stream, address) = listener.accept().await?;
                // Small answers must not wait for an acknowledgement. A socket that refuses is as good as gone.
                let _ = stream.set_nodelay(true);
                let peer = if *behind_proxy {
                    Peer::Proxy
                } else {
                    Peer::Address(address.ip())
                };
                let stream = match tls {
                    Some(acceptor) => Stream::Tls(stream, acceptor.clone()),
                    None => Stream::Plain(stream),
                };
                Ok(Some((stream, peer)))
            }
            Self::Control(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                // The mode of the socket says the same; this holds from the very first moment.
                if uid != 0 && uid != users::own() {
                    tracing::warn!(uid, "another user was turned away from the control socket");
                    return Ok(None);
                }
                let peer = Peer::Operator(users::name_of(uid));
                Ok(Some((Stream::Unix(stream), peer)))
            }
        }
    }
}

impl Stream {
    async fn converse(
        self,
        peer: Peer,
        router: Router,
        ceilings: &Ceilings,
        stop: watch::Receiver<bool>,
    ) {
        match self {
            Self::Plain(stream) => converse(stream, peer, router, ceilings, stop).await,
            Self::Unix(stream) => converse(stream, peer, router, ceilings, stop).await,
            Self::Tls(stream, acceptor) => {
                let shaken = tokio::time::timeout(ceilings.head_timeout, acceptor.accept(stream));
                match shaken.await {
                    Ok(Ok(stream)) => converse(stream, peer, router, ceilings, stop).await,
                    Ok(Err(error)) => tracing::debug!(%error, "no TLS session"),
                    Err(_) => tracing::debug!("no TLS session in time"),
                }
            }
        }
    }
}

async fn converse<S>(
    stream: S,
    peer: Peer,
    router: Router,
    ceilings: &Ceilings,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limit = ceilings.request_timeout;
    let service = service_fn(move |request: Request<Incoming>| {
        let (peer, router) = (peer.clone(), router.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(&peer, router, request, limit).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ceilings.head_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = if let Some(ended) = until_stopped(&mut stop, connection.as_mut()).await {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

async fn answer(
    peer: &Peer,
    router: Router,
    request: Request<Incoming>,
    limit: Duration,
) -> Response {
    let mut request = request.map(Body::new);
    let address = match peer {
        Peer::Address(address) => Some(*address),
        Peer::Proxy => last_hop(request.headers()),
        Peer::Operator(name) => {
            request.extensions_mut().insert(Operator(name.clone()));
            None
        }
    };
    request.extensions_mut().insert(ClientAddress(address));
    if let Ok(answered) = tokio::time::timeout(limit, router.oneshot(request)).await {
        return answered.into_response();
    }
    tracing::warn!(limit_secs = limit.as_secs(), "a request took too long");
    let detail = format!("the request was not done within {} s", limit.as_secs());
    let mut response = Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// The last address in `X-Forwarded-For`: the one that the proxy itself has seen. The ones before it are what the client
/// says. Nothing, or what is no address, is no address: then only tokens without address lists are good.
fn last_hop(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?;
    let hop = last.to_str().ok()?.rsplit(',').next()?.trim();
    // Some proxies add the port.
    hop.parse()
        .ok()
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_hop_is_the_one_that_counts() {
        let hop = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            last_hop(&headers).map(|address| address.to_string())
        };
        assert_eq!(hop(&["1.1.1.1, 2.2.2.2"]).as_deref(), Some("2.2.2.2"));
        assert_eq!(hop(&["1.1.1.1", "2.2.2.2"]).as_deref(), Some("2.2.2.2"));
        assert_eq!(hop(&["2.2.2.2:4711"]).as_deref(), Some("2.2.2.2"));
        assert_eq!(hop(&["[2001:db8::1]:80"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(hop(&["[2001:db8::1]"]).as_deref(), Some("2001:db8::1"));
        for none in [
            &[][..],
            &[""],
            &["unknown"],
            &["1.1.1.1,"],
            &["1.1.1.1", "x"],
        ] {
            assert_eq!(hop(none), None, "{none:?}");
        }
    }
}
