//! The bodies of answers, as they are written and as the OpenAPI document describes them.
//!
//! The one thing a newcomer would get wrong: what is absent is `null` with the key there, and every number is a number,
//! never a text. The order of fields is the order on the wire.

#![allow(clippy::struct_field_names, reason = "the names are the product's")]

use engine::clock::Timestamp;
use engine::realm::RealmId;
use engine::store::Usage;
use engine::token::{State, Token};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::records::{Attributes, Identity, Known, Metadata, Organization, TOKEN_AUTH, TokenAuth};
use super::trusted_ips::TrustedIp;

/// An instant with milliseconds.
pub(super) fn date(at: Timestamp) -> String {
    let civil = at.to_civil();
    let millis = at.as_millis().rem_euclid(1000);
    format!("{}.{millis:03}Z", civil.strftime("%Y-%m-%dT%H:%M:%S"))
}

/// An access token without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccessToken {
    /// Its id.
    id: Uuid,
    /// Seconds that it lives, all bounds applied.
    #[serde(rename = "accessTokenTTL")]
    access_token_ttl: u64,
    /// Seconds, as configured when it was made; 0 is no bound.
    #[serde(rename = "accessTokenMaxTTL")]
    access_token_max_ttl: u64,
    /// How often it was used; at most a few seconds old.
    access_token_num_uses: u64,
    /// How often it may be used; 0 is any number.
    access_token_num_uses_limit: u64,
    /// When it was last used.
    access_token_last_used_at: Option<String>,
    /// Always null.
    access_token_last_renewed_at: Option<String>,
    /// Whether it was revoked.
    is_access_token_revoked: bool,
    /// Always null.
    #[serde(rename = "identityUAClientSecretId")]
    identity_ua_client_secret_id: Option<String>,
    /// Whose it is.
    identity_id: Uuid,
    /// When it was made.
    created_at: String,
    /// Its last change.
    updated_at: String,
    /// What people call it; not unique.
    name: Option<String>,
    /// Always `token-auth`.
    auth_method: &'static str,
    /// Always 0.
    access_token_period: u64,
    /// Always null.
    sub_organization_id: Option<Uuid>,
}

impl AccessToken {
    /// As answers show it.
    pub(super) fn of(token: &Token, usage: Option<&Usage>) -> Result<Self, engine::Error> {
        let attributes = Attributes::of(token)?;
        let limit = token.access().and_then(|access| access.uses_max);
        Ok(Self {
            id: token.id.0,
            access_token_ttl: attributes.ttl_secs,
            access_token_max_ttl: attributes.ttl_secs_max,
            access_token_num_uses: usage.map_or(0, |usage| usage.uses),
            access_token_num_uses_limit: limit.unwrap_or(0),
            access_token_last_used_at: usage.map(|usage| date(usage.last_used_at)),
            access_token_last_renewed_at: None,
            is_access_token_revoked: token.state == State::Revoked,
            identity_ua_client_secret_id: None,
            identity_id: attributes.identity_id,
            created_at: date(token.created_at),
            updated_at: date(token.updated_at),
            name: token.name.clone(),
            auth_method: TOKEN_AUTH,
            access_token_period: 0,
            sub_organization_id: None,
        })
    }
}

/// One access token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenAnswer {
    /// The token.
    pub token: AccessToken,
}

/// A page of access tokens.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokensAnswer {
    /// The tokens, the last changed first.
    pub tokens: Vec<AccessToken>,
    /// How many there are in all.
    pub total_count: usize,
}

/// A new access token: the only answer with its secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewTokenAnswer {
    /// The secret, shown once.
    pub access_token: String,
    /// Seconds, as configured; 0 is the longest that the installation allows.
    pub expires_in: u64,
    /// Seconds, as configured; 0 is no bound.
    #[serde(rename = "accessTokenMaxTTL")]
    pub access_token_max_ttl: u64,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// The token without its secret.
    pub token_data: AccessToken,
}

/// What was done, in words.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessageAnswer {
    /// The words.
    pub message: &'static str,
}

