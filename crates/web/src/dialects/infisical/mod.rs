//! The Infisical dialect: machine identities and their access tokens (Token Auth). The folder's README has the table of
//! its endpoints.
//!
//! The one thing a newcomer would get wrong: the credential is a JWT, but the JWT decides nothing. It names a row, and the
//! row and the records above it say whether it is good, so that a revocation holds for the very next request.

mod attach_token_auth;
mod bootstrap;
mod caller;
mod create_identity;
mod create_token;
mod delete_identity;
mod detach_token_auth;
mod document;
mod error;
mod get_identity;
mod get_token;
mod get_token_auth;
mod identity_details;
mod incoming;
mod jwt;
mod list_identities;
mod list_tokens;
mod minting;
mod records;
mod revoke_token;
mod roles;
mod schema;
mod seed;
mod settings;
mod status;
mod trusted_ips;
mod update_identity;
mod update_token;
mod update_token_auth;
mod wire;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{FromRequest as _, Request};
use axum::http::StatusCode;
use axum::response::Response;
use engine::locator::Space;
use engine::realm::RealmId;
use engine::verbs::update::{Edit, Field};
use engine::{Engine, Error};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::incoming::{Incoming, json_response};
use self::jwt::Signer;
use self::settings::Settings;
use super::{Dialect, Environment, FirstCredential, Mint, MintError, Minted, SettingError};
use crate::kit::trace::Trace;

/// The name of this dialect.
pub const NAME: &str = "infisical";
/// The variables that it reads.
pub const VARIABLES: &[&str] = settings::VARIABLES;

/// The number of the path segment with an identity's id below `/api/v1/auth/token-auth/identities`.
const AUTH_IDENTITY_SEGMENT: usize = 5;
/// The number of the path segment with a token's id below `/api/v1/auth/token-auth/tokens`.
const TOKEN_SEGMENT: usize = 5;
/// The number of the path segment with an identity's id below `/api/v1/identities`.
const IDENTITY_SEGMENT: usize = 3;

/// The dialect, ready to answer in one realm. Cloning is cheap and gives the same one.
#[derive(Clone)]
struct Infisical(Arc<Inner>);

struct Inner {
    engine: Engine,
    realm: RealmId,
    settings: Settings,
    signer: Signer,
}

impl fmt::Debug for Infisical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Infisical")
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
    let settings = Settings::read(environment)?;
    let signer = if let Some(secret) = &settings.auth_secret {
        Signer::new(secret.as_bytes())
    } else {
        // The same at every start, and another in every realm and installation.
        let label = Space::of("infisical-auth-secret");
        Signer::new(&engine.keyring().blind(realm, &label, &[]))
    };
    Ok(Arc::new(Infisical(Arc::new(Inner {
        engine: engine.clone(),
        realm,
        settings,
        signer,
    }))))
}

/// Every route of this dialect.
fn routes() -> OpenApiRouter<Infisical> {
    OpenApiRouter::with_openapi(document::frame())
        .routes(routes!(
            attach_token_auth::attach_token_auth,
            update_token_auth::update_token_auth,
            get_token_auth::get_token_auth,
            detach_token_auth::detach_token_auth
        ))
        .routes(routes!(
            create_token::create_token,
            list_tokens::list_tokens
        ))
        .routes(routes!(get_token::get_token_of_identity))
        .routes(routes!(get_token::get_token, update_token::update_token))
        .routes(routes!(revoke_token::revoke_token))
        .routes(routes!(
            create_identity::create_identity,
            list_identities::list_identities
        ))
        .routes(routes!(
            get_identity::get_identity,
            update_identity::update_identity,
            delete_identity::delete_identity
        ))
        .routes(routes!(identity_details::identity_details))
        .routes(routes!(bootstrap::bootstrap))
        .routes(routes!(status::status))
}

#[async_trait]
impl Dialect for Infisical {
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
        &["/api/v1", "/api/status"]
    }

    async fn unknown(&self, request: Request) -> Response {
        if let Some(trace) = request.extensions().get::<Trace>() {
            trace.enter(self.0.realm);
        }
        let Ok(incoming) = Incoming::from_request(request, &()).await;
        let route = format!("{}:{}", incoming.method, incoming.uri.path());
        let body = json!({
            "reqId": incoming.id(),
            "statusCode": 404,
            "error": "Not Found",
            "message": format!("Route {route} not found"),
            "docs": "/openapi/infisical.json",
        });
        json_response(StatusCode::NOT_FOUND, &body)
    }

    async fn seed(&self) -> Result<Vec<FirstCredential>, Error> {
        self.make_first().await
    }

    async fn mint(&self, mint: Mint) -> Result<Minted, MintError> {
        self.mint_for(mint).await
    }

    fn complete(&self, edit: Edit) -> Result<Edit, MintError> {
        match &edit.name {
            Field::Set(name) => seed::check_name(name).map(|()| edit),
            Field::Keep | Field::Clear => Ok(edit),
        }
    }
}

impl Infisical {
    fn engine(&self) -> &Engine {
        &self.0.engine
    }

    fn realm(&self) -> RealmId {
        self.0.realm
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn signer(&self) -> &Signer {
        &self.0.signer
    }
}
