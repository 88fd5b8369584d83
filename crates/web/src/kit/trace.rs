//! What is known of a request beside its answer: its id, its route, its principal, and the one line in the log.
//!
//! The one thing to know: a path may *be* a secret, so that only the pattern of its route is ever logged. Refusals are
//! recorded here, after the answer: those of a known principal, and of every call that would have changed something.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use engine::Engine;
use engine::caller::{Actor, ActorKind};
use engine::realm::RealmId;
use engine::refusal::Refusal;
use tracing::Instrument as _;

/// The header that carries the id of a request in its answer.
pub const REQUEST_ID: &str = "x-request-id";

/// When to come back to a store that is away: soon, because it is asked anew each time. In every dialect's answers.
const RETRY_AFTER_SECS: &str = "1";

/// From where a request came; `None` on the control socket. Put there by the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

/// Why an answer refuses, in the words of its dialect: a code, never what the client sent. An extension of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalReason(pub String);

/// One request, shared by all that handle it; an extension of the request.
#[derive(Debug, Clone)]
pub struct Trace(Arc<Known>);

#[derive(Debug)]
struct Known {
    id: String,
    route: OnceLock<String>,
    realm: OnceLock<RealmId>,
    actor: OnceLock<Actor>,
    reads: AtomicBool,
}

impl Trace {
    /// A request with this id, of which nothing else is known yet.
    pub fn new(id: String) -> Self {
        Self(Arc::new(Known {
            id,
            route: OnceLock::new(),
            realm: OnceLock::new(),
            actor: OnceLock::new(),
            reads: AtomicBool::new(false),
        }))
    }

    /// The id, as in the log, the events and the answer.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Who is behind it, once that is known; whatever it may do.
    pub fn recognise(&self, actor: Actor) {
        // Only the first counts: a request has one principal.
        let _ = self.0.actor.set(actor);
    }

    /// Says that this request changes nothing, although its method looks so.
    pub fn reads_only(&self) {
        self.0.reads.store(true, Ordering::Relaxed);
    }

    /// In which realm it acts.
    pub fn enter(&self, realm: RealmId) {
        let _ = self.0.realm.set(realm);
    }
}

/// Outermost: gives the request its id, logs it, records its refusal. Answers carry the id.
pub async fn follow(State(engine): State<Engine>, mut request: Request, next: Next) -> Response {
    let trace = Trace::new(request_id(&engine));
    let method = request.method().clone();
    let began = engine.now();
    request.extensions_mut().insert(trace.clone());
    // So that the cause of a failure, logged where it is known, can be found by the id in the answer.
    let span = tracing::error_span!("call", request = trace.id());
    let mut response = next.run(request).instrument(span).await;
    let micros = engine.now().as_micros() - began.as_micros();
    let status = response.status();
    let route = trace.0.route.get().map_or("(unmatched)", String::as_str);
    tracing::info!(
        request = trace.id(),
        %method,
        route,
        status = status.as_u16(),
        millis = micros / 1000,
        "request"
    );
    let kind = if changes(&trace, &method) {
        "write"
    } else {
        "read"
    };
    let code = status.as_str().to_owned();
    metrics::counter!("tokenhouse_requests_total", "kind" => kind, "status" => code).increment(1);
    // A clock that was set back in the middle has not made the request faster.
    let seconds = Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64();
    metrics::histogram!("tokenhouse_request_seconds", "kind" => kind).record(seconds);
    record_refusal(&engine, &trace, &method, route, &response);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let headers = response.headers_mut();
        let soon = HeaderValue::from_static(RETRY_AFTER_SECS);
        headers.entry(header::RETRY_AFTER).or_insert(soon);
    }
    if let Ok(id) = HeaderValue::from_str(trace.id()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Inside each dialect: notes which route was matched, and in which realm.
pub async fn note_route(State(realm): State<RealmId>, request: Request, next: Next) -> Response {
    if let Some(trace) = request.extensions().get::<Trace>() {
        trace.enter(realm);
        if let Some(path) = request.extensions().get::<MatchedPath>() {
            let _ = trace.0.route.set(path.as_str().to_owned());
        }
    }
    next.run(request).await
}

/// Whether a request is of those that change something, done or refused.
fn changes(trace: &Trace, method: &Method) -> bool {
    !method.is_safe() && !trace.0.reads.load(Ordering::Relaxed)
}

fn record_refusal(
    engine: &Engine,
    trace: &Trace,
    method: &Method,
    route: &str,
    response: &Response,
) {
    let status = response.status();
    let Some(realm) = trace.0.realm.get() else {
        return;
    };
    let known = trace.0.actor.get();
    let denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if !status.is_client_error() || !(changes(trace, method) || (denied && known.is_some())) {
        return;
    }
    let code = response.extensions().get::<RefusalReason>();
    let refusal = Refusal {
        realm: *realm,
        actor: known.cloned().unwrap_or_else(|| Actor {
            kind: ActorKind::Anonymous,
            id: String::new(),
            name: String::new(),
        }),
        verb: format!("{method} {route}"),
        reason: code.map_or_else(
            || status.as_str().to_owned(),
            |code| format!("{} {}", status.as_str(), code.0),
        ),
    };
    engine.refuse(refusal, trace.id());
}

fn request_id(engine: &Engine) -> String {
    let mut bytes = [0; 8];
    engine.random(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}
