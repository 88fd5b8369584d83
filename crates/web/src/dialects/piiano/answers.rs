//! The bodies that the token calls answer with.
//!
//! The one thing a newcomer would get wrong: a field that is not there is left out, but the two expirations of an entry
//! and that of the aggregate are always there and may be null: null is "never".

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::requests::TokenType;

/// A token that was made, or found to be there.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenValue {
    /// Its ID.
    pub(super) token_id: String,
    /// The object that was stored with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Uuid, required = false)]
    pub(super) object_id: Option<Uuid>,
}

/// What a token stands for.
#[derive(Serialize, ToSchema)]
pub(super) struct DetokenizedToken {
    /// Its ID.
    pub(super) token_id: String,
    /// The values, by the names they were asked by.
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    pub(super) fields: Map<String, Value>,
    /// If asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = TokenMetadata, required = false)]
    pub(super) metadata: Option<TokenMetadata>,
}

/// What is known of a token beside what it stands for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenMetadata {
    /// What it is.
    #[serde(rename = "type")]
    #[schema(value_type = TokenType)]
    pub(super) kind: String,
    /// Within which the same values are the same token.
    pub(super) scope: String,
    /// Its ID.
    pub(super) token_id: String,
    /// What all entries of the ID have in common.
    pub(super) agg: Aggregate,
    /// The entries that match, one for each object that shares the ID.
    pub(super) tokens: Vec<TokenRefMetadata>,
}

/// What all entries of one ID have in common.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Aggregate {
    /// The latest effective expiration; null is never.
    #[schema(required, format = DateTime)]
    pub(super) max_effective_expiration_time: Option<String>,
}

/// One entry of a token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenRefMetadata {
    /// When it was made.
    #[schema(format = DateTime)]
    pub(super) creation_time: String,
    /// When it ends by itself; null is never.
    #[schema(required, format = DateTime)]
    pub(super) expiration_time: Option<String>,
    /// When it ends in effect, its object considered.
    #[schema(required, format = DateTime)]
    pub(super) effective_expiration_time: Option<String>,
    /// The object that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Uuid, required = false)]
    pub(super) object_id: Option<Uuid>,
    /// The tenant it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub(super) effective_tenant_id: Option<String>,
    /// All tags of the entries that share the ID.
    pub(super) tags: Vec<String>,
}

/// How many tokens a collection has.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Count {
    /// In force.
    pub(super) active: u64,
    /// Ended, and still there.
    pub(super) archived: u64,
    /// Both.
    pub(super) total: u64,
}
