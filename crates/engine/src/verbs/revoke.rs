//! Revoke, archive, restore: changes of state by hand.
//!
//! The one thing to know: these are the one update with a transition in place of an edit. Revoked is for good; archived
//! can be restored; either keeps its place in lists. Removing a row is [`crate::verbs::delete`].

use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::Error;
use crate::permission::Action;
use crate::selection::Selection;
use crate::verbs::update::{Alteration, Edit, Guard, Transition, Updated};

impl Engine {
    /// Puts tokens out of force for good.
    pub async fn revoke(
        &self,
        caller: &Caller,
        selection: Selection,
        guard: Guard,
    ) -> Result<Updated, Error> {
        self.transition(
            caller,
            "token.revoked",
            selection,
            guard,
            Transition::Revoke,
        )
        .await
    }

    /// Puts tokens away.
    pub async fn archive(
        &self,
        caller: &Caller,
        selection: Selection,
        guard: Guard,
    ) -> Result<Updated, Error> {
        self.transition(
            caller,
            "token.archived",
            selection,
            guard,
            Transition::Archive,
        )
        .await
    }

    /// Brings archived (or suspended) tokens back; those whose time has passed come back expired.
    pub async fn restore(
        &self,
        caller: &Caller,
        selection: Selection,
        guard: Guard,
    ) -> Result<Updated, Error> {
        self.transition(
            caller,
            "token.restored",
            selection,
            guard,
            Transition::Restore,
        )
        .await
    }

    async fn transition(
        &self,
        caller: &Caller,
        verb: &'static str,
        selection: Selection,
        guard: Guard,
        transition: Transition,
    ) -> Result<Updated, Error> {
        let alteration = Alteration {
            edit: Edit::default(),
            transition: Some(transition),
        };
        self.alter(caller, Action::Revoke, verb, selection, guard, alteration)
            .await
    }
}
