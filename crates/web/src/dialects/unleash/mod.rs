//! The Unleash dialect: API tokens as Unleash 8.2.0 speaks of them. The folder's README has the table of its endpoints.
//!
//! The one thing a newcomer would get wrong: paths here *are* secrets. Nothing logs a path, and refusals that repeat one
//! go to the caller alone.

mod answer;
mod caller;
mod client_features;
mod client_metrics;
mod client_register;
mod create_token;
mod date_time;
mod delete_token;
mod document;
mod error;
mod etag;
mod find_tokens_by_name;
mod frontend;
mod health;
mod incoming;
mod list_tokens;
mod rate;
mod records;
mod room;
mod schema;
mod scope;
mod secret;
mod seed;
mod selector;
mod settings;
mod update_token;
mod validate;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{FromRequest as _, MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use engine::realm::RealmId;
use engine::{Engine, Error};
use utoipa::openapi::path::PathItem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::answer::{Answer, respond};
use self::error::WireError;
use self::incoming::Incoming;
use self::rate::Rate;
use self::room::Room;
use self::settings::Settings;
use self::wire::TokenType;
use super::{Dialect, Environment, FirstCredential, Mint, MintError, Minted, SettingError};
use crate::kit::path::is_below;
use crate::kit::trace::Trace;

/// The name of this dialect.
pub const NAME: &str = "unleash";
/// The variables that it reads.
pub const VARIABLES: &[&str] = settings::VARIABLES;

/// The version of the product that is spoken, and told to SDKs.
const PRODUCT_VERSION: &str = "8.2.0";

/// The number of the path segment that holds a secret or a name, in `/api/admin/api-tokens/{token}`.
const TOKEN_SEGMENT: usize = 3;

/// The types of token that the client API is for.
const BACKEND_KINDS: &[TokenType] = &[TokenType::Client, TokenType::Backend];

/// The dialect, ready to answer in one realm. Cloning is cheap and gives the same one.
#[derive(Clone)]
struct Unleash(Arc<Inner>);

struct Inner {
    engine: Engine,
    realm: RealmId,
    settings: Settings,
    room: Room,
    validations: Rate,
    /// Route → the methods it takes, as `OPTIONS` tells them.
    methods: BTreeMap<String, String>,
}

impl fmt::Debug for Unleash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unleash")
            .field("realm", &self.0.realm)
            .finish_non_exhaustive()
    }
}

/// Reads the settings and makes the dialect ready to answer in a realm. Does no I/O.
///
/// # Errors
/// The setting that cannot be used.
pub fn open(
    engine: &Engine,
    realm: RealmId,
    environment: &Environment,
) -> Result<Arc<dyn Dialect>, SettingError> {
    let paths = &routes().into_openapi().paths.paths;
    let methods = paths.iter();
    Ok(Arc::new(Unleash(Arc::new(Inner {
        engine: engine.clone(),
        realm,
        settings: Settings::read(environment)?,
        room: Room::default(),
        validations: Rate::default(),
        methods: methods
            .map(|(path, item)| (path.clone(), methods_of(item)))
            .collect(),
    }))))
}

/// Every route of this dialect.
fn routes() -> OpenApiRouter<Unleash> {
    OpenApiRouter::with_openapi(document::frame())
        .routes(routes!(
            list_tokens::list_tokens,
            create_token::create_token
        ))
        .routes(routes!(
            find_tokens_by_name::find_tokens_by_name,
            update_token::update_token,
            delete_token::delete_token
        ))
        .routes(routes!(validate::validate))
        .routes(routes!(client_register::client_register))
        .routes(routes!(client_features::client_features))
        .routes(routes!(client_metrics::client_metrics))
        .routes(routes!(client_metrics::client_metrics_bulk))
        .routes(routes!(client_metrics::client_metrics_edge))
        .routes(routes!(frontend::frontend_get, frontend::frontend_post))
        .routes(routes!(frontend::frontend_register))
        .routes(routes!(frontend::frontend_metrics))
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
}

