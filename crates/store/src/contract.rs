//! The store's promises, as one list of tests that every backend passes.
//!
//! The one thing to know: a test here may use nothing but the trait, and gets a store of its own that is empty. What only
//! one backend can be put through (a full disk, a damaged file) is tested beside that backend.

#![allow(clippy::unwrap_used)]

pub(crate) mod commits;
pub(crate) mod concurrency;
pub(crate) mod guards;
pub(crate) mod life;
pub(crate) mod reads;
pub(crate) mod realms;
pub(crate) mod walks;
pub(crate) mod world;

use std::sync::Arc;

use async_trait::async_trait;
use engine::store::Store;

/// An empty place for a store, gone when this is dropped.
#[async_trait]
pub(crate) trait House: Send + Sync {
    /// A new one.
    async fn build() -> Self
    where
        Self: Sized;

    /// Opens the store in it, each time the same; the one opened before must have been closed.
    async fn open(&self) -> Arc<dyn Store>;
}

/// Makes a test of each promise for a [`House`].
macro_rules! suite {
    ($house:ty) => {
        $crate::contract::suite! { $house;
            commits::a_batch_is_applied_whole_and_comes_back_as_it_was,
            commits::a_batch_with_one_refused_write_leaves_nothing,
            commits::a_decision_for_nothing_writes_nothing,
            commits::an_event_is_applied_once,
            commits::the_same_event_id_in_another_realm_is_another_event,
            guards::writes_over_another_version_are_stale,
            guards::ids_that_are_there_are_taken,
            guards::a_claim_moves_only_from_the_stated_holder,
            commits::marks_are_set_and_unset_idempotently,
            guards::keys_may_be_long,
            guards::a_batch_that_breaks_its_own_rules_is_refused,
            commits::a_decision_gets_the_rows_it_asked_for,
            commits::a_decision_over_too_many_tokens_is_not_asked,
            commits::a_value_is_a_chain_of_versions,
            commits::a_value_begins_anew_after_its_removal,
            concurrency::no_increment_is_lost,
            concurrency::a_refused_call_fails_alone,
            concurrency::one_of_many_claims_wins,
            concurrency::one_of_many_attempts_with_one_event_is_applied,
            concurrency::a_panicking_decision_fails_alone,
            concurrency::a_dropped_call_is_applied_whole_or_not_at_all,
            concurrency::a_read_sees_every_acknowledged_write,
            concurrency::a_read_is_one_snapshot,
            reads::what_is_not_there_is_left_out,
            reads::tokens_bring_values_containers_objects_and_ancestors,
            reads::ancestors_end_at_the_limit,
            reads::a_short_walk_does_not_cut_a_longer_one,
            reads::locators_and_marks_lead_to_their_holders,
            reads::entries_come_along_when_asked_for,
            reads::values_come_sealed_only_when_asked_for,
            reads::the_secret_of_an_access_token_comes_when_asked_for,
            reads::tombstones_are_rows_like_others,
            reads::more_tokens_than_the_limit_are_refused,
            realms::realms_never_mix,
            walks::tokens_in_order_without_gaps_or_repeats,
            walks::records_of_one_kind_in_order,
            walks::tombstones_that_are_old_enough,
            walks::superseded_versions_oldest_first,
            walks::marks_between_two_keys,
            walks::marks_of_one_key_in_order_of_their_holders,
            walks::events_newest_first_with_their_changes,
            walks::the_history_of_a_row_newest_first,
            walks::digests_of_events,
            life::uses_add_up_and_touch_no_token,
            life::a_limit_of_uses_is_exact,
            life::uses_of_what_is_gone_are_dropped,
            life::counts_stop_at_their_limit,
            life::a_store_that_was_closed_shows_everything_again,
            life::a_closed_store_is_unavailable,
            life::closing_waits_for_writes_under_way,
            life::a_store_at_work_is_ready,
            life::others_see_what_a_server_reports,
        }
    };
    ($house:ty; $($module:ident :: $promise:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let house = <$house as $crate::contract::House>::build().await;
                $crate::contract::$module::$promise(&house).await;
            }
        )*
    };
}
pub(crate) use suite;
