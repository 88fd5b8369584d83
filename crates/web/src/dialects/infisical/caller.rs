//! Who calls: from the `Authorization` header to an identity and what it may do.
//!
//! The one thing a newcomer would get wrong: a header that is there and bad is refused even where none is needed. And a
//! use is counted last, so that a request from a wrong address burns none. Role and organization come from the records that
//! the engine hands out with the token: they are as fresh as the token itself, and need no look-up.

use std::sync::Arc;

use engine::Error;
use engine::caller::{Actor, ActorKind, Caller};
use engine::error::Unauthenticated;
use engine::token::TokenId;
use uuid::Uuid;

use super::Infisical;
use super::error::{self, WireError};
use super::incoming::{Authorization, Incoming};
use super::jwt::IDENTITY_ACCESS_TOKEN;
use super::records::{IDENTITY, Identity, Known, ORGANIZATION, Organization};
use super::roles::{Permission, Role};

/// The identity behind a request.
#[derive(Debug)]
pub(super) struct Bearer {
    /// The identity.
    identity: Known<Identity>,
    /// The organization in which it is.
    pub organization: Known<Organization>,
    /// The same for the engine.
    pub caller: Caller,
}

impl Bearer {
    fn role(&self) -> Role {
        self.identity.body.role()
    }

    /// Refuses what the role does not permit.
    pub(super) fn require(&self, permission: Permission) -> Result<(), WireError> {
        self.role().require(permission)
    }

    /// Refuses at the privilege boundary.
    pub(super) fn reach(
        &self,
        permission: Permission,
        what: &'static str,
    ) -> Result<(), WireError> {
        self.role().reach(permission, what)
    }

    /// Refuses to touch the identity of an instance admin, unless one calls.
    pub(super) fn guard(&self, target: &Identity) -> Result<(), WireError> {
        if target.instance_admin && !self.identity.body.instance_admin {
            return Err(error::instance_admin());
        }
        Ok(())
    }

    /// Refuses another organization than the one in which the identity is.
    pub(super) fn same_organization(&self, id: &str) -> Result<(), WireError> {
        let same = Uuid::parse_str(id).is_ok_and(|id| id == self.caller.realm.0);
        if same {
            Ok(())
        } else {
            Err(error::forbidden(
                "You are not a member of this organization",
            ))
        }
    }

    /// Refuses a slug that is not the organization's own: here is only one, and to act in another than the named one would
    /// be worse than to refuse.
    pub(super) fn same_slug(&self, slug: &str) -> Result<(), WireError> {
        if self.organization.body.slug == slug {
            return Ok(());
        }
        Err(no_organization(slug))
    }
}

impl Infisical {
    /// The identity behind a request, which must have one.
    ///
    /// # Errors
    /// 400, 401, 403, as the README lists them.
    pub(super) async fn bearer(&self, incoming: &Incoming) -> Result<Bearer, WireError> {
        let bearer = self.whoever(incoming).await?;
        bearer.ok_or_else(|| error::unauthorized("Token missing"))
    }

    /// The identity behind a request, or nobody.
    ///
    /// # Errors
    /// As [`Infisical::bearer`], for credentials that are there.
    pub(super) async fn whoever(&self, incoming: &Incoming) -> Result<Option<Bearer>, WireError> {
        if incoming.headers.contains_key("x-api-key") {
            return Err(error::bad_request(
                "API key authentication is not supported anymore. Please switch to identity authentication.",
            ));
        }
        let text = match incoming.authorization() {
            Authorization::Absent => return Ok(None),
            Authorization::Unsupported => return Err(error::unauthorized("Token missing")),
            Authorization::Bearer(text) => text,
        };
        let now_secs = self.engine().now().as_micros().div_euclid(1_000_000);
        let presented = self.signer().check(text, now_secs)?;
        if presented.auth_token_type.as_deref() != Some(IDENTITY_ACCESS_TOKEN) {
            return Err(error::wrong_kind(incoming.uri.path()));
        }
        let named = presented.identity_access_token_id.as_deref();
        let id = named.and_then(|id| Uuid::parse_str(id).ok());
        let id = id.ok_or_else(|| error::unauthenticated(Unauthenticated::Unknown))?;
        // Before the token, because a refusal is no use of it.
        self.refuse_other_organization(incoming).await?;
        let verified = self
            .engine()
            .verify_signed(self.realm(), TokenId(id), incoming.address)
            .await;
        if verified.is_err() {
            // The JWT is genuine, so that it is known who is refused, if not under which name.
            incoming.trace.recognise(Actor {
                kind: ActorKind::Token,
                id: id.to_string(),
                name: String::new(),
            });
        }
        let verified = match verified {
            Err(Error::Unauthenticated(Unauthenticated::Orphaned)) => {
                let identity = presented.identity_id.unwrap_or_default();
                return Err(self.orphaned(&identity).await?);
            }
            verified => verified?,
        };
        let token = &verified.token;
        incoming.trace.recognise(Actor::bearer(token));
        let (Some(identity), Some(organization)) =
            (verified.above(IDENTITY), verified.above(ORGANIZATION))
        else {
            // Every token of this dialect is made below both.
            return Err(not_a_member());
        };
        let identity = Known::<Identity>::of(identity)?;
        let organization = Known::of(organization)?;
        let caller = Caller {
            actor: Actor::bearer(token),
            token: Some(token.id),
            grants: Arc::new(identity.body.role().grants()),
            ..Caller::system(self.realm(), incoming.trace.id())
        };
        Ok(Some(Bearer {
            identity,
            organization,
            caller,
        }))
    }

    /// A request may name the organization in which it acts, which hardly any does.
    async fn refuse_other_organization(&self, incoming: &Incoming) -> Result<(), WireError> {
        let Some(slug) = incoming.headers.get("x-infisical-org") else {
            return Ok(());
        };
        let slug = slug.to_str().unwrap_or_default();
        let own = self.organization().await?;
        if own.is_some_and(|own| own.body.slug == slug) {
            return Ok(());
        }
        Err(no_organization(slug))
    }

    /// What to say about a token whose identity or token auth is gone.
    async fn orphaned(&self, identity: &str) -> Result<WireError, WireError> {
        Ok(match self.identity(identity).await? {
            Some(_) => error::unauthenticated(Unauthenticated::Orphaned),
            None => not_a_member(),
        })
    }
}

fn no_organization(slug: &str) -> WireError {
    error::not_found(format!("Sub organization with slug {slug} not found"))
}

fn not_a_member() -> WireError {
    error::unauthorized("Identity is not a member of the organization")
}
