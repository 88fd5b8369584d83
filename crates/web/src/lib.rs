//! How it is spoken: every door of the house on one screen.
//!
//! The one thing to know: a dialect is one folder under `dialects/` and one line in [`dialects::ALL`]; this file mounts
//! them, decides who answers a path that no route knows, and knows nothing else of them.

pub mod dialects;
pub mod kit;
pub mod native;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use engine::Engine;
use engine::realm::RealmId;
use tower::ServiceExt as _;
use tower::util::MapRequestLayer;
use utoipa::openapi::OpenApi;

use crate::dialects::Dialect;
use crate::kit::path::{is_below, without_trailing_slash};
use crate::kit::{rest, trace};
use crate::native::problem::Problem;

/// All doors of one listener.
pub struct Doors {
    /// The routes, ready to serve.
    pub router: Router,
    /// What each dialect says of its own, by its name.
    pub documents: BTreeMap<&'static str, OpenApi>,
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors")
            .field("documents", &self.documents.keys())
            .finish_non_exhaustive()
    }
}

/// Mounts dialects and the house's own routes on one listener. `house` is given by the program, because it knows what is
/// shown to whom.
pub fn doors(
    engine: &Engine,
    dialects: &[Arc<dyn Dialect>],
    house: utoipa_axum::router::OpenApiRouter,
) -> Doors {
    let mut mounted = Router::new();
    let mut documents = BTreeMap::new();
    for dialect in dialects {
        let (router, document) = mount(dialect);
        mounted = mounted.merge(router);
        documents.insert(dialect.name(), document);
    }
    let (router, document) = house.split_for_parts();
    let house = router
        .method_not_allowed_fallback(|uri: Uri| async move { Problem::wrong_method(uri.path()) })
        .layer(middleware::from_fn_with_state(
            RealmId::SYSTEM,
            trace::note_route,
        ));
    documents.insert("native", document);
    let answering: Vec<Arc<dyn Dialect>> = dialects.to_vec();
    let all = mounted
        .merge(house)
        .fallback(move |request: Request| unknown(answering.clone(), request));
    Doors {
        router: wrap(engine, all),
        documents,
    }
}

fn mount(dialect: &Arc<dyn Dialect>) -> (Router, OpenApi) {
    let (router, document) = dialect.doors().split_for_parts();
    let answering = Arc::clone(dialect);
    let wrong_method = move |request: Request| {
        let dialect = Arc::clone(&answering);
        async move { dialect.unknown(request).await }
    };
    let router =
        router
            .method_not_allowed_fallback(wrong_method)
            .layer(middleware::from_fn_with_state(
                dialect.realm(),
                trace::note_route,
            ));
    (router, document)
}

/// What every request passes: its id and log line, and the path without a trailing slash.
fn wrap(engine: &Engine, router: Router) -> Router {
    let followed =
        router
            .layer(middleware::from_fn(rest::take))
            .layer(middleware::from_fn_with_state(
                engine.clone(),
                trace::follow,
            ));
    let shortened = MapRequestLayer::new(|mut request: Request| {
        if let Some(uri) = without_trailing_slash(request.uri()) {
            *request.uri_mut() = uri;
        }
        request
    });
    // A layer on a router runs after routing; the path has to be changed before.
    let service = tower::ServiceBuilder::new()
        .layer(shortened)
        .service(followed);
    Router::new().fallback_service(service.map_response(|response| {
        let mut response = IntoResponse::into_response(response);
        // The router says what a route takes, whatever its dialect answers; where that is "there is no such thing", it is odd.
        if response.status() == StatusCode::NOT_FOUND {
            response.headers_mut().remove(header::ALLOW);
        }
        response
    }))
}

/// Who answers a path that no route knows: the dialect with the longest prefix above it, else the house.
async fn unknown(dialects: Vec<Arc<dyn Dialect>>, request: Request) -> Response {
    let path = request.uri().path();
    let longest = |prefixes: &[&'static str]| {
        let above = prefixes.iter().filter(|prefix| is_below(path, prefix));
        above.map(|prefix| prefix.trim_end_matches('/').len()).max()
    };
    let owner = dialects
        .iter()
        .filter_map(|dialect| Some((longest(dialect.prefixes())?, dialect)))
        .max_by_key(|(length, _)| *length);
    match owner {
        Some((_, dialect)) => Arc::clone(dialect).unknown(request).await,
        None => Problem::not_found(path).into_response(),
    }
}
