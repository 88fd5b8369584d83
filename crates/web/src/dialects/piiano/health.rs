//! `GET /data/info/health` and `GET /ctl/info/health`: whether the vault can do its work.
//!
//! The one thing a newcomer would get wrong: these two need no key, so they say nothing but "pass".

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::Vault;
use super::call::answer;
use super::error::{Failure, HttpError};

/// How the vault is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `pass`; what does not pass answers 503.
    status: &'static str,
}

#[utoipa::path(
    get,
    path = "/api/pvlt/1.0/data/info/health",
    operation_id = "data-health",
    tag = "System",
    summary = "Health of the data plane",
    security(()),
    responses(
        (status = 200, description = "The vault works", body = Health),
        (status = 503, description = "The store does not answer", body = HttpError),
    )
)]
pub(super) async fn data(State(vault): State<Arc<Vault>>) -> Result<Response, Failure> {
    health(&vault).await
}

#[utoipa::path(
    get,
    path = "/api/pvlt/1.0/ctl/info/health",
    operation_id = "control-health",
    tag = "System",
    summary = "Health of the control plane",
    security(()),
    responses(
        (status = 200, description = "The vault works", body = Health),
        (status = 503, description = "The store does not answer", body = HttpError),
    )
)]
pub(super) async fn control(State(vault): State<Arc<Vault>>) -> Result<Response, Failure> {
    health(&vault).await
}

async fn health(vault: &Vault) -> Result<Response, Failure> {
    vault.engine.ready().await?;
    Ok(answer(&Health { status: "pass" }))
}
