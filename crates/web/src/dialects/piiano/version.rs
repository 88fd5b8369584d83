//! `GET /system/info/version`: which vault this is.
//!
//! The one thing a newcomer would get wrong: clients use it to try their key, so it needs a good one, but no right.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::{Call, answer};
use super::error::{AnyRefusal, Failure};
use super::{Vault, records};

/// The version of the product that is spoken, and that of the program that speaks it.
const VERSION: &str = concat!("1.13.3-tokenhouse.", env!("CARGO_PKG_VERSION"));

/// Which vault this is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct About {
    /// The same for ever; no other vault has it.
    vault_id: String,
    /// The version whose behaviour this is.
    vault_version: &'static str,
    /// The schema of what is stored.
    db_schema_version: u32,
}

#[utoipa::path(
    get,
    path = "/api/pvlt/1.0/system/info/version",
    operation_id = "get-vault-version",
    tag = "System",
    summary = "Get the version",
    responses(
        (status = 200, description = "Which vault this is", body = About),
        AnyRefusal,
    )
)]
pub(super) async fn handler(
    State(vault): State<Arc<Vault>>,
    request: Request,
) -> Result<Response, Failure> {
    let call = Call::begin(vault, request).await?;
    // The product prints a number; the low half of the realm's id is the random one.
    let (_, low) = call.vault.realm.0.as_u64_pair();
    Ok(answer(&About {
        vault_id: low.to_string(),
        vault_version: VERSION,
        db_schema_version: records::SCHEMA,
    }))
}
