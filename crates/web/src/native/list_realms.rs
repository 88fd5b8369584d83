//! `GET /v1/realms`: where tokens live.
//!
//! The one thing to know: a realm outlives the dialect that speaks it: one that is switched off is listed all the same.

use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::native::Control;
use crate::native::caller::Speaker;
use crate::native::problem::Problem;
use crate::native::realms::dialect_of;
use crate::native::wire::parameters;

/// All realms, in order of creation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListRealmsResponse {
    realms: Vec<RealmView>,
}

/// One realm.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RealmView {
    id: Uuid,
    /// What speaks it, and which one: `<dialect>/<instance>`.
    name: String,
    dialect: String,
    /// Whether its dialect is spoken by this server at present.
    spoken: bool,
}

/// List the realms.
#[utoipa::path(
    get,
    operation_id = "list-realms",
    path = "/v1/realms",
    responses((status = 200, description = "All of them.", body = ListRealmsResponse))
)]
pub(super) async fn handler(
    State(control): State<Control>,
    _speaker: Speaker,
    request: Request,
) -> Result<axum::Json<ListRealmsResponse>, Problem> {
    parameters(request.uri(), &[])?;
    let realms = control.engine.realms().await?;
    let realms = realms.into_iter().map(|realm| RealmView {
        id: realm.id.0,
        dialect: dialect_of(&realm.name).to_owned(),
        spoken: control
            .dialects
            .iter()
            .any(|dialect| dialect.realm() == realm.id),
        name: realm.name,
    });
    let realms = realms.collect();
    Ok(axum::Json(ListRealmsResponse { realms }))
}
