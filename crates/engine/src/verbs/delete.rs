//! Delete: tokens go, at once and for good, with the values nobody else stands for.
//!
//! The one thing to know: deleting releases what the token was found by, so that its secret or outward id is free again;
//! the event keeps what the token was, without secret and value.

use std::collections::BTreeSet;

use crate::caller::Caller;
use crate::draft::Draft;
use crate::engine::Engine;
use crate::error::{Conflict, Error};
use crate::guard::Guard;
use crate::permission::Action;
use crate::selection::Selection;
use crate::store::{Lookup, Rows};
use crate::token::{Body, Token};

impl Engine {
    /// Removes every token that matches and returns them as they were; none is no error.
    ///
    /// # Errors
    /// `Forbidden`, `TooMany`.
    pub async fn delete(&self, caller: &Caller, selection: Selection) -> Result<Vec<Token>, Error> {
        self.delete_if(caller, selection, Guard::Nothing).await
    }

    /// The same under a condition on every token that matches.
    ///
    /// # Errors
    /// As [`Engine::delete`], `Conflict(Version)`, and what the guard says.
    pub async fn delete_if(
        &self,
        caller: &Caller,
        selection: Selection,
        guard: Guard,
    ) -> Result<Vec<Token>, Error> {
        caller.require_any(Action::Delete, selection.container)?;
        selection.check()?;
        let realm = caller.realm;
        let mut query = selection.query(realm, &self.0.keyring);
        // The value with the sealed secret goes too, so it must be among the rows: which one it is never changes. (To ask
        // for sealed rows would read every content that goes.)
        let rows = self.0.store.fetch(query.clone()).await?;
        let tokens = rows.tokens.values();
        let secrets = tokens.filter_map(|token| token.access()?.sealed_secret);
        query.lookups.extend(secrets.map(Lookup::Value));
        let seed = self.event(caller, "token.deleted");
        let by_secret = selection.is_by_secret();
        let engine = self.clone();
        let work = self.transact(query, move |rows| {
            let now = engine.now();
            let judge = selection.matcher(rows, realm, &engine.0.keyring, now);
            let matched: Vec<Token> = judge.matched().into_iter().cloned().collect();
            let mut draft = Draft::over(rows, now);
            for token in &matched {
                seed.caller
                    .require(Action::Delete, &token.class, token.container)?;
                seed.caller.require_tenant(token.tenant.as_deref())?;
                if token
                    .access()
                    .and_then(|access| access.sealed_secret)
                    .is_some_and(|value| {
                        // It came into the selection after the look-up.
                        !rows.values.contains_key(&value)
                    })
                {
                    return Err(Error::Conflict(Conflict::Busy));
                }
                draft.remove_token(token.id);
            }
            for token in &matched {
                guard.judge(token.version, token)?;
            }
            remove_unused_values(&mut draft, rows, &matched);
            Ok((draft.finish(seed.at(now)), matched))
        });
        let removed = work.await?;
        if removed.is_empty() && by_secret {
            self.holds_all_keys().await?;
        }
        Ok(removed)
    }
}

/// Values of removed tokens for which no other token stands. The rows hold all tokens of these values.
pub(crate) fn remove_unused_values(draft: &mut Draft<'_>, rows: &Rows, removed: &[Token]) {
    let gone: BTreeSet<_> = removed.iter().map(|token| token.id).collect();
    let used: BTreeSet<_> = rows
        .tokens
        .values()
        .filter(|token| !gone.contains(&token.id))
        .filter_map(Token::value)
        .collect();
    for value in removed.iter().filter_map(Token::value) {
        if !used.contains(&value) {
            draft.remove_value(value);
        }
    }
}

/// What must be read to remove a token with all it has.
pub(crate) fn removal_lookups(token: &Token) -> Vec<Lookup> {
    let secret = match &token.body {
        Body::Access(access) => access.sealed_secret,
        Body::Data(data) => Some(data.value),
    };
    let value = secret.map(Lookup::Value);
    value.into_iter().chain([Lookup::Token(token.id)]).collect()
}
