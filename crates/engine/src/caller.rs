//! Callers: the principal behind a request, with what it may do and under which request it acts.
//!
//! The one thing to know: the engine never looks at a credential after [`crate::Engine::verify`]; from then on a request
//! *is* its caller. The caller also carries what the event must say (who, which request, for which reason).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Forbidden};
use crate::permission::{Action, Grants};
use crate::realm::RealmId;
use crate::record::RecordId;
use crate::token::{State, Token, TokenId};

/// Who acts, as events name it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Actor {
    /// What kind of principal.
    pub kind: ActorKind,
    /// Its id: a token's id, an operating system user, a part of the program.
    pub id: String,
    /// What people call it.
    pub name: String,
}

/// What kind of principal acts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// The bearer of an access token.
    Token,
    /// Somebody on the machine itself, through the control socket or the command line.
    Operator,
    /// The program: first credentials, purges.
    System,
    /// Nobody that we know.
    Anonymous,
}

impl Actor {
    /// The bearer of `token`.
    pub fn bearer(token: &Token) -> Self {
        Self {
            kind: ActorKind::Token,
            id: token.id.0.to_string(),
            name: token.name.clone().unwrap_or_default(),
        }
    }

    /// The program itself.
    pub fn system() -> Self {
        Self {
            kind: ActorKind::System,
            id: "tokenhouse".to_owned(),
            name: "tokenhouse".to_owned(),
        }
    }

    /// Somebody on the machine; `name` is their operating system user.
    pub fn operator(name: &str) -> Self {
        Self {
            kind: ActorKind::Operator,
            id: name.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// A principal in one request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The realm it acts in.
    pub realm: RealmId,
    /// Who it is.
    pub actor: Actor,
    /// The token it showed, if any.
    pub token: Option<TokenId>,
    /// What it may do.
    pub grants: Arc<Grants>,
    /// Whether the token behind the request may widen itself: only where a product's own administrators rely on it.
    pub may_widen_itself: bool,
    /// The tenants the request is restricted to; `None` is no restriction.
    pub tenants: Option<Vec<String>>,
    /// The id of the request, also in the log and the answer.
    pub request: String,
    /// Why, as the caller says.
    pub reason: Option<String>,
}

impl Caller {
    /// The program acting for itself in a realm, allowed everything.
    pub fn system(realm: RealmId, request: &str) -> Self {
        Self {
            realm,
            actor: Actor::system(),
            token: None,
            may_widen_itself: false,
            grants: Arc::new(Grants::all()),
            tenants: None,
            request: request.to_owned(),
            reason: None,
        }
    }

    /// Somebody on the machine itself, allowed everything.
    pub fn operator(realm: RealmId, name: &str, request: &str) -> Self {
        Self {
            actor: Actor::operator(name),
            ..Self::system(realm, request)
        }
    }

    /// Refuses unless the action is allowed on something in this container.
    pub fn require_any(&self, action: Action, container: Option<RecordId>) -> Result<(), Error> {
        if self.grants.allow_any(action, container) {
            Ok(())
        } else {
            Err(Error::Forbidden(Forbidden::Action {
                action,
                class: None,
            }))
        }
    }

    /// Refuses unless the action is allowed on this class in this container.
    pub fn require(
        &self,
        action: Action,
        class: &str,
        container: Option<RecordId>,
    ) -> Result<(), Error> {
        if self.grants.allow(action, class, container) {
            Ok(())
        } else {
            Err(Error::Forbidden(Forbidden::Action {
                action,
                class: Some(class.to_owned()),
            }))
        }
    }

    /// Refuses a tenant outside those of the request. No tenant is outside too: it is nobody's in particular.
    pub fn require_tenant(&self, tenant: Option<&str>) -> Result<(), Error> {
        let inside = match &self.tenants {
            None => true,
            Some(allowed) => tenant.is_some_and(|one| allowed.iter().any(|other| other == one)),
        };
        if inside {
            Ok(())
        } else {
            Err(Error::Forbidden(Forbidden::Tenant))
        }
    }

    /// Whether `after` gives the caller's own token more than `before` did: more time, permissions or addresses, or a
    /// way back from a state that it was put into.
    pub(crate) fn widens_itself(&self, before: &Token, after: &Token) -> bool {
        if self.may_widen_itself || self.token != Some(before.id) {
            return false;
        }
        let later = match (before.expires_at, after.expires_at) {
            (Some(before), Some(after)) => after > before,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let back = before.state != State::Active && after.state == State::Active;
        let wider = match (before.access(), after.access()) {
            (Some(before), Some(after)) => {
                let more = |permission| !before.permissions.contains(permission);
                // An empty list is every address.
                let open = !before.addresses.is_empty() && after.addresses.is_empty();
                let elsewhere = !before.addresses.is_empty()
                    && after
                        .addresses
                        .iter()
                        .any(|net| !before.addresses.iter().any(|wide| wide.contains(net)));
                after.permissions.iter().any(more) || open || elsewhere
            }
            _ => false,
        };
        later || back || wider
    }
}
