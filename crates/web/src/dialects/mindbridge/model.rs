//! The entities as they are answered: API tokens and users.
//!
//! The one thing a newcomer would get wrong: the order of these fields is on the wire, and so is what is *not* there: the
//! secret is in the answer of a create and in no other.

use engine::Error;
use engine::caller::Caller;
use engine::token::Token;
use serde::Serialize;
use utoipa::ToSchema;

use super::people::{People, UserInfo};
use super::records::Ids;
use super::{MindBridge, addresses, date_time};

/// The role of every API Token User.
pub(super) const ROLE: &str = "ROLE_ADMIN";

/// An API token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiToken {
    /// Its id.
    id: String,
    /// Counts its changes; a save must name the present one.
    #[schema(format = Int64)]
    version: i64,
    /// When it was made.
    #[schema(format = DateTime)]
    creation_date: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    last_modified_date: String,
    /// Who made it.
    created_user_info: UserInfo,
    /// Who last changed it.
    last_modified_user_info: UserInfo,
    /// The API Token User of this token.
    user_id: String,
    /// Its name, also that of its user.
    name: String,
    /// The beginning of its secret.
    partial_token: String,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    expiry: Option<String>,
    /// From where it may be used; empty is anywhere.
    allowed_addresses: Vec<String>,
    /// What its bearer may do.
    permissions: Vec<String>,
    /// Its secret: only in the answer of a create.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    token: Option<String>,
}

/// A sign-in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecentLogin {
    /// When.
    #[schema(format = DateTime)]
    timestamp: String,
    /// From where.
    ip_address: String,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    /// Its id.
    id: String,
    /// Counts its changes.
    #[schema(format = Int64)]
    version: i64,
    /// When it was made.
    #[schema(format = DateTime)]
    creation_date: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    last_modified_date: String,
    /// Who made it.
    created_user_info: UserInfo,
    /// Who last changed it.
    last_modified_user_info: UserInfo,
    /// Empty.
    first_name: String,
    /// The name of its API token.
    last_name: String,
    /// None.
    email: Option<String>,
    /// Its role.
    #[schema(value_type = String)]
    role: &'static str,
    /// Whether it may sign in.
    enabled: bool,
    /// Whether it has been confirmed.
    validated: bool,
    /// Whether it is a program's.
    service_account: bool,
    /// Its latest sign-ins.
    recent_logins: Vec<RecentLogin>,
}

/// The version as this wire has it.
pub(super) fn version(token: &Token) -> i64 {
    // Nothing changes that often.
    i64::try_from(token.version).unwrap_or(i64::MAX)
}

/// What a token's addresses are as texts.
pub(super) fn allowed_addresses(token: &Token) -> Vec<String> {
    let addresses = token.access().map(|access| access.addresses.as_slice());
    let addresses = addresses.unwrap_or_default().iter();
    addresses.map(addresses::to_text).collect()
}

impl ApiToken {
    /// A token, with its secret if it has just been made.
    pub(super) fn new(token: &Token, ids: Ids, people: &People, secret: Option<String>) -> Self {
        let access = token.access();
        Self {
            id: ids.token.to_string(),
            version: version(token),
            creation_date: date_time::to_text(token.created_at),
            last_modified_date: date_time::to_text(token.updated_at),
            created_user_info: people.get(&token.created_by),
            last_modified_user_info: people.get(&token.updated_by),
            user_id: ids.user.to_string(),
            name: token.name.clone().unwrap_or_default(),
            partial_token: access.map(|access| access.hint.clone()).unwrap_or_default(),
            expiry: token.expires_at.map(date_time::to_text),
            allowed_addresses: allowed_addresses(token),
            permissions: access
                .map(|access| access.permissions.clone())
                .unwrap_or_default(),
            token: secret,
        }
    }
}

impl User {
    /// The API Token User of a token.
    pub(super) fn new(token: &Token, ids: Ids, people: &People) -> Self {
        Self {
            id: ids.user.to_string(),
            version: version(token),
            creation_date: date_time::to_text(token.created_at),
            last_modified_date: date_time::to_text(token.updated_at),
            created_user_info: people.get(&token.created_by),
            last_modified_user_info: people.get(&token.updated_by),
            first_name: String::new(),
            last_name: token.name.clone().unwrap_or_default(),
            email: None,
            role: ROLE,
            enabled: true,
            validated: true,
            service_account: true,
            // A use is known by its instant alone: addresses are not kept.
            recent_logins: Vec::new(),
        }
    }
}

impl MindBridge {
    /// A token as it is answered.
    pub(super) async fn token_view(
        &self,
        reader: &Caller,
        token: &Token,
        secret: Option<String>,
    ) -> Result<ApiToken, Error> {
        let mut people = People::default();
        people
            .learn(self, reader, std::slice::from_ref(token))
            .await?;
        let ids = Ids::of_attributes(&token.attributes).ok_or(Error::Internal)?;
        Ok(ApiToken::new(token, ids, &people, secret))
    }

    /// The user of a token as it is answered.
    pub(super) async fn user_view(&self, reader: &Caller, token: &Token) -> Result<User, Error> {
        let mut people = People::default();
        people
            .learn(self, reader, std::slice::from_ref(token))
            .await?;
        let ids = Ids::of_attributes(&token.attributes).ok_or(Error::Internal)?;
        Ok(User::new(token, ids, &people))
    }
}
