//! What stands around tokens: the organization, its identities, their ways to authenticate; and what a token itself says
//! beyond its header.
//!
//! The one thing a newcomer would get wrong: an identity is never deleted together with what hangs from it. One record goes,
//! and everything below it is dead for the next request, because a token is good only while each record above it is.

use engine::Error;
use engine::caller::Caller;
use engine::clock::Timestamp;
use engine::locator::{Key, Place, Space};
use engine::permission::Action;
use engine::record::{Record, RecordId};
use engine::selection::Selection;
use engine::token::{State, Token, TokenId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Infisical;
use super::roles::Role;
use super::trusted_ips::TrustedIp;

/// The present form of the bodies below. A later one reads this one too.
pub(super) const SCHEMA: u32 = 1;

/// The kind of the one record that stands for the organization. Its id is the realm's.
pub(super) const ORGANIZATION: &str = "organization";
/// The kind of an identity, below the organization.
pub(super) const IDENTITY: &str = "identity";
/// The kind of the record that lets an identity have tokens, below it; and the class of these tokens.
pub(super) const TOKEN_AUTH: &str = "token-auth";
/// The kind of the person who set the instance up; the e-mail address is its content.
pub(super) const USER: &str = "user";

/// The place of the organization: there is one.
pub(super) const fn organization_place() -> Place {
    Place::new(Space::of("infisical-organization"), Key(Vec::new()))
}

/// The place of the identity that may change itself and that nobody else may: there is one.
pub(super) const fn instance_admin_place() -> Place {
    Place::new(Space::of("infisical-instance-admin"), Key(Vec::new()))
}

/// The place of an identity's token auth: there is at most one.
pub(super) fn token_auth_place(identity: RecordId) -> Place {
    Place::new(Space::of("infisical-token-auth"), Key::of_id(identity.0))
}

/// The body of the organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Organization {
    schema: u32,
    /// What people call it.
    pub name: String,
    /// The same in letters, digits and dashes.
    pub slug: String,
}

impl Organization {
    /// A new one.
    pub(super) fn new(name: &str, slug: String) -> Self {
        Self {
            schema: SCHEMA,
            name: name.to_owned(),
            slug,
        }
    }
}

/// The body of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    schema: u32,
    /// What people call it; not unique.
    pub name: String,
    role: String,
    /// What people note about it.
    pub metadata: Vec<Metadata>,
    /// Whether it refuses to be deleted.
    pub has_delete_protection: bool,
    /// The id of its membership in the organization.
    pub membership_id: Uuid,
    /// Whether it was made when the instance was set up.
    pub instance_admin: bool,
}

/// One note about an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Metadata {
    /// Its id.
    pub id: Uuid,
    /// What it says something about.
    pub key: String,
    /// What it says.
    pub value: String,
}

impl Identity {
    /// A new one.
    pub(super) fn new(name: String, role: Role, membership_id: Uuid) -> Self {
        Self {
            schema: SCHEMA,
            name,
            role: role.word().to_owned(),
            metadata: Vec::new(),
            has_delete_protection: false,
            membership_id,
            instance_admin: false,
        }
    }

    /// Its role. A word that is not known permits nothing.
    pub(super) fn role(&self) -> Role {
        Role::from_word(&self.role).unwrap_or(Role::NoAccess)
    }

    /// Gives it another role.
    pub(super) fn set_role(&mut self, role: Role) {
        role.word().clone_into(&mut self.role);
    }
}

/// The body of a token auth: what new tokens get. The trusted addresses hold for the old ones too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenAuth {
    schema: u32,
    /// Seconds; 0 is no end of its own.
    pub ttl_secs: u64,
    /// Seconds; 0 is no bound.
    pub ttl_secs_max: u64,
    /// 0 is any number.
    pub uses_max: u64,
    /// As answers show them.
    pub trusted_ips: Vec<TrustedIp>,
}

impl TokenAuth {
    /// A new one.
    pub(super) fn new(
        ttl_secs: u64,
        ttl_secs_max: u64,
        uses_max: u64,
        trusted_ips: Vec<TrustedIp>,
    ) -> Self {
        Self {
            schema: SCHEMA,
            ttl_secs,
            ttl_secs_max,
            uses_max,
            trusted_ips,
        }
    }

    /// Whether the time to live is within its bound. No end of its own is beyond none: the bound then decides.
    pub(super) const fn is_bounded(&self) -> bool {
        self.ttl_secs_max == 0 || self.ttl_secs <= self.ttl_secs_max
    }
}

/// What a token says about itself beyond its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attributes {
    schema: u32,
    /// Whose it is.
    pub identity_id: Uuid,
    /// Seconds that it lives, all bounds applied.
    pub ttl_secs: u64,
    /// Seconds, as configured when it was made.
    pub ttl_secs_max: u64,
}

impl Attributes {
    /// Of a new token.
    pub(super) const fn new(identity_id: Uuid, ttl_secs: u64, ttl_secs_max: u64) -> Self {
        Self {
            schema: SCHEMA,
            identity_id,
            ttl_secs,
            ttl_secs_max,
        }
    }

    /// Of a token that is there.
    pub(super) fn of(token: &Token) -> Result<Self, Error> {
        Self::deserialize(&token.attributes).map_err(|error| {
            tracing::error!(token = %token.id.0, %error, "what a token says about itself cannot be read");
            Error::Internal
        })
    }
}

/// An id in the one form in which it is written; the others that a UUID may have are nobody's.
fn uuid_of(text: &str) -> Option<Uuid> {
    let id = Uuid::parse_str(text).ok()?;
    (text.len() == 36 && id.to_string().eq_ignore_ascii_case(text)).then_some(id)
}