/// How an identity's tokens are made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct IdentityTokenAuth {
    /// Its id.
    id: Uuid,
    /// Seconds that new tokens live; 0 is the longest that the installation allows.
    #[serde(rename = "accessTokenTTL")]
    access_token_ttl: u64,
    /// Seconds that they live at the most; 0 is no bound.
    #[serde(rename = "accessTokenMaxTTL")]
    access_token_max_ttl: u64,
    /// How often each may be used; 0 is any number.
    access_token_num_uses_limit: u64,
    /// From where they may be used; holds for the existing ones too.
    access_token_trusted_ips: Vec<TrustedIp>,
    /// When it was attached.
    created_at: String,
    /// Its last change.
    updated_at: String,
    /// Whose it is.
    identity_id: Uuid,
    /// Always 0.
    access_token_period: u64,
}

/// The token auth of an identity.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenAuthAnswer {
    /// How its tokens are made.
    identity_token_auth: IdentityTokenAuth,
}

impl TokenAuthAnswer {
    /// As answers show it.
    pub(super) fn of(auth: Known<TokenAuth>, identity: Uuid) -> Self {
        Self {
            identity_token_auth: IdentityTokenAuth {
                id: auth.id.0,
                access_token_ttl: auth.body.ttl_secs,
                access_token_max_ttl: auth.body.ttl_secs_max,
                access_token_num_uses_limit: auth.body.uses_max,
                access_token_trusted_ips: auth.body.trusted_ips,
                created_at: date(auth.created_at),
                updated_at: date(auth.updated_at),
                identity_id: identity,
                access_token_period: 0,
            },
        }
    }
}

/// The names of the ways to authenticate that are attached.
pub(super) fn methods(attached: bool) -> Vec<&'static str> {
    if attached {
        vec![TOKEN_AUTH]
    } else {
        Vec::new()
    }
}

/// An identity.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireIdentity {
    /// Its id.
    id: Uuid,
    /// What people call it; not unique.
    name: String,
    /// Always null: see `authMethods`.
    auth_method: Option<String>,
    /// When it was made.
    created_at: String,
    /// Its last change.
    updated_at: String,
    /// Whether it refuses to be deleted.
    has_delete_protection: bool,
    /// Its organization.
    org_id: Uuid,
    /// Always null.
    project_id: Option<String>,
    /// The ways to authenticate that are attached.
    auth_methods: Vec<&'static str>,
    /// What people note about it.
    metadata: Vec<Metadata>,
}

/// One identity.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IdentityAnswer {
    /// The identity.
    identity: WireIdentity,
}

impl IdentityAnswer {
    /// As answers to writes show it.
    pub(super) fn of(identity: Known<Identity>, realm: RealmId, attached: bool) -> Self {
        Self {
            identity: WireIdentity {
                id: identity.id.0,
                name: identity.body.name,
                auth_method: None,
                created_at: date(identity.created_at),
                updated_at: date(identity.updated_at),
                has_delete_protection: identity.body.has_delete_protection,
                org_id: realm.0,
                project_id: None,
                auth_methods: methods(attached),
                metadata: identity.body.metadata,
            },
        }
    }
}

/// An identity as a member of its organization.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Membership {
    /// The id of the membership, not of the identity.
    id: Uuid,
    /// `admin`, `member` or `no-access`.
    role: &'static str,
    /// Always null.
    role_id: Option<Uuid>,
    /// The organization.
    org_id: Uuid,
    /// When it began.
    created_at: String,
    /// Its last change.
    updated_at: String,
    /// Of which identity.
    identity_id: Uuid,
    /// What people note about it.
    metadata: Vec<Metadata>,
    /// The identity itself.
    identity: MemberIdentity,
}

/// The identity in a membership.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MemberIdentity {
    /// What people call it; not unique.
    name: String,
    /// Its id.
    id: Uuid,
    /// Whether it refuses to be deleted.
    has_delete_protection: bool,
    /// Its organization.
    org_id: Uuid,
    /// The ways to authenticate that are attached.
    auth_methods: Vec<&'static str>,
    /// Always empty.
    active_lockout_auth_methods: Vec<&'static str>,
}

impl Membership {
    /// As answers to reads show it.
    pub(super) fn of(identity: Known<Identity>, realm: RealmId, attached: bool) -> Self {
        Self {
            id: identity.body.membership_id,
            role: identity.body.role().word(),
            role_id: None,
            org_id: realm.0,
            created_at: date(identity.created_at),
            updated_at: date(identity.updated_at),
            identity_id: identity.id.0,
            identity: MemberIdentity {
                name: identity.body.name,
                id: identity.id.0,
                has_delete_protection: identity.body.has_delete_protection,
                org_id: realm.0,
                auth_methods: methods(attached),
                active_lockout_auth_methods: Vec::new(),
            },
            metadata: identity.body.metadata,
        }
    }
}

