//! The bodies of this dialect as its OpenAPI document describes them.
//!
//! The one thing a newcomer would get wrong: nothing is read or written with these types. They are what a generated client
//! sees; what is really on the wire stands in `wire.rs` and `schema.rs`, and a test keeps the two alike.

#![allow(dead_code, reason = "these types are only described, never built")]

use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Info, InfoBuilder, OpenApi, OpenApiBuilder, RefOr, Schema,
};
use utoipa::{IntoResponses, ToSchema};

/// What a token may be used for.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ApiTokenType {
    /// Backend SDKs: the older word for `backend`.
    Client,
    /// Backend SDKs and Edge.
    Backend,
    /// Browser SDKs.
    Frontend,
    /// The admin API.
    Admin,
}

/// An API token.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiToken {
    /// The full secret; where secrets are not kept, the selector by which management calls find the token.
    pub secret: Option<String>,
    /// Its name; not unique.
    pub token_name: String,
    /// What it may be used for.
    #[serde(rename = "type")]
    pub kind: ApiTokenType,
    /// Its projects, joined by commas.
    pub project: Option<String>,
    /// Its projects; `["*"]` for all.
    pub projects: Vec<String>,
    /// Its environment; `*` for admin tokens.
    pub environment: Option<String>,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: String,
    /// Always null.
    pub alias: Option<String>,
    /// When it was last used.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub seen_at: Option<String>,
    /// Whether `secret` is only a selector.
    pub secure: Option<bool>,
}

/// A list of tokens in the order of their creation.
#[derive(ToSchema)]
pub(super) struct ApiTokens {
    /// The tokens.
    pub tokens: Vec<ApiToken>,
}

/// A token to be made.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateApiToken {
    /// Its name; not empty, need not be unique.
    pub token_name: String,
    /// `client`, `backend` or `frontend`, in any case.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its environment, `development` if absent.
    pub environment: Option<String>,
    /// Its projects, joined by commas; counts where `projects` is absent.
    pub project: Option<String>,
    /// Its projects, all of them if absent.
    pub projects: Option<Vec<String>>,
    /// When it ends; never if absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<String>,
}

/// What an update changes.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateApiToken {
    /// When the token ends; an instant that has passed ends it now.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: String,
}

/// Secrets that Edge wants to know about.
#[derive(ToSchema)]
pub(super) struct TokenStrings {
    /// The secrets.
    pub tokens: Vec<String>,
}

/// What Edge learns of a token that is in force.
#[derive(ToSchema)]
pub(super) struct EdgeToken {
    /// The secret it asked about.
    pub token: String,
    /// What it may be used for.
    #[serde(rename = "type")]
    pub kind: ApiTokenType,
    /// Its projects.
    pub projects: Vec<String>,
    /// Its environment.
    pub environment: String,
}

/// Those of the secrets that are in force, in the order of the request.
#[derive(ToSchema)]
pub(super) struct ValidatedTokens {
    /// The tokens.
    pub tokens: Vec<EdgeToken>,
}

/// A client that says that it is there.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterClient {
    /// The application.
    pub app_name: String,
    /// Its instance.
    pub instance_id: Option<String>,
    /// Its SDK with version.
    pub sdk_version: Option<String>,
    /// Seconds (or milliseconds, as the SDK has it) between its reports.
    pub interval: f64,
    /// When it started: a date, or milliseconds since 1970.
    #[schema(value_type = Object)]
    pub started: String,
    /// The strategies it knows.
    pub strategies: Vec<String>,
}

/// How often a client asked for features.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientMetrics {
    /// The application.
    pub app_name: String,
    /// Its instance.
    pub instance_id: Option<String>,
    /// Counts between two instants.
    #[schema(value_type = Option<Object>)]
    pub bucket: Option<String>,
}

/// What Edge has gathered from its clients.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BulkMetrics {
    /// The applications behind it.
    #[schema(value_type = Vec<Object>)]
    pub applications: Vec<String>,
    /// Their counts.
    #[schema(value_type = Vec<Object>)]
    pub metrics: Vec<String>,
    /// Secrets it has seen in use: these tokens count as used.
    pub seen_tokens: Option<Vec<String>>,
}

/// For which token and reader a set of features was made.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientFeaturesQuery {
    /// The token's projects; absent for all of them.
    pub project: Option<Vec<String>>,
    /// The token's environment.
    pub environment: String,
    /// Whether segments are written out in place.
    pub inline_segment_constraints: bool,
}

/// Which state of the features this is.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientFeaturesMeta {
    /// Counts the changes of features; there are none.
    pub revision_id: u64,
    /// The entity tag.
    pub etag: String,
    /// A digest of the query.
    pub query_hash: String,
}

/// The features of a token: this server keeps none.
#[derive(ToSchema)]
pub(super) struct ClientFeatures {
    /// The version of this form.
    pub version: u8,
    /// Always empty.
    #[schema(value_type = Vec<Object>)]
    pub features: Vec<String>,
    /// For which token and reader.
    pub query: ClientFeaturesQuery,
    /// Always empty; only for clients that read segments apart.
    #[schema(value_type = Option<Vec<Object>>)]
    pub segments: Option<Vec<String>>,
    /// Which state.
    pub meta: ClientFeaturesMeta,
}

