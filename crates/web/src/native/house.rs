//! The pages every server has: `/`, `/healthz`, `/readyz`, and where they are shown `/metrics` and `/openapi/…`.
//!
//! The one thing to know: these are on the public listener and ask for no credential, so they say nothing about tokens.
//! What the program does not want shown is not routed at all, and looks as if it did not exist.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use engine::Engine;
use serde::Serialize;
use serde_json::{Value as Json, json};
use utoipa::ToSchema;
use utoipa::openapi::{Info, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::dialects::Dialect;
use crate::kit::path;
use crate::native::problem::Problem;

/// Renders the metrics in the Prometheus text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// Whether the server was asked to stop: a balancer must hear of it before nobody listens any more. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stopping(Arc<AtomicBool>);

impl Stopping {
    /// From now on it is not ready, whatever the store says.
    pub fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What the house shows on one listener.
#[derive(Clone)]
pub struct House {
    /// Asked whether it is ready.
    pub engine: Engine,
    /// Whether it is about to stop.
    pub stopping: Stopping,
    /// The dialects of this listener.
    pub dialects: Vec<Arc<dyn Dialect>>,
    /// Whether `/openapi/{dialect}.json` is shown.
    pub documents: bool,
    /// The metrics, if they are shown.
    pub metrics: Option<MetricsText>,
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House")
            .field("dialects", &self.dialects)
            .field("documents", &self.documents)
            .field("metrics", &self.metrics.is_some())
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Pages {
    engine: Engine,
    stopping: Stopping,
    index: Arc<Json>,
    documents: Arc<BTreeMap<String, String>>,
    metrics: Option<MetricsText>,
}

/// The house's routes for one listener.
pub fn house(house: House) -> OpenApiRouter {
    let mut router = OpenApiRouter::new()
        .routes(routes!(index))
        .routes(routes!(healthz))
        .routes(routes!(readyz));
    if house.documents {
        router = router.routes(routes!(document));
    }
    if house.metrics.is_some() {
        router = router.routes(routes!(metrics));
    }
    let index = index_of(&house);
    let documents = if house.documents {
        documents_of(&house, router.get_openapi())
    } else {
        BTreeMap::new()
    };
    router.with_state(Pages {
        engine: house.engine,
        stopping: house.stopping,
        index: Arc::new(index),
        documents: Arc::new(documents),
        metrics: house.metrics,
    })
}

fn index_of(house: &House) -> Json {
    let dialects = house.dialects.iter().map(|dialect| {
        let mut entry = json!({ "name": dialect.name(), "paths": dialect.prefixes() });
        if house.documents {
            entry["openapi"] = json!(format!("/openapi/{}.json", dialect.name()));
        }
        entry
    });
    json!({
        "name": "tokenhouse",
        "version": env!("CARGO_PKG_VERSION"),
        "dialects": dialects.collect::<Vec<_>>(),
        "health": "/healthz",
        "readiness": "/readyz",
    })
}

/// Each dialect's own description, and the native one: the house's pages and the routes of the control socket.
fn documents_of(house: &House, pages: &OpenApi) -> BTreeMap<String, String> {
    let mut native = pages.clone();
    native.merge(super::routes_of_control().into_openapi());
    let spoken = house.dialects.iter().map(|dialect| {
        let document = dialect.doors().into_openapi();
        (dialect.name().to_owned(), document)
    });
    spoken
        .chain([("native".to_owned(), native)])
        .map(|(name, mut document)| {
            // The default names the library that collects the routes.
            if document.info.title.is_empty() || document.info.title == "utoipa-axum" {
                let title = format!("Tokenhouse: {name}");
                document.info = Info::new(title, env!("CARGO_PKG_VERSION").to_owned());
            }
            let text = document
                .to_json()
                .expect("a document of strings and numbers is JSON");
            (name, text)
        })
        .collect()
}

/// What this is and what is spoken here.
#[utoipa::path(get, path = "/", responses((status = 200, description = "Name, version, dialects.")))]
async fn index(State(pages): State<Pages>) -> axum::Json<Json> {
    axum::Json(Json::clone(&pages.index))
}

/// One word.
#[derive(Debug, Serialize, ToSchema)]
struct StatusResponse {
    /// `ok` or `ready`.
    status: &'static str,
}

/// Whether the process answers.
#[utoipa::path(
    get,
    path = "/healthz",
    responses((status = 200, description = "It does.", body = StatusResponse))
)]
async fn healthz() -> axum::Json<StatusResponse> {
    axum::Json(StatusResponse { status: "ok" })
}

/// Whether it can do its work: whether the store accepts writes, and the server was not asked to stop.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "It can.", body = StatusResponse),
        (status = 503, description = "The store does not accept writes at present, or the server is about to stop."),
    )
)]
async fn readyz(State(pages): State<Pages>) -> Result<axum::Json<StatusResponse>, Problem> {
    if pages.stopping.has_begun() {
        let detail = "the server is stopping: send requests elsewhere".to_owned();
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    match pages.engine.ready().await {
        Ok(()) => Ok(axum::Json(StatusResponse { status: "ready" })),
        // Whatever the cause: a balancer must send nobody here.
        Err(error) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            error.to_string(),
        )),
    }
}

/// The OpenAPI document of a dialect, or of the house itself (`native.json`).
#[utoipa::path(
    get,
    path = "/openapi/{document}",
    params(("document" = String, Path, description = "The dialect's name and `.json`.")),
    responses(
        (status = 200, description = "OpenAPI 3.1."),
        (status = 404, description = "No such dialect."),
    )
)]
async fn document(State(pages): State<Pages>, uri: Uri) -> Response {
    let name = path::segment(&uri, 1).unwrap_or_default();
    let text = name
        .strip_suffix(".json")
        .and_then(|name| pages.documents.get(name));
    match text {
        Some(text) => ([(header::CONTENT_TYPE, "application/json")], text.clone()).into_response(),
        None => Problem::not_found(uri.path()).into_response(),
    }
}

/// The metrics of the process, in the Prometheus text format.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "Prometheus text format, version 0.0.4."))
)]
async fn metrics(State(pages): State<Pages>) -> Response {
    let text = pages.metrics.map(|render| render()).unwrap_or_default();
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
