//! Who calls: from the `Authorization` header to a token that is in force, and to what it may do.
//!
//! The one thing a newcomer would get wrong: the same token is refused in three different ways, by where it is shown. The
//! admin API answers 401 with a name and an id, the client and frontend APIs 401 with a bare message, and a good token at
//! the wrong door is 403 everywhere. What could not be a secret is refused without a look-up.

use std::sync::Arc;

use engine::Error;
use engine::caller::{Actor, Caller};
use engine::permission::{Action, Grants};
use engine::secret::Secret;
use engine::token::Token;

use super::Unleash;
use super::error::{self, WireError};
use super::incoming::Incoming;
use super::scope::Scope;
use super::secret::{Presented, SecretKind, SecretText};
use super::wire::TokenType;

impl Unleash {
    /// The admin behind a request to the admin API.
    ///
    /// # Errors
    /// 401 without credentials or with unknown ones, 403 for tokens of another type.
    pub(super) async fn administrator(&self, incoming: &Incoming) -> Result<Caller, WireError> {
        let secret = match incoming.presented() {
            Presented::Absent => return Err(error::authentication_required(self.error_id())),
            Presented::Malformed => return Err(error::unauthorized(self.error_id())),
            Presented::Secret(secret) => secret,
        };
        // Personal tokens belong to users, of whom there are none here yet: nobody has such a secret.
        let token = self.verify(&secret, incoming).await?;
        if Scope::of(&token).is_none_or(|scope| scope.kind != TokenType::Admin) {
            return Err(error::wrong_token_type());
        }
        Ok(Caller {
            realm: self.realm(),
            actor: Actor::bearer(&token),
            token: Some(token.id),
            grants: Arc::new(Grants::all()),
            // The product lets an admin token update every token, itself included; operators prolong theirs that way.
            may_widen_itself: true,
            tenants: None,
            request: incoming.trace.id().to_owned(),
            reason: None,
        })
    }

    /// The token behind a request to the client or frontend API, and what it opens.
    ///
    /// # Errors
    /// 401 without credentials or with unknown ones (a token that opens nothing any more counts as unknown), 403 for
    /// tokens of another type.
    pub(super) async fn sdk(
        &self,
        incoming: &Incoming,
        kinds: &[TokenType],
    ) -> Result<Scope, WireError> {
        let secret = match incoming.presented() {
            Presented::Absent | Presented::Malformed => return Err(error::api_token_required()),
            Presented::Secret(secret) => secret,
        };
        // By their text alone, before any look-up, as the product does.
        match secret.kind() {
            SecretKind::Personal | SecretKind::Admin => return Err(error::wrong_token_type()),
            SecretKind::Api => {}
        }
        let token = match self.verify(&secret, incoming).await {
            Err(refusal) if refusal.status == 401 => return Err(error::api_token_required()),
            verified => verified?,
        };
        let scope = Scope::of(&token).ok_or_else(error::wrong_token_type)?;
        if !kinds.contains(&scope.kind) {
            return Err(error::wrong_token_type());
        }
        if scope.opens_something() {
            Ok(scope)
        } else {
            Err(error::api_token_required())
        }
    }

    /// Lets through whoever calls a path that asks for no credentials, but not a token that belongs elsewhere.
    ///
    /// # Errors
    /// 403 for client, backend and frontend tokens.
    pub(super) async fn anybody(&self, incoming: &Incoming) -> Result<(), WireError> {
        let Presented::Secret(secret) = incoming.presented() else {
            return Ok(());
        };
        match self.verify(&secret, incoming).await {
            Ok(token) if token.class == TokenType::Admin.as_str() => Ok(()),
            Ok(_) => Err(error::wrong_token_type()),
            Err(refusal) if matches!(refusal.status, 401 | 403) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    /// Refuses unless the caller may do this to tokens of some type: the permission of the route, which is asked for
    /// before the content type, the schema and any look-up.
    pub(super) fn let_in(&self, caller: &Caller, action: Action) -> Result<(), WireError> {
        caller
            .require_any(action, None)
            .map_err(|error| self.refusal(error))
    }

    async fn verify(
        &self,
        secret: &SecretText,
        incoming: &Incoming,
    ) -> Result<Arc<Token>, WireError> {
        let verified = match Secret::parse(secret.expose()) {
            Ok(secret) => {
                let engine = self.engine();
                engine.verify(self.realm(), &secret, incoming.address).await
            }
            Err(cause) => Err(Error::Unauthenticated(cause)),
        };
        let token = verified.map_err(|error| self.refusal(error))?.token;
        incoming.trace.recognise(Actor::bearer(&token));
        Ok(token)
    }
}