/// In the order in which the product names them.
fn methods_of(item: &PathItem) -> String {
    [
        ("GET,HEAD", item.get.is_some()),
        ("POST", item.post.is_some()),
        ("PUT", item.put.is_some()),
        ("DELETE", item.delete.is_some()),
    ]
    .into_iter()
    .filter_map(|(method, taken)| taken.then_some(method))
    .collect::<Vec<_>>()
    .join(",")
}

#[async_trait]
impl Dialect for Unleash {
    fn name(&self) -> &'static str {
        NAME
    }

    fn realm(&self) -> RealmId {
        self.0.realm
    }

    fn doors(&self) -> OpenApiRouter {
        routes().with_state(self.clone())
    }

    fn prefixes(&self) -> &'static [&'static str] {
        &["/api", "/edge", "/auth", "/invite", "/health", "/ready"]
    }

    async fn unknown(&self, request: Request) -> Response {
        let extensions = request.extensions();
        if let Some(trace) = extensions.get::<Trace>() {
            trace.enter(self.0.realm);
        }
        let route = extensions.get::<MatchedPath>().cloned();
        let incoming = match Incoming::from_request(request, &()).await {
            Ok(incoming) => incoming,
            Err(refused) => return refused,
        };
        if is_below(incoming.uri.path(), frontend::PREFIX) {
            return frontend::unknown(self, &incoming).await;
        }
        let outcome = self.unrouted(&incoming, route.as_ref()).await;
        respond(&incoming, outcome)
    }

    async fn seed(&self) -> Result<Vec<FirstCredential>, Error> {
        self.make_first().await
    }

    fn keeps_ended(&self) -> bool {
        // Expired tokens stay in lists, count toward the limit, and come back with a later expiry.
        true
    }

    async fn mint(&self, mint: Mint) -> Result<Minted, MintError> {
        self.mint_for(mint)
    }
}

impl Unleash {
    fn engine(&self) -> &Engine {
        &self.0.engine
    }

    fn realm(&self) -> RealmId {
        self.0.realm
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn room_taken(&self) -> &Room {
        &self.0.room
    }

    fn validations(&self) -> &Rate {
        &self.0.validations
    }

    /// A new id for a refusal.
    fn error_id(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.engine().random(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A refusal of the engine in this product's words.
    fn refusal(&self, error: Error) -> WireError {
        WireError::from((error, self.error_id()))
    }

    /// What no route knows, and methods that a route does not take. Credentials come first, each API's own.
    async fn unrouted(
        &self,
        incoming: &Incoming,
        route: Option<&MatchedPath>,
    ) -> Result<Answer, WireError> {
        let path = incoming.uri.path();
        if is_below(path, "/api/client") {
            self.sdk(incoming, BACKEND_KINDS).await?;
        } else if is_below(path, "/api") {
            self.administrator(incoming).await?;
        } else {
            self.anybody(incoming).await?;
        }
        let methods = route.and_then(|route| self.0.methods.get(route.as_str()));
        match methods {
            Some(methods) if incoming.method == Method::OPTIONS => {
                let allow = HeaderValue::from_str(methods).expect("methods are letters and commas");
                let text = Answer::text(StatusCode::OK, "text/html; charset=utf-8", methods);
                Ok(text.with(header::ALLOW, allow))
            }
            _ => Err(error::path_not_found(self.error_id(), &incoming.sent_path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_name_the_methods_of_a_route() {
        let document = routes().into_openapi();
        let of = |path: &str| methods_of(&document.paths.paths[path]);
        assert_eq!(of("/api/admin/api-tokens/{token}"), "GET,HEAD,PUT,DELETE");
        assert_eq!(of("/api/admin/api-tokens"), "GET,HEAD,POST");
        assert_eq!(of("/edge/validate"), "POST");
    }
}
