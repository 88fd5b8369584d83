//! `GET /v1/keys`: which keys the store uses, and which of them each server holds.
//!
//! The one thing to know: a key is shown by its id and its check, which tells it from another one under the same id; the
//! keys themselves never leave the process.

use axum::extract::{Request, State};
use engine::key_list::{KeyId, KeyKind, Keys};
use engine::verbs::keys::BindError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::native::Control;
use crate::native::caller::Speaker;
use crate::native::problem::Problem;
use crate::native::wire::parameters;

/// The list of keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListKeysResponse {
    /// Those that every server must hold, in the order in which they were listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<KeysView>,
    /// Those that new secrets are digested and new values sealed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<ActiveView>,
    /// What each server on the store holds; `null` in place of one that does not say. Absent where one process alone uses
    /// the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<Option<KeysView>>>,
}

/// Keys of both kinds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeysView {
    digest: Vec<KeyView>,
    sealing: Vec<KeyView>,
}

/// One key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyView {
    id: u32,
    /// Tells it from another key under the same id.
    check: String,
}

/// The ids of the active keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActiveView {
    digest: u32,
    sealing: u32,
}

impl From<&Keys> for KeysView {
    fn from(keys: &Keys) -> Self {
        let view = |key: &KeyId| KeyView {
            id: key.id,
            check: key.check.clone(),
        };
        Self {
            digest: keys.digest.iter().map(view).collect(),
            sealing: keys.sealing.iter().map(view).collect(),
        }
    }
}

/// List the keys in use.
#[utoipa::path(
    get,
    operation_id = "list-keys",
    path = "/v1/keys",
    responses((status = 200, description = "All of them.", body = ListKeysResponse))
)]
pub(super) async fn handler(
    State(control): State<Control>,
    _speaker: Speaker,
    request: Request,
) -> Result<axum::Json<ListKeysResponse>, Problem> {
    parameters(request.uri(), &[])?;
    let in_use = control
        .engine
        .keys_in_use()
        .await
        .map_err(|error| match error {
            BindError::Engine(error) => error,
            error => {
                tracing::error!(%error, "the list of keys cannot be shown");
                engine::Error::Internal
            }
        })?;
    let list = in_use.list.as_ref();
    let nodes = in_use.reports.as_ref().map(|reports| {
        let reports = reports.iter();
        reports
            .map(|report| report.as_ref().map(KeysView::from))
            .collect()
    });
    Ok(axum::Json(ListKeysResponse {
        keys: list.map(|list| KeysView::from(list.keys())),
        active: list.map(|list| ActiveView {
            digest: list.active(KeyKind::Digest),
            sealing: list.active(KeyKind::Sealing),
        }),
        nodes,
    }))
}