/// The features that are on: this server keeps none.
#[derive(ToSchema)]
pub(super) struct FrontendToggles {
    /// Always empty.
    #[schema(value_type = Vec<Object>)]
    pub toggles: Vec<String>,
}

/// For whom features are asked.
#[derive(ToSchema)]
pub(super) struct FrontendQuery {
    /// The context of the user.
    #[schema(value_type = Option<Object>)]
    pub context: Option<String>,
}

/// How the server is.
#[derive(ToSchema)]
pub(super) struct Health {
    /// `GOOD`
    pub health: String,
}

/// One reason of a refusal.
#[derive(ToSchema)]
pub(super) struct ErrorDetail {
    /// What is wrong.
    pub message: String,
    /// Where, as in `/body/expiresAt`.
    pub path: Option<String>,
}

/// What any call may be refused with.
#[derive(IntoResponses)]
pub(super) enum AnyRefusal {
    /// No credentials, or unknown ones.
    #[response(status = 401)]
    Unauthenticated(ApiError),
    /// The body has more than 100 KiB.
    #[response(status = 413)]
    TooLarge(ApiError),
    /// The store does not answer.
    #[response(status = 503)]
    Away(ApiError),
}

/// What an SDK's call may be refused with.
#[derive(IntoResponses)]
pub(super) enum OtherType {
    /// The token is of another type.
    #[response(status = 403)]
    OtherType(ApiError),
}

/// What a call may be refused with whose body is looked into.
#[derive(IntoResponses)]
pub(super) enum NotJson {
    /// The body is not JSON.
    #[response(status = 415)]
    NotJson(ApiError),
}

/// A refusal. The client and frontend APIs, and refusals of a body that cannot be parsed, have `message` alone.
#[derive(ToSchema)]
pub(super) struct ApiError {
    /// Names this refusal; absent where a handler's own rule refused.
    pub id: Option<String>,
    /// Its kind, as in `BadDataError`.
    pub name: Option<String>,
    /// What is wrong.
    pub message: String,
    /// The reasons.
    pub details: Option<Vec<ErrorDetail>>,
    /// The permissions of which one is needed.
    pub permissions: Option<Vec<String>>,
}

/// A date, or milliseconds since 1970.
fn date_or_number() -> RefOr<Schema> {
    let date = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let number = ObjectBuilder::new().schema_type(Type::Number);
    let either = OneOfBuilder::new().item(date).item(number).build();
    RefOr::T(Schema::OneOf(either))
}

/// The document without its paths.
pub(super) fn frame() -> OpenApi {
    let key = ApiKeyValue::with_description(
        "Authorization",
        "The secret of an API token, as it is; `Bearer` may stand before it.",
    );
    let schemes = ComponentsBuilder::new()
        .security_scheme("apiKey", SecurityScheme::ApiKey(ApiKey::Header(key)));
    OpenApiBuilder::new()
        .info(info())
        .components(Some(schemes.build()))
        .build()
}

fn info() -> Info {
    InfoBuilder::new()
        .title("Tokenhouse: the Unleash dialect")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "API tokens as clients of Unleash 8.2.0 know them, and the endpoints their SDKs need to start.",
        ))
        .build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use serde_json::{Value, json};
    use utoipa::PartialSchema;

    use super::super::date_time::WireInstant;
    use super::super::schema::parse_create;
    use super::super::wire::{
        CreateAnswer, EdgeItem, FeatureList, FeatureQuery, ListItem, SelectorItem, TokenType,
        TokenView, UnkeptCreateAnswer,
    };
    use super::*;

    fn described<T: PartialSchema>() -> BTreeSet<String> {
        let schema = serde_json::to_value(T::schema()).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        properties.keys().cloned().collect()
    }

    fn written(answer: &impl serde::Serialize) -> BTreeSet<String> {
        let Value::Object(members) = serde_json::to_value(answer).unwrap() else {
            panic!("an object");
        };
        members.keys().cloned().collect()
    }

    #[test]
    fn what_is_written_is_what_is_described() {
        let projects = vec!["default".to_owned()];
        let view = TokenView {
            token_name: "n",
            kind: TokenType::Backend,
            projects: &projects,
            environment: "development",
            expires_at: Some(WireInstant::MAX),
            created_at: WireInstant::MIN,
            seen_at: Some(WireInstant::MAX),
        };
        assert_eq!(written(&ListItem::new("s", &view)), described::<ApiToken>());
        let selector = written(&SelectorItem::new("s", &view));
        assert!(selector.is_subset(&described::<ApiToken>()));
        assert_eq!(
            written(&EdgeItem::new("s", &view)),
            described::<EdgeToken>()
        );
        let query = FeatureQuery::new(&projects, "development", true);
        assert_eq!(written(&query), described::<ClientFeaturesQuery>());
        let list = FeatureList::new(query, 0);
        assert_eq!(written(&list), described::<ClientFeatures>());
        let request =
            json!({"tokenName": "n", "type": "client", "expiresAt": "2030-01-01T00:00:00Z"});
        let request = parse_create(&request).unwrap();
        for created in [
            written(&CreateAnswer::new(&request, "s", WireInstant::MIN)),
            written(&UnkeptCreateAnswer::new(&request, "s", WireInstant::MIN)),
        ] {
            assert!(created.is_subset(&described::<ApiToken>()), "{created:?}");
        }
    }
}
