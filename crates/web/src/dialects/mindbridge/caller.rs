//! Who calls: from the bearer token to what it may do.
//!
//! The one thing a newcomer would get wrong: only a few of the permission names mean anything here; the others are kept and
//! shown for the applications that ask for them, and open no door of this server.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use engine::Error;
use engine::caller::{Actor, Caller};
use engine::error::Unauthenticated;
use engine::permission::{Action, Grants};
use engine::secret::Secret;
use engine::token::Token;

use super::MindBridge;
use super::error::Refusal;
use super::incoming::Call;
use super::records::TOKEN_CLASS;
use super::seed::DEVELOPMENT_TOKEN;

/// See API tokens.
const READ: &str = "api.api-tokens.read";
/// Make and rename them.
const WRITE: &str = "api.api-tokens.write";
/// Delete them.
const DELETE: &str = "api.api-tokens.delete";
/// See users.
const READ_USERS: &str = "api.users.read";

/// The principal of a request.
#[derive(Debug)]
pub(super) struct Who {
    /// What it may do.
    pub caller: Caller,
    /// The token it showed.
    pub token: Arc<Token>,
}

impl Who {
    /// Refuses with 403 unless the action is permitted.
    pub(super) fn require(&self, action: Action) -> Result<(), Refusal> {
        Ok(self.caller.require_any(action, None)?)
    }

    /// The same principal, allowed to see what an answer of its own needs: names of users, the state before a change.
    pub(super) fn reader(&self) -> Caller {
        Caller {
            grants: Arc::new(Grants::to(&[Action::Read, Action::ReadRecord])),
            ..self.caller.clone()
        }
    }

    /// The first of these permissions that the principal does not have itself.
    pub(super) fn first_beyond<'a>(&self, permissions: &'a [String]) -> Option<&'a str> {
        let own = self.token.access().map(|access| &access.permissions);
        let has = |wanted: &String| own.is_some_and(|own| own.contains(wanted));
        let beyond = permissions.iter().find(|wanted| !has(wanted));
        beyond.map(String::as_str)
    }
}

impl MindBridge {
    /// The bearer of the token, if it is a good one and comes from an allowed address.
    pub(super) async fn recognise(&self, call: &Call) -> Result<Who, Refusal> {
        let secret = bearer(&call.headers).map_err(Error::Unauthenticated)?;
        if !self.is_development() && secret.expose() == DEVELOPMENT_TOKEN {
            return Err(Refusal::unauthenticated());
        }
        let engine = self.engine();
        let verified = engine.verify(self.realm(), &secret, call.address).await?;
        let token = verified.token;
        let actor = Actor::bearer(&token);
        call.trace.recognise(actor.clone());
        if token.class != TOKEN_CLASS {
            return Err(Refusal::unauthenticated());
        }
        let caller = Caller {
            realm: self.realm(),
            actor,
            token: Some(token.id),
            grants: Arc::new(grants(&token)),
            may_widen_itself: false,
            tenants: None,
            request: call.trace.id().to_owned(),
            reason: None,
        };
        Ok(Who { caller, token })
    }
}

fn bearer(headers: &HeaderMap) -> Result<Secret, Unauthenticated> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Unauthenticated::Absent)?;
    // Which of two tokens would be meant?
    if values.next().is_some() {
        return Err(Unauthenticated::Malformed);
    }
    let text = value.to_str().map_err(|_| Unauthenticated::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Unauthenticated::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Unauthenticated::Malformed);
    }
    Secret::parse(token.trim())
}

fn grants(token: &Token) -> Grants {
    let permissions = token.access().map(|access| access.permissions.as_slice());
    let mut actions = Vec::new();
    for permission in permissions.unwrap_or_default() {
        match permission.as_str() {
            READ => actions.push(Action::Read),
            WRITE => actions.extend([Action::Issue, Action::Update]),
            // A token goes with its user, which is the record above it.
            DELETE => actions.extend([Action::Delete, Action::DeleteRecord]),
            READ_USERS => actions.push(Action::ReadRecord),
            _ => {}
        }
    }
    if actions.is_empty() {
        Grants::default()
    } else {
        Grants::to(&actions)
    }
}

/// The permission that an action asks for.
pub(super) const fn permission_for(action: Action) -> &'static str {
    match action {
        Action::Read | Action::Reveal => READ,
        Action::Issue
        | Action::Update
        | Action::UpdateData
        | Action::Revoke
        | Action::WriteRecord => WRITE,
        Action::Delete | Action::DeleteRecord => DELETE,
        Action::ReadRecord => READ_USERS,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(value: &str) -> Result<String, Unauthenticated> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        bearer(&headers).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn only_one_bearer_token_is_a_credential() {
        assert_eq!(read("Bearer mb_x").unwrap(), "mb_x");
        assert_eq!(read("bearer  mb_x").unwrap(), "mb_x");
        for bad in ["mb_x", "Basic mb_x", "Bearermb_x"] {
            assert_eq!(read(bad).unwrap_err(), Unauthenticated::Malformed, "{bad}");
        }
        assert_eq!(read("Bearer ").unwrap_err(), Unauthenticated::Absent);
        let mut two = HeaderMap::new();
        two.append(header::AUTHORIZATION, "Bearer a".parse().unwrap());
        two.append(header::AUTHORIZATION, "Bearer b".parse().unwrap());
        assert_eq!(bearer(&two).unwrap_err(), Unauthenticated::Malformed);
    }
}
