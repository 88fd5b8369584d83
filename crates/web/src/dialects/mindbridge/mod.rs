//! The MindBridge dialect: API tokens with permissions, addresses and a version. The folder's README has the table of its
//! endpoints.
//!
//! The one thing a newcomer would get wrong: an API token and its API Token User are one thing with two ids. The user is a
//! record above the token that holds both ids; everything else that a user shows is the token's.

mod addresses;
mod caller;
mod create_token;
mod date_time;
mod delete_token;
mod document;
mod error;
mod fields;
mod filter;
mod incoming;
mod model;
mod outward;
mod paging;
mod people;
mod permissions;
mod query_tokens;
mod read_token;
mod records;
mod requests;
mod seed;
mod update_token;
mod users;
mod walk;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, Uri};
use axum::middleware;
use axum::response::Response;
use engine::permission::Action;
use engine::realm::RealmId;
use engine::verbs::update::Edit;
use engine::{Engine, Error};
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::error::{API_TOKEN, Refusal};
use self::incoming::Call;
use super::{Dialect, Environment, FirstCredential, Mint, MintError, Minted, SettingError};
use crate::kit::path::{is_below, raw_segment};
use crate::kit::trace;

/// The name of this dialect.
pub const NAME: &str = "mindbridge";
/// The variables that it reads.
pub const VARIABLES: &[&str] = &[];

/// The number of the path segment that holds an id, in `/api/v1/api-tokens/{id}`.
const ID_SEGMENT: usize = 3;

/// What this dialect works with. Cloning is cheap and gives the same one.
#[derive(Clone)]
struct MindBridge(Arc<Inner>);

struct Inner {
    engine: Engine,
    realm: RealmId,
    dev: bool,
}

/// The dialect, ready to answer in one realm.
struct Spoken {
    mindbridge: MindBridge,
    /// The same routes once more, for paths without `/api` before them.
    short: Router,
}

impl fmt::Debug for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MindBridge")
            .field("realm", &self.mindbridge.realm())
            .finish_non_exhaustive()
    }
}

/// Makes the dialect ready to answer in a realm; it has no settings of its own. Does no I/O.
///
/// # Errors
/// None at present.
pub fn open(
    engine: &Engine,
    realm: RealmId,
    environment: &Environment,
) -> Result<Arc<dyn Dialect>, SettingError> {
    let mindbridge = MindBridge(Arc::new(Inner {
        engine: engine.clone(),
        realm,
        dev: environment.dev,
    }));
    let (routes, _) = routes().split_for_parts();
    let (lost, wrong) = (mindbridge.clone(), mindbridge.clone());
    let short = routes
        .with_state(mindbridge.clone())
        .method_not_allowed_fallback(move |request: Request| {
            let mindbridge = wrong.clone();
            async move { mindbridge.unrouted(request).await }
        })
        .layer(middleware::from_fn_with_state(realm, trace::note_route))
        .fallback(move |request: Request| {
            let mindbridge = lost.clone();
            async move { mindbridge.unrouted(request).await }
        });
    Ok(Arc::new(Spoken { mindbridge, short }))
}

/// Every route of this dialect.
fn routes() -> OpenApiRouter<MindBridge> {
    OpenApiRouter::with_openapi(document::frame())
        .routes(routes!(create_token::create_token))
        .routes(routes!(read_token::current_token))
        .routes(routes!(query_tokens::query_tokens))
        .routes(routes!(
            read_token::read_token,
            update_token::update_token,
            delete_token::delete_token
        ))
        .routes(routes!(users::current_user))
        .routes(routes!(users::query_users))
        .routes(routes!(users::read_user))
}

#[async_trait]
impl Dialect for Spoken {
    fn name(&self) -> &'static str {
        NAME
    }

    fn realm(&self) -> RealmId {
        self.mindbridge.realm()
    }

    fn doors(&self) -> OpenApiRouter {
        routes().with_state(self.mindbridge.clone())
    }

    fn prefixes(&self) -> &'static [&'static str] {
        &[
            "/api/v1/api-tokens",
            "/api/v1/users",
            "/v1/api-tokens",
            "/v1/users",
        ]
    }

    async fn unknown(&self, mut request: Request) -> Response {
        match lengthened(request.uri()) {
            Some(uri) => {
                *request.uri_mut() = uri;
                match self.short.clone().oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
            None => self.mindbridge.unrouted(request).await,
        }
    }

    async fn seed(&self) -> Result<Vec<FirstCredential>, Error> {
        self.mindbridge.make_first().await
    }

    fn keeps_ended(&self) -> bool {
        // An expired token is still listed, and can still be renamed.
        true
    }

    async fn mint(&self, mint: Mint) -> Result<Minted, MintError> {
        self.mindbridge.mint_for(mint)
    }

    fn complete(&self, edit: Edit) -> Result<Edit, MintError> {
        seed::renamed(edit)
    }
}

/// The path with `/api` before it, if it is one of the short ones.
fn lengthened(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !is_below(path, "/v1/api-tokens") && !is_below(path, "/v1/users") {
        return None;
    }
    let text = uri.query().map_or_else(
        || format!("/api{path}"),
        |query| format!("/api{path}?{query}"),
    );
    text.parse().ok()
}

impl MindBridge {
    fn engine(&self) -> &Engine {
        &self.0.engine
    }

    fn realm(&self) -> RealmId {
        self.0.realm
    }

    fn is_development(&self) -> bool {
        self.0.dev
    }

    /// What no route knows, and methods that a route does not take. Credentials come first.
    async fn unrouted(&self, request: Request) -> Response {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let (call, _) = Call::open(request);
        call.trace.enter(self.realm());
        let refusal = self.refuse_unrouted(&call, route.as_ref()).await;
        call.refuse(&refusal)
    }

    async fn refuse_unrouted(&self, call: &Call, route: Option<&MatchedPath>) -> Refusal {
        let who = match self.recognise(call).await {
            Ok(who) => who,
            Err(refusal) => return refusal,
        };
        let Some(route) = route else {
            return Refusal::no_such_path();
        };
        let allow = match route.as_str() {
            "/api/v1/api-tokens" => "POST",
            "/api/v1/api-tokens/{id}" => "GET, HEAD, PUT, DELETE",
            "/api/v1/users/{id}" => "GET, HEAD",
            // `current` and `query` are ids that nothing has: whoever writes to them is answered as for any such id.
            reserved => {
                let action = match call.method {
                    Method::GET | Method::HEAD => Some(Action::Read),
                    Method::PUT => Some(Action::Update),
                    Method::DELETE => Some(Action::DeleteRecord),
                    _ => None,
                };
                let of_tokens = is_below(reserved, "/api/v1/api-tokens");
                if let Some(action) = action.filter(|_| of_tokens) {
                    let id = raw_segment(&call.uri, ID_SEGMENT);
                    return match who.require(action) {
                        Ok(()) => Refusal::unknown_id(API_TOKEN, id),
                        Err(refusal) => refusal,
                    };
                }
                if reserved.ends_with("/query") {
                    "POST"
                } else {
                    "GET, HEAD"
                }
            }
        };
        Refusal::wrong_method(allow)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn short_paths_are_the_long_ones() {
        let of = |text: &str| lengthened(&text.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(
            of("/v1/api-tokens/query?page=1").as_deref(),
            Some("/api/v1/api-tokens/query?page=1")
        );
        assert_eq!(of("/v1/users").as_deref(), Some("/api/v1/users"));
        assert_eq!(of("/v1/usersx"), None);
        assert_eq!(of("/api/v1/api-tokens"), None);
    }
}
