//! Piiano Vault 1.13.3: data tokens, the objects that own them, and the collections that hold both.
//!
//! The one thing a newcomer would get wrong: every success is a 200, updates and deletions answer without a body, and a
//! look-up that finds nothing is an empty list, while an update that finds nothing is a 404. One file per endpoint; the
//! product's vocabulary (types, schemas, masks, queries) is pure code under `vocabulary/`.

mod add_collection;
mod add_object;
mod admin_key;
mod answers;
mod call;
mod caller;
mod collections;
mod cors;
mod count_tokens;
mod delete_collection;
mod delete_object;
mod delete_tokens;
mod detokenize;
mod error;
mod fields;
mod get_collection;
mod get_object;
mod health;
mod list_collections;
mod metadata;
mod objects;
mod records;
mod requests;
mod search_tokens;
mod selecting;
mod settings;
mod source;
mod tokenize;
mod update_tokens;
mod values;
mod version;
/// Public, so that fuzz targets reach its parsers.
pub mod vocabulary;

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::Request;
use axum::middleware;
use axum::response::Response;
use engine::Engine;
use engine::realm::RealmId;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::settings::Settings;
use crate::dialects::{
    Dialect, Environment, FirstCredential, Mint, MintError, Minted, SettingError,
};

/// The dialect's name.
pub const NAME: &str = "piiano";
/// The variables that it reads.
pub const VARIABLES: &[&str] = settings::VARIABLES;

/// Bytes of a body. Choice: room for a blob of the largest size, in base64, beside other values.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Reads the settings; does no I/O.
///
/// # Errors
/// A setting that cannot be used.
pub fn open(
    engine: &Engine,
    realm: RealmId,
    environment: &Environment,
) -> Result<Arc<dyn Dialect>, SettingError> {
    let vault = Vault {
        engine: engine.clone(),
        realm,
        settings: Settings::read(environment)?,
    };
    Ok(Arc::new(Piiano(Arc::new(vault))))
}

/// What every endpoint works with.
#[derive(Debug)]
struct Vault {
    engine: Engine,
    realm: RealmId,
    settings: Settings,
}

#[derive(Debug)]
struct Piiano(Arc<Vault>);

/// What the document says before its endpoints.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Piiano Vault API",
        version = "1.13.3",
        description = "Tokens that stand for personal data, as Piiano Vault speaks of them. Lists in a query are repeated \
                       keys or one value with commas.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    modifiers(&Security),
    security(("bearerAuth" = [])),
    tags(
        (name = "Tokens", description = "Make, read, change, find, count and delete tokens"),
        (name = "Objects", description = "Stored values that can own tokens"),
        (name = "Collections", description = "Schemas of objects and tokens"),
        (name = "System", description = "Health and version"),
    ),
)]
struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("bearerAuth", scheme);
    }
}

#[async_trait]
impl Dialect for Piiano {
    fn name(&self) -> &'static str {
        NAME
    }

    fn realm(&self) -> RealmId {
        self.0.realm
    }

    fn doors(&self) -> OpenApiRouter {
        let vault = Arc::clone(&self.0);
        OpenApiRouter::with_openapi(Document::openapi())
            .routes(routes!(health::data))
            .routes(routes!(health::control))
            .routes(routes!(version::handler))
            .routes(routes!(list_collections::handler, add_collection::handler))
            .routes(routes!(get_collection::handler, delete_collection::handler))
            .routes(routes!(add_object::handler))
            .routes(routes!(get_object::handler, delete_object::handler))
            .routes(routes!(
                update_tokens::handler,
                tokenize::handler,
                detokenize::handler,
                delete_tokens::handler
            ))
            .routes(routes!(search_tokens::handler))
            .routes(routes!(count_tokens::handler))
            .layer(middleware::from_fn_with_state(
                Arc::clone(&vault),
                cors::around,
            ))
            .with_state(vault)
    }

    fn prefixes(&self) -> &'static [&'static str] {
        &["/api/pvlt"]
    }

    async fn unknown(&self, request: Request) -> Response {
        cors::unrouted(&self.0.settings.origins, &request)
    }

    async fn seed(&self) -> Result<Vec<FirstCredential>, engine::Error> {
        admin_key::seed(&self.0).await
    }

    async fn mint(&self, mint: Mint) -> Result<Minted, MintError> {
        admin_key::mint(&self.0.engine, mint)
    }
}
