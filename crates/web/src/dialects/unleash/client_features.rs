//! `GET /api/client/features`: the feature flags of a backend SDK. This server keeps none: the set is empty.
//!
//! The one thing a newcomer would get wrong: the entity tag here is a strong one of its own, made of the query, and its 304
//! has no tag. SDKs and Edge ask every few seconds, so that this is the call that must be cheap.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::HeaderName;
use axum::response::Response;

use super::answer::{Answer, respond};
use super::document::{AnyRefusal, ApiError, ClientFeatures, OtherType};
use super::error::{self, WireError};
use super::incoming::Incoming;
use super::wire::{FeatureList, FeatureQuery, separates_segments};
use super::{BACKEND_KINDS, Unleash};

/// There are no features, so they have never changed.
const REVISION: u64 = 0;

/// Feature flags for backend SDKs
///
/// Always an empty set, made for the projects and the environment of the token.
#[utoipa::path(
    get,
    path = "/api/client/features",
    operation_id = "getAllClientFeatures",
    tag = "Client",
    params(("Unleash-Client-Spec" = Option<String>, Header, description = "From 4.2.0 on, segments are told apart.")),
    responses(
        (status = 200, description = "The empty set.", body = ClientFeatures),
        (status = 304, description = "The caller has it already (If-None-Match)."),
        (status = 400, description = "Unleash-Client-Spec is no version.", body = ApiError),
        AnyRefusal,
        OtherType,
    ),
    security(("apiKey" = []))
)]
pub(super) async fn client_features(
    State(unleash): State<Unleash>,
    incoming: Incoming,
) -> Response {
    let outcome = features(&unleash, &incoming).await;
    respond(&incoming, outcome)
}

async fn features(unleash: &Unleash, incoming: &Incoming) -> Result<Answer, WireError> {
    let scope = unleash.sdk(incoming, BACKEND_KINDS).await?;
    let spec = incoming.header(&HeaderName::from_static("unleash-client-spec"));
    let separate =
        separates_segments(spec.as_deref()).map_err(|reason| error::bad_data(&reason, None))?;
    let query = FeatureQuery::new(&scope.projects, &scope.environment, separate);
    let list = FeatureList::new(query, REVISION);
    Ok(Answer::json(StatusCode::OK, &list).tagged(list.etag()))
}
