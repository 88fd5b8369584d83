//! Who calls: from the `Authorization` header to an identity and what it may do.
//!
//! The one thing a newcomer would get wrong: a header that is there and bad is refused even where none is needed. And a
//! use is counted last, so that a request from a wrong address burns none.

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
use super::records::{Attributes, Identity, Known};
use super::roles::{Permission, Role};

/// The identity behind a request.
#[derive(Debug)]
pub(super) struct Bearer {
    /// The identity.
    identity: Known<Identity>,
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
        let token = match verified {
            Err(Error::Unauthenticated(Unauthenticated::Orphaned)) => {
                let identity = presented.identity_id.unwrap_or_default();
                return Err(self.orphaned(&identity).await?);
            }
            verified => verified?,
        };
        incoming.trace.recognise(Actor::bearer(&token));
        let identity = Attributes::of(&token)?.identity_id.to_string();
        let Some(identity) = self.identity(&identity).await? else {
            // Deleted since the line before last.
            return Err(not_a_member());
        };
        self.refuse_other_organization(incoming).await?;
        let caller = Caller {
            actor: Actor::bearer(&token),
            token: Some(token.id),
            grants: Arc::new(identity.body.role().grants()),
            ..Caller::system(self.realm(), incoming.trace.id())
        };
        Ok(Some(Bearer { identity, caller }))
    }

    /// What to say about a token whose identity or token auth is gone.
    async fn orphaned(&self, identity: &str) -> Result<WireError, WireError> {
        Ok(match self.identity(identity).await? {
            Some(_) => error::unauthenticated(Unauthenticated::Orphaned),
            None => not_a_member(),
        })
    }

    /// A request may name the organization in which it acts. Here is only one, and to act in another than the named one
    /// would be worse than to refuse.
    async fn refuse_other_organization(&self, incoming: &Incoming) -> Result<(), WireError> {
        let Some(value) = incoming.headers.get("x-infisical-org") else {
            return Ok(());
        };
        self.same_slug(value.to_str().unwrap_or_default()).await
    }

    /// Refuses a slug that is not the organization's own.
    pub(super) async fn same_slug(&self, slug: &str) -> Result<(), WireError> {
        let own = self.organization().await?;
        if own.is_some_and(|own| own.body.slug == slug) {
            return Ok(());
        }
        let message = format!("Sub organization with slug {slug} not found");
        Err(error::not_found(message))
    }
}

fn not_a_member() -> WireError {
    error::unauthorized("Identity is not a member of the organization")
}