/// One membership.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MembershipAnswer {
    /// The membership.
    pub identity: Membership,
}

/// All memberships.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MembershipsAnswer {
    /// The memberships, in order of creation.
    pub identities: Vec<Membership>,
    /// How many there are.
    pub total_count: usize,
}

/// An organization.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WireOrganization {
    /// Its id.
    id: Uuid,
    /// What people call it.
    name: String,
    /// The same in letters, digits and dashes.
    slug: String,
}

impl WireOrganization {
    /// As answers show it.
    pub(super) fn of(body: Organization, realm: RealmId) -> Self {
        Self {
            id: realm.0,
            name: body.name,
            slug: body.slug,
        }
    }
}

/// What an identity may know of itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DetailsAnswer {
    /// The details.
    pub identity_details: Details,
}

/// Where it belongs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Details {
    /// Its organization.
    pub organization: WireOrganization,
}

/// The instance is set up.
#[derive(Serialize, ToSchema)]
pub(super) struct BootstrapAnswer {
    /// What was done, in words.
    pub message: &'static str,
    /// Who did it.
    pub user: WireUser,
    /// The new organization.
    pub organization: WireOrganization,
    /// The identity that administers the instance.
    pub identity: FirstIdentity,
}

/// The person who set the instance up. There is no log-in for people here.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireUser {
    /// The e-mail address.
    pub username: String,
    /// Always `Admin`.
    pub first_name: &'static str,
    /// Always `User`.
    pub last_name: &'static str,
    /// The e-mail address.
    pub email: String,
    /// The id.
    pub id: Uuid,
    /// Always true.
    pub super_admin: bool,
}

/// The identity that administers the instance.
#[derive(Serialize, ToSchema)]
pub(super) struct FirstIdentity {
    /// Its id.
    pub id: Uuid,
    /// What it is called.
    pub name: &'static str,
    /// Its credentials.
    pub credentials: FirstCredentials,
}

/// The credentials of the identity that administers the instance.
#[derive(Serialize, ToSchema)]
pub(super) struct FirstCredentials {
    /// An access token, shown once.
    pub token: String,
}

/// How the installation is set.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusAnswer {
    /// Now.
    pub date: String,
    /// Always `Ok`.
    pub message: &'static str,
    /// Always false.
    pub email_configured: bool,
    /// Always true: nobody signs up.
    pub invite_only_signup: bool,
    /// Always false.
    pub redis_configured: bool,
    /// Always false.
    pub secret_scanning_configured: bool,
    /// Always false: the audit trail is always on.
    pub audit_log_storage_disabled: bool,
    /// Seconds that a token lives at the most.
    #[serde(rename = "maxIdentityAccessTokenTTL")]
    pub max_identity_access_token_ttl: u64,
}

/// A refusal.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "described only: refusals are written in error.rs")]
pub(super) struct Refusal {
    /// The id of the request, as in the log without `req-`.
    req_id: String,
    /// The status of the answer.
    status_code: u16,
    /// What is wrong, a text; for broken rules of the body (422) a list of them.
    message: serde_json::Value,
    /// Which kind of refusal.
    error: String,
    /// Of refused permissions: which are missing, or the caller's rules for it.
    #[schema(required = false)]
    details: serde_json::Value,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_client_made_from_the_document_reads_every_refusal() {
        let schema = serde_json::to_value(<Refusal as utoipa::PartialSchema>::schema()).unwrap();
        assert_eq!(
            schema["required"].to_string(),
            r#"["reqId","statusCode","message","error"]"#
        );
        let of = |name: &str| schema["properties"][name].get("type").cloned();
        assert_eq!(of("message"), None, "texts and lists");
        assert_eq!(of("details"), None, "objects and lists");
        assert_eq!(of("error"), Some("string".into()));
    }

    #[test]
    fn dates_have_milliseconds() {
        let at = |micros| date(Timestamp::from_micros(micros).unwrap());
        assert_eq!(at(1_767_225_600_417_999), "2026-01-01T00:00:00.417Z");
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(-1), "1969-12-31T23:59:59.999Z");
    }
}