/// A body as JSON.
pub(super) fn json(body: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(body).expect("bodies have only numbers, texts, booleans and lists")
}

/// A record and what its body says.
#[derive(Debug, Clone)]
pub(super) struct Known<T> {
    /// The header.
    pub id: RecordId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its last change.
    pub updated_at: Timestamp,
    /// Whether there is a list of addresses.
    pub restricted: bool,
    /// The body.
    pub body: T,
}

impl<T: DeserializeOwned> Known<T> {
    /// Reads the body.
    pub(super) fn of(record: &Record) -> Result<Self, Error> {
        let body = T::deserialize(&record.body).map_err(|error| {
            tracing::error!(record = %record.id.0, %error, "the body of a record cannot be read");
            Error::Internal
        })?;
        Ok(Self {
            id: record.id,
            created_at: record.created_at,
            updated_at: record.updated_at,
            restricted: !record.addresses.is_empty(),
            body,
        })
    }
}

/// A token with what it hangs from.
#[derive(Debug)]
pub(super) struct Placed {
    /// The token.
    pub token: Token,
    /// Whose it is.
    pub identity: Known<Identity>,
}

impl Infisical {
    /// Who looks things up before it is known whether the caller may: what is found is shown only after that.
    pub(super) fn reader(&self) -> Caller {
        Caller::system(self.realm(), "look-up")
    }

    /// The organization, once the instance is set up.
    pub(super) async fn organization(&self) -> Result<Option<Known<Organization>>, Error> {
        let id = RecordId(self.realm().0);
        let record = self.engine().record(&self.reader(), id).await?;
        let record = record.filter(|record| record.kind == ORGANIZATION);
        record.as_ref().map(Known::of).transpose()
    }

    /// The identity with this id, if it is here.
    pub(super) async fn identity(&self, id: &str) -> Result<Option<Known<Identity>>, Error> {
        let Some(id) = uuid_of(id) else {
            return Ok(None);
        };
        let record = self.engine().record(&self.reader(), RecordId(id)).await?;
        let record = record.filter(|record| record.kind == IDENTITY);
        record.as_ref().map(Known::of).transpose()
    }

    /// The token auth of an identity, if it is attached.
    pub(super) async fn token_auth(
        &self,
        identity: RecordId,
    ) -> Result<Option<Known<TokenAuth>>, Error> {
        let place = token_auth_place(identity);
        let record = self.engine().find_record(&self.reader(), place).await?;
        record.as_ref().map(Known::of).transpose()
    }

    /// The token with this id however it stands, unless what it hangs from is gone.
    pub(super) async fn token(&self, id: &str) -> Result<Option<Placed>, Error> {
        let Some(id) = uuid_of(id) else {
            return Ok(None);
        };
        let selection = Selection::of(TokenId(id));
        let reader = self.reader();
        let mut found = self
            .engine()
            .find(&reader, Action::Read, &selection)
            .await?;
        let Some(token) = found.tokens.pop().filter(|token| token.class == TOKEN_AUTH) else {
            return Ok(None);
        };
        let records = &found.rows.records;
        let method = token.parent.and_then(|parent| records.get(&parent));
        let identity = method
            .and_then(|method| records.get(&method.parent?))
            .filter(|record| record.kind == IDENTITY && record.state != State::Deleted);
        let Some(identity) = identity else {
            return Ok(None);
        };
        let identity = Known::of(identity)?;
        Ok(Some(Placed { token, identity }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dialects::infisical::trusted_ips::everywhere;

    fn read_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
        body: &T,
        text: &str,
    ) {
        assert_eq!(&serde_json::from_str::<T>(text).unwrap(), body);
        assert_eq!(json(body).to_string(), text);
    }

    /// Bodies as they stand in stores. Lines are added when a form is added, and never changed.
    #[test]
    fn bodies_that_were_ever_written_are_still_read() {
        let organization = Organization::new("Acme", "acme-1".to_owned());
        read_back(
            &organization,
            r#"{"schema":1,"name":"Acme","slug":"acme-1"}"#,
        );
        read_back(
            &Identity::new("ci".to_owned(), Role::Member, Uuid::nil()),
            r#"{"schema":1,"name":"ci","role":"member","metadata":[],"hasDeleteProtection":false,"membershipId":"00000000-0000-0000-0000-000000000000","instanceAdmin":false}"#,
        );
        read_back(
            &TokenAuth::new(60, 120, 0, everywhere()),
            r#"{"schema":1,"ttlSecs":60,"ttlSecsMax":120,"usesMax":0,"trustedIps":[{"type":"ipv4","prefix":0,"ipAddress":"0.0.0.0"},{"type":"ipv6","prefix":0,"ipAddress":"::"}]}"#,
        );
        read_back(
            &Attributes::new(Uuid::nil(), 60, 120),
            r#"{"schema":1,"identityId":"00000000-0000-0000-0000-000000000000","ttlSecs":60,"ttlSecsMax":120}"#,
        );
    }

    #[test]
    fn ids_have_one_form() {
        let id = "0190a0b1-0000-7000-8000-00000000000a";
        assert!(uuid_of(id).is_some());
        for bad in [
            "0190a0b1000070008000 00000000000a",
            "0190a0b10000700080000000000000a0",
            "{0190a0b1-0000-7000-8000-00000000000a}",
            "urn:uuid:0190a0b1-0000-7000-8000-00000000000a",
            "",
        ] {
            assert_eq!(uuid_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_role_that_is_not_known_permits_nothing() {
        let mut identity = Identity::new("ci".to_owned(), Role::Admin, Uuid::nil());
        identity.role = "auditor".to_owned();
        assert_eq!(identity.role(), Role::NoAccess);
    }
}
