//! The rules of the engine's verbs, each held against the real store.
//!
//! The one thing to know: dialects test their words; what a word comes to is tested here, once.

use std::net::IpAddr;
use std::sync::Arc;

use engine::Error;
use engine::caller::{Actor, Caller};
use engine::error::{Conflict, Forbidden, Missing, Unauthenticated};
use engine::event::{Outcome, Subject};
use engine::permission::{Action, Grants};
use engine::refusal::Refusal;
use engine::selection::{Selection, Which};
use engine::token::{State, Token};
use engine::verbs::count::Count;
use engine::verbs::issue::{Credential, Issue};
use engine::verbs::purge::Purged;
use engine::verbs::tokenize::{Expiry, ExternalId, Identity};
use engine::verbs::update::{Edit, Field, Guard, NewData, Update};
use serde_json::json;
use zeroize::Zeroizing;

use crate::backend::{Backend, on_each_store};
use crate::rig::{Rig, Time, place, tags_of};

fn update(selection: Selection, edit: Edit) -> Update {
    Update {
        selection,
        edit,
        guard: Guard::Nothing,
    }
}

fn named(name: &str) -> Edit {
    Edit {
        name: Field::Set(name.to_owned()),
        ..Edit::default()
    }
}

fn new_data(content: &str) -> Edit {
    Edit {
        data: Some(NewData {
            content: Zeroizing::new(content.as_bytes().to_vec()),
            body: json!({}),
            classes: vec!["pci".to_owned(), "randomized".to_owned()],
        }),
        ..Edit::default()
    }
}

fn tagged(container: Option<engine::record::RecordId>, tags: &[&str]) -> Selection {
    Selection {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        container,
        ..Selection::default()
    }
}

async fn only(rig: &Rig, id: engine::token::TokenId) -> Token {
    let found = rig
        .engine
        .find(&rig.caller, Action::Read, &Selection::of(id))
        .await
        .unwrap();
    found.tokens.into_iter().next().unwrap()
}

on_each_store! {
    an_update_is_in_force_for_the_next_verify,
    time_ends_a_token_without_a_write,
    a_guard_lets_one_of_many_win,
    concurrent_updates_of_one_token_lose_nothing,
    the_same_again_changes_nothing_and_leaves_no_event,
    selections_are_anded_and_an_empty_one_matches_nothing,
    an_update_of_many_is_all_or_nothing,
    a_token_does_not_widen_itself,
    rights_are_asked_before_anything_is_matched,
    addresses_are_checked_on_the_token_and_above_it,
    a_dead_record_kills_what_is_below_it_at_once,
    the_same_content_is_the_same_value_where_its_class_says_so,
    the_index_follows_new_data_and_the_former_version_is_kept_until_purged,
    data_changes_only_where_it_may,
    given_ids_are_unique_and_all_of_a_call_is_made_or_nothing,
    unique_tags_are_unique_in_a_tenant,
    repeating_a_tokenization_appends_tags_and_moves_the_expiry_by_its_rule,
    tenants_bound_a_request,
    events_say_who_and_what_and_their_digests_fit,
    refusals_are_recorded_without_filling_the_store,
    everything_is_there_after_a_restart,
    records_are_guarded_and_versioned_as_tokens_are,
    a_selection_is_bounded,
    a_signed_credential_is_verified_by_its_token_alone,
    a_limited_number_of_uses_is_exact,
    places_of_a_token_move_with_its_edit_and_are_unique,
    a_touch_makes_a_version_where_a_product_says_so,
    what_goes_is_judged_as_it_is_when_it_goes,
    a_guard_holds_for_every_token_that_matches_or_for_none,
}

async fn an_update_is_in_force_for_the_next_verify(backend: Backend) {
    for live_entries in [0, 1_000] {
        let rig = Rig::set_up(backend, live_entries, Time::Goes).await;
        let (token, secret) = rig.issue("a", &[]).await;
        let verify = || rig.engine.verify(rig.realm, &secret, None);
        assert_eq!(verify().await.unwrap().token.id, token.id);
        let expire = Edit {
            expires_at: Field::Set(rig.in_secs(-1)),
            ..Edit::default()
        };
        let done = rig
            .engine
            .update(&rig.caller, update(Selection::of(token.id), expire))
            .await
            .unwrap();
        assert_eq!(done.tokens[0].state, State::Expired);
        assert_eq!(done.tokens[0].version, 2);
        assert_eq!(
            verify().await.unwrap_err(),
            Error::Unauthenticated(Unauthenticated::Expired)
        );
        let revive = Edit {
            expires_at: Field::Clear,
            ..Edit::default()
        };
        rig.engine
            .update(&rig.caller, update(Selection::of(token.id), revive))
            .await
            .unwrap();
        assert_eq!(verify().await.unwrap().token.version, 3);
        rig.engine
            .revoke(&rig.caller, Selection::of(token.id), Guard::Nothing)
            .await
            .unwrap();
        assert_eq!(
            verify().await.unwrap_err(),
            Error::Unauthenticated(Unauthenticated::Revoked)
        );
        let restored = rig
            .engine
            .restore(&rig.caller, Selection::of(token.id), Guard::Nothing)
            .await;
        assert!(matches!(
            restored,
            Err(Error::Invalid { field: "state", .. })
        ));
        rig.engine
            .delete(&rig.caller, Selection::of(token.id))
            .await
            .unwrap();
        assert_eq!(
            verify().await.unwrap_err(),
            Error::Unauthenticated(Unauthenticated::Unknown)
        );
    }
}

async fn time_ends_a_token_without_a_write(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (token, secret) = rig.issue("a", &[]).await;
    let soon = Edit {
        expires_at: Field::Set(rig.in_secs(10)),
        ..Edit::default()
    };
    rig.engine
        .update(&rig.caller, update(Selection::of(token.id), soon))
        .await
        .unwrap();
    rig.pass(9);
    assert!(rig.engine.verify(rig.realm, &secret, None).await.is_ok());
    rig.pass(1);
    assert!(rig.engine.verify(rig.realm, &secret, None).await.is_err());
    assert_eq!(only(&rig, token.id).await.version, 2, "nothing was written");
}

async fn a_guard_lets_one_of_many_win(backend: Backend) {
    let rig = Arc::new(Rig::on(backend).await);
    let (token, _) = rig.issue("a", &[]).await;
    for round in 0..10_u64 {
        let tries = (0..8).map(|writer| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move {
                let update = Update {
                    selection: Selection::of(token.id),
                    edit: named(&format!("{round}-{writer}")),
                    guard: Guard::Version(round + 1),
                };
                rig.engine.update(&rig.caller, update).await
            })
        });
        let mut won = 0;
        for one in tries.collect::<Vec<_>>() {
            match one.await.unwrap() {
                Ok(_) => won += 1,
                Err(Error::Conflict(Conflict::Version { current })) => {
                    assert_eq!(current, round + 2);
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(won, 1, "round {round}");
    }
}

async fn concurrent_updates_of_one_token_lose_nothing(backend: Backend) {
    let rig = Arc::new(Rig::on(backend).await);
    let (token, _) = rig.issue("a", &[]).await;
    let writers = (0..64).map(|writer| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move {
            let edit = named(&format!("writer {writer}"));
            let update = update(Selection::of(token.id), edit);
            rig.engine.update(&rig.caller, update).await.unwrap();
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(only(&rig, token.id).await.version, 65);
    let history = rig
        .engine
        .history(&rig.caller, Subject::Token, token.id.0)
        .await
        .unwrap();
    let versions: Vec<u64> = history.iter().map(|(_, change)| change.version).collect();
    assert_eq!(versions, (1..=65).rev().collect::<Vec<_>>());
}

async fn the_same_again_changes_nothing_and_leaves_no_event(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (token, _) = rig.issue("a", &["x"]).await;
    let before = rig
        .engine
        .events(&rig.caller, None, 10)
        .await
        .unwrap()
        .len();
    let edit = Edit {
        tags: Field::Set(tags_of(&["x"], &[])),
        ..named("a")
    };
    let done = rig
        .engine
        .update(&rig.caller, update(Selection::of(token.id), edit))
        .await
        .unwrap();
    assert_eq!(done.tokens[0].version, 1);
    assert_eq!(
        rig.engine
            .events(&rig.caller, None, 10)
            .await
            .unwrap()
            .len(),
        before
    );
}

async fn selections_are_anded_and_an_empty_one_matches_nothing(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (one, _) = rig.issue("one", &["a", "b"]).await;
    let (two, _) = rig.issue("two", &["a"]).await;
    let find = async |selection: Selection| {
        let found = rig
            .engine
            .find(&rig.caller, Action::Read, &selection)
            .await
            .unwrap();
        found
            .tokens
            .iter()
            .map(|token| token.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(find(tagged(None, &["a"])).await, [one.id, two.id]);
    assert_eq!(find(tagged(None, &["a", "b"])).await, [one.id]);
    let both = Selection {
        ids: vec![two.id],
        ..tagged(None, &["b"])
    };
    assert!(find(both).await.is_empty());
    assert!(find(Selection::default()).await.is_empty());
    let done = rig
        .engine
        .update(&rig.caller, update(Selection::default(), named("all?")))
        .await
        .unwrap();
    assert!(done.tokens.is_empty());
    let deleted = rig
        .engine
        .delete(&rig.caller, Selection::default())
        .await
        .unwrap();
    assert!(deleted.is_empty());
}

async fn an_update_of_many_is_all_or_nothing(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (one, _) = rig.issue("one", &["a"]).await;
    let (two, _) = rig.issue("two", &["a"]).await;
    rig.engine
        .update(&rig.caller, update(Selection::of(two.id), named("two b")))
        .await
        .unwrap();
    let guarded = Update {
        guard: Guard::Version(1),
        ..update(tagged(None, &["a"]), named("renamed"))
    };
    let refused = rig.engine.update(&rig.caller, guarded).await.unwrap_err();
    assert_eq!(refused, Error::Conflict(Conflict::Version { current: 2 }));
    assert_eq!(only(&rig, one.id).await.name.as_deref(), Some("one"));
    let done = rig
        .engine
        .update(&rig.caller, update(tagged(None, &["a"]), named("renamed")))
        .await
        .unwrap();
    assert_eq!(done.tokens.len(), 2);
    let events = rig.engine.events(&rig.caller, None, 1).await.unwrap();
    assert_eq!(events[0].changes.len(), 2, "one event, two changes");
}

async fn a_token_does_not_widen_itself(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (token, _) = rig.issue("a", &[]).await;
    let bearer = Caller {
        actor: Actor::bearer(&token),
        token: Some(token.id),
        ..rig.caller.clone()
    };
    let until = |secs| Edit {
        expires_at: Field::Set(rig.in_secs(secs)),
        ..Edit::default()
    };
    let try_it = |edit: Edit| {
        rig.engine
            .update(&bearer, update(Selection::of(token.id), edit))
    };
    let itself = Error::Forbidden(Forbidden::Itself);
    try_it(until(100)).await.unwrap();
    assert_eq!(try_it(until(101)).await.unwrap_err(), itself);
    let never = Edit {
        expires_at: Field::Clear,
        ..Edit::default()
    };
    assert_eq!(try_it(never).await.unwrap_err(), itself);
    let more = Edit {
        permissions: Field::Set(vec!["read".to_owned(), "write".to_owned()]),
        ..Edit::default()
    };
    assert_eq!(try_it(more).await.unwrap_err(), itself);
    let narrow = Edit {
        permissions: Field::Clear,
        addresses: Field::Set(vec!["10.0.0.0/8".parse().unwrap()]),
        ..until(50)
    };
    try_it(narrow).await.unwrap();
    let anywhere = Edit {
        addresses: Field::Clear,
        ..Edit::default()
    };
    assert_eq!(try_it(anywhere).await.unwrap_err(), itself);
    // Another principal may.
    rig.engine
        .update(&rig.caller, update(Selection::of(token.id), until(1_000)))
        .await
        .unwrap();
}

async fn rights_are_asked_before_anything_is_matched(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (token, _) = rig.issue("a", &[]).await;
    let reader = Caller {
        grants: Arc::new(Grants::to(&[Action::Read])),
        ..rig.caller.clone()
    };
    let missing = Selection::of(engine::token::TokenId(uuid::Uuid::nil()));
    for selection in [Selection::of(token.id), missing] {
        let refused = rig
            .engine
            .update(&reader, update(selection.clone(), named("b")))
            .await
            .unwrap_err();
        assert!(matches!(
            refused,
            Error::Forbidden(Forbidden::Action { .. })
        ));
        assert!(rig.engine.delete(&reader, selection).await.is_err());
    }
}

async fn addresses_are_checked_on_the_token_and_above_it(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (token, secret) = rig.issue("a", &[]).await;
    let from = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let edit = Edit {
        addresses: Field::Set(vec!["10.0.0.0/8".parse().unwrap()]),
        ..Edit::default()
    };
    rig.engine
        .update(&rig.caller, update(Selection::of(token.id), edit))
        .await
        .unwrap();
    let verify = |address| rig.engine.verify(rig.realm, &secret, address);
    assert!(verify(from("10.1.2.3")).await.is_ok());
    assert_eq!(
        verify(from("11.1.2.3")).await.unwrap_err(),
        Error::Forbidden(Forbidden::Address)
    );
    assert!(
        verify(None).await.is_err(),
        "an unknown address is on no list"
    );
}

async fn a_dead_record_kills_what_is_below_it_at_once(backend: Backend) {
    let rig = Rig::on(backend).await;
    let method = rig.record("method", "m", None).await;
    let secret = rig.secret();
    let issue = Issue {
        parent: Some(method),
        ..Issue::with_secret("client", secret.clone(), String::new(), false)
    };
    let token = rig.engine.issue(&rig.caller, issue).await.unwrap();
    assert!(rig.engine.verify(rig.realm, &secret, None).await.is_ok());
    rig.engine.delete_record(&rig.caller, method).await.unwrap();
    assert_eq!(
        rig.engine
            .verify(rig.realm, &secret, None)
            .await
            .unwrap_err(),
        Error::Unauthenticated(Unauthenticated::Orphaned)
    );
    // The name is free again, and a new record does not bring the old token back.
    rig.record("method", "m", None).await;
    assert!(rig.engine.verify(rig.realm, &secret, None).await.is_err());
    let selection = Selection::of(token.id);
    let found = rig
        .engine
        .find(&rig.caller, Action::Read, &selection)
        .await
        .unwrap();
    assert!(found.tokens.is_empty(), "orphans are not found");
    // What is left goes with the next purge, and only that.
    rig.pass(10);
    let purged = rig
        .engine
        .purge(&rig.caller, rig.in_secs(0), true)
        .await
        .unwrap();
    assert_eq!(
        purged,
        Purged {
            tokens: 1,
            records: 1,
            values: 0
        }
    );
    let there = rig
        .engine
        .find_record(&rig.caller, place("method", "m"))
        .await
        .unwrap();
    assert!(there.is_some());
    let again = rig
        .engine
        .purge(&rig.caller, rig.in_secs(0), true)
        .await
        .unwrap();
    assert_eq!(again, Purged::default());
}

async fn the_same_content_is_the_same_value_where_its_class_says_so(backend: Backend) {
    let rig = Rig::on(backend).await;
    let here = rig.record("collection", "here", None).await;
    let there = rig.record("collection", "there", None).await;
    let tokenize = async |container, identity, contents: &[&str]| {
        let tokenize = rig.tokenization(container, "pci", identity, contents);
        let made = rig.engine.tokenize(&rig.caller, tokenize).await.unwrap();
        made.into_iter()
            .map(|one| one.external_id)
            .collect::<Vec<_>>()
    };
    let first = tokenize(here, Identity::Shared, &["A", "B", "A"]).await;
    assert_eq!(first[0], first[2]);
    assert_ne!(first[0], first[1]);
    assert_eq!(tokenize(here, Identity::Shared, &["A"]).await[0], first[0]);
    assert_ne!(tokenize(there, Identity::Shared, &["A"]).await[0], first[0]);
    assert_ne!(tokenize(here, Identity::None, &["A"]).await[0], first[0]);
    let count = rig.engine.count(&rig.caller, here).await.unwrap();
    assert_eq!(count, Count { live: 3, ended: 0 });
}

async fn the_index_follows_new_data_and_the_former_version_is_kept_until_purged(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let tokenize = async |content: &str| {
        let tokenize = rig.tokenization(container, "pci", Identity::Shared, &[content]);
        let made = rig.engine.tokenize(&rig.caller, tokenize).await.unwrap();
        made.into_iter().next().unwrap()
    };
    let x = tokenize("A").await;
    let b = tokenize("B").await;
    // B is held by another token already: the index moves, the other stays what it is.
    let by_id = |id: &str| Selection {
        external_ids: vec![id.to_owned()],
        container: Some(container),
        ..Selection::default()
    };
    rig.engine
        .update(&rig.caller, update(by_id(&x.external_id), new_data("B")))
        .await
        .unwrap();
    let open = async |id: &str| {
        let found = rig
            .engine
            .find(&rig.caller, Action::Reveal, &by_id(id))
            .await
            .unwrap();
        let value = found.value(&found.tokens[0]).unwrap().clone();
        String::from_utf8(rig.engine.open(&value).unwrap().to_vec()).unwrap()
    };
    assert_eq!(open(&x.external_id).await, "B");
    assert_eq!(open(&b.external_id).await, "B");
    assert_eq!(tokenize("B").await.external_id, x.external_id);
    assert_ne!(tokenize("A").await.external_id, x.external_id);
    // Removing the token that lost the index does not take the index from the one that has it.
    rig.engine
        .delete(&rig.caller, by_id(&b.external_id))
        .await
        .unwrap();
    assert_eq!(tokenize("B").await.external_id, x.external_id);
    rig.pass(10);
    let purged = rig
        .engine
        .purge(&rig.caller, rig.in_secs(0), true)
        .await
        .unwrap();
    assert_eq!(purged.values, 1, "version 1 of the first value");
    assert_eq!(open(&x.external_id).await, "B");
}

async fn data_changes_only_where_it_may(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let make = async |class: &str, contents: &[&str]| {
        let tokenize = rig.tokenization(container, class, Identity::None, contents);
        rig.engine.tokenize(&rig.caller, tokenize).await.unwrap()
    };
    let two = make("randomized", &["A", "B"]).await;
    let fixed = make("deterministic", &["A"]).await;
    let ids = |made: &[engine::verbs::tokenize::Tokenized]| Selection {
        ids: made.iter().map(|one| one.token).collect(),
        ..Selection::default()
    };
    for selection in [ids(&two), ids(&fixed)] {
        let refused = rig
            .engine
            .update(&rig.caller, update(selection, new_data("C")))
            .await
            .unwrap_err();
        assert!(
            matches!(refused, Error::Invalid { field: "data", .. }),
            "{refused}"
        );
    }
    let found = rig
        .engine
        .find(&rig.caller, Action::Reveal, &ids(&two))
        .await
        .unwrap();
    let contents: Vec<Vec<u8>> = found
        .tokens
        .iter()
        .map(|token| {
            rig.engine
                .open(found.value(token).unwrap())
                .unwrap()
                .to_vec()
        })
        .collect();
    assert_eq!(
        contents,
        [b"A".to_vec(), b"B".to_vec()],
        "nothing was changed"
    );
}

async fn given_ids_are_unique_and_all_of_a_call_is_made_or_nothing(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let given = |contents: &[&str], id: &str| {
        let mut tokenize = rig.tokenization(container, "randomized", Identity::None, contents);
        tokenize.tokens.last_mut().unwrap().external_id = ExternalId::Given(id.to_owned());
        tokenize
    };
    rig.engine
        .tokenize(&rig.caller, given(&["A"], "mine"))
        .await
        .unwrap();
    let refused = rig
        .engine
        .tokenize(&rig.caller, given(&["B", "C"], "mine"))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::Conflict(Conflict::Taken { ref space }) if space == "external")
    );
    let count = rig.engine.count(&rig.caller, container).await.unwrap();
    assert_eq!(count.live, 1);
    // Deleted, the id is free.
    let selection = Selection {
        external_ids: vec!["mine".to_owned()],
        container: Some(container),
        ..Selection::default()
    };
    rig.engine.delete(&rig.caller, selection).await.unwrap();
    rig.engine
        .tokenize(&rig.caller, given(&["D"], "mine"))
        .await
        .unwrap();
}

async fn unique_tags_are_unique_in_a_tenant(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let make = async |tenant: Option<&str>, tags: &[&str], unique: &[&str]| {
        let mut tokenize = rig.tokenization(container, "randomized", Identity::None, &["A"]);
        tokenize.tokens[0].tenant = tenant.map(str::to_owned);
        tokenize.tokens[0].tags = tags_of(tags, unique);
        rig.engine.tokenize(&rig.caller, tokenize).await
    };
    let taken = |made: Result<_, Error>| matches!(made, Err(Error::Conflict(Conflict::Taken { space })) if space == "unique-tag");
    let first = make(Some("t1"), &["u"], &["u"]).await.unwrap();
    assert!(taken(make(Some("t1"), &["u"], &["u"]).await.map(|_| ())));
    make(Some("t2"), &["u"], &["u"]).await.unwrap();
    make(None, &["u"], &["u"]).await.unwrap();
    assert!(taken(make(None, &["u"], &["u"]).await.map(|_| ())));
    // A plain tag elsewhere stands in the way too.
    make(Some("t1"), &["plain"], &[]).await.unwrap();
    let ask = |tags: &[&str]| Edit {
        tags: Field::Set(tags_of(tags, tags)),
        ..Edit::default()
    };
    let change = async |edit: Edit| {
        let selection = Selection {
            container: Some(container),
            ..Selection::of(first[0].token)
        };
        rig.engine
            .update(&rig.caller, update(selection, edit))
            .await
            .map(|_| ())
    };
    assert!(taken(change(ask(&["plain"])).await));
    change(ask(&["u", "v"])).await.unwrap();
    // Given up, it is free; an archived carrier still counts.
    change(ask(&["v"])).await.unwrap();
    let other = make(Some("t1"), &["u"], &["u"]).await.unwrap();
    rig.engine
        .archive(&rig.caller, Selection::of(other[0].token), Guard::Nothing)
        .await
        .unwrap();
    assert!(taken(make(Some("t1"), &["u"], &["u"]).await.map(|_| ())));
}

async fn repeating_a_tokenization_appends_tags_and_moves_the_expiry_by_its_rule(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let make = async |expiry: Expiry, tags: &[&str]| {
        let mut tokenize = rig.tokenization(container, "pci", Identity::Shared, &["A"]);
        tokenize.expiry = expiry;
        tokenize.tokens[0].tags = tags_of(tags, &[]);
        let made = rig.engine.tokenize(&rig.caller, tokenize).await.unwrap();
        only(&rig, made[0].token).await
    };
    let at = |secs| Some(rig.in_secs(secs));
    assert_eq!(make(Expiry::Given(at(10)), &["a"]).await.expires_at, at(10));
    let token = make(Expiry::Default(at(5)), &["b"]).await;
    assert_eq!(
        (token.expires_at, token.tags),
        (at(10), vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!(make(Expiry::Default(at(20)), &[]).await.expires_at, at(20));
    assert_eq!(make(Expiry::Given(at(3)), &[]).await.expires_at, at(3));
    assert_eq!(make(Expiry::Default(None), &[]).await.expires_at, None);
    let count = rig.engine.count(&rig.caller, container).await.unwrap();
    assert_eq!(count, Count { live: 1, ended: 0 });
}

async fn tenants_bound_a_request(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let mut tokenize = rig.tokenization(container, "randomized", Identity::None, &["A", "B"]);
    tokenize.tokens[0].tenant = Some("t1".to_owned());
    let made = rig.engine.tokenize(&rig.caller, tokenize).await.unwrap();
    let bound = Caller {
        tenants: Some(vec!["t1".to_owned()]),
        ..rig.caller.clone()
    };
    let of = |numbers: &[usize]| Selection {
        ids: numbers.iter().map(|number| made[*number].token).collect(),
        ..Selection::default()
    };
    let rename = |selection| rig.engine.update(&bound, update(selection, named("x")));
    rename(of(&[0])).await.unwrap();
    for outside in [of(&[1]), of(&[0, 1])] {
        let refused = rename(outside).await.unwrap_err();
        assert_eq!(refused, Error::Forbidden(Forbidden::Tenant));
    }
}

async fn events_say_who_and_what_and_their_digests_fit(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (token, secret) = rig.issue("a", &["x"]).await;
    let why = Caller {
        reason: Some("Maintenance".to_owned()),
        ..rig.caller.clone()
    };
    rig.engine
        .update(&why, update(Selection::of(token.id), named("b")))
        .await
        .unwrap();
    let events = rig.engine.events(&rig.caller, None, 10).await.unwrap();
    assert_eq!(events[0].verb, "token.updated");
    assert_eq!(events[0].reason.as_deref(), Some("Maintenance"));
    assert_eq!(events[0].changes[0].before, json!({ "name": "a" }));
    assert_eq!(events[0].changes[0].after, json!({ "name": "b" }));
    for event in &events {
        let stored = rig
            .engine
            .event_digest(&rig.caller, event.id)
            .await
            .unwrap();
        assert_eq!(stored, Some(event.digest()));
        assert!(
            !serde_json::to_string(event)
                .unwrap()
                .contains(secret.expose())
        );
    }
}

async fn refusals_are_recorded_without_filling_the_store(backend: Backend) {
    let rig = Rig::on(backend).await;
    let before = rig
        .engine
        .events(&rig.caller, None, 100)
        .await
        .unwrap()
        .len();
    let refusal = Refusal {
        realm: rig.realm,
        actor: Actor::operator("somebody"),
        verb: "PUT /x".to_owned(),
        reason: "403".to_owned(),
    };
    for _ in 0..50 {
        rig.engine.refuse(refusal.clone(), "r");
    }
    rig.engine.flush_refusals(true).await;
    let rig = rig.reopened().await;
    let events = rig.engine.events(&rig.caller, None, 100).await.unwrap();
    let refused: Vec<_> = events
        .iter()
        .filter(|event| event.outcome == Outcome::Refused)
        .collect();
    assert_eq!(events.len(), before + 2);
    assert_eq!(refused.iter().map(|event| event.count).sum::<u64>(), 50);
}

async fn everything_is_there_after_a_restart(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (token, secret) = rig.issue("a", &["x"]).await;
    assert!(rig.engine.verify(rig.realm, &secret, None).await.is_ok());
    let rig = rig.reopened().await;
    assert_eq!(only(&rig, token.id).await, token);
    assert!(rig.engine.verify(rig.realm, &secret, None).await.is_ok());
    let usage = rig.engine.usage(&rig.caller, &[token.id]).await.unwrap();
    assert_eq!(usage[&token.id].uses, 2);
    let secrets = rig
        .engine
        .kept_secrets(&rig.caller, std::slice::from_ref(&token))
        .await
        .unwrap();
    assert_eq!(secrets[&token.id].expose(), secret.expose());
    assert_eq!(rig.engine.open_realm("test").await.unwrap(), rig.realm);
    assert_eq!(rig.engine.realms().await.unwrap().len(), 1);
}

async fn records_are_guarded_and_versioned_as_tokens_are(backend: Backend) {
    let rig = Rig::on(backend).await;
    let id = rig.record("project", "p", None).await;
    let set = |name: &'static str| {
        move |_: &engine::record::Record| {
            Ok(engine::verbs::records::RecordEdit {
                body: Some(json!({ "name": name })),
                ..Default::default()
            })
        }
    };
    let done = rig
        .engine
        .update_record(&rig.caller, id, Guard::Version(1), set("q"))
        .await
        .unwrap();
    assert_eq!(done.body["name"], "q");
    let stale = rig
        .engine
        .update_record(&rig.caller, id, Guard::Version(1), set("r"))
        .await
        .unwrap_err();
    assert_eq!(stale, Error::Conflict(Conflict::Version { current: 2 }));
    let taken = rig
        .engine
        .create_record(
            &rig.caller,
            engine::verbs::records::NewRecord {
                locators: vec![place("project", "p")],
                ..engine::verbs::records::NewRecord::new(
                    rig.engine.new_record_id(),
                    "project",
                    json!({}),
                )
            },
        )
        .await
        .unwrap_err();
    assert!(matches!(taken, Error::Conflict(Conflict::Taken { .. })));
    rig.engine.delete_record(&rig.caller, id).await.unwrap();
    let gone = rig
        .engine
        .update_record(&rig.caller, id, Guard::Nothing, set("s"))
        .await
        .unwrap_err();
    assert!(matches!(gone, Error::NotFound(Missing::Record { .. })));
}

async fn a_selection_is_bounded(backend: Backend) {
    let rig = Rig::on(backend).await;
    let tags: Vec<String> = (0..1_001).map(|number| number.to_string()).collect();
    let selection = Selection {
        tags,
        which: Which::Any,
        ..Selection::default()
    };
    let refused = rig
        .engine
        .update(&rig.caller, update(selection, named("x")))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::TooMany { .. }));
}

async fn a_signed_credential_is_verified_by_its_token_alone(backend: Backend) {
    let rig = Rig::on(backend).await;
    let id = rig.engine.new_token_id();
    let (other, secret) = rig.issue("with a secret", &[]).await;
    let signed = Issue {
        id: Some(id),
        credential: Credential::Signed,
        ..Issue::with_secret("jwt", secret, String::new(), false)
    };
    let token = rig.engine.issue(&rig.caller, signed).await.unwrap();
    assert_eq!(token.id, id);
    for _ in 0..2 {
        assert!(rig.engine.verify_signed(rig.realm, id, None).await.is_ok());
    }
    // A token with a secret of its own is not good without it.
    assert_eq!(
        rig.engine
            .verify_signed(rig.realm, other.id, None)
            .await
            .unwrap_err(),
        Error::Unauthenticated(Unauthenticated::Unknown)
    );
    rig.engine
        .revoke(&rig.caller, Selection::of(id), Guard::Nothing)
        .await
        .unwrap();
    assert_eq!(
        rig.engine
            .verify_signed(rig.realm, id, None)
            .await
            .unwrap_err(),
        Error::Unauthenticated(Unauthenticated::Revoked)
    );
}

async fn a_limited_number_of_uses_is_exact(backend: Backend) {
    let rig = Arc::new(Rig::on(backend).await);
    let secret = rig.secret();
    let issue = Issue {
        uses_max: Some(50),
        addresses: vec!["10.0.0.0/8".parse().unwrap()],
        ..Issue::with_secret("client", secret.clone(), String::new(), false)
    };
    let token = rig.engine.issue(&rig.caller, issue).await.unwrap();
    let good = Some("10.1.1.1".parse::<IpAddr>().unwrap());
    let tries = (0..16).map(|_| {
        let (rig, secret) = (Arc::clone(&rig), secret.clone());
        tokio::spawn(async move {
            let mut admitted = 0;
            for _ in 0..10 {
                // A refused address uses nothing up.
                let bad = Some("11.1.1.1".parse::<IpAddr>().unwrap());
                assert!(rig.engine.verify(rig.realm, &secret, bad).await.is_err());
                admitted += usize::from(rig.engine.verify(rig.realm, &secret, good).await.is_ok());
            }
            admitted
        })
    });
    let mut admitted = 0;
    for one in tries.collect::<Vec<_>>() {
        admitted += one.await.unwrap();
    }
    assert_eq!(admitted, 50);
    assert_eq!(
        rig.engine
            .verify(rig.realm, &secret, good)
            .await
            .unwrap_err(),
        Error::Unauthenticated(Unauthenticated::Exhausted)
    );
    let usage = rig.engine.usage(&rig.caller, &[token.id]).await.unwrap();
    assert_eq!(usage[&token.id].uses, 50);
    assert_eq!(only(&rig, token.id).await.version, 1);
}

async fn places_of_a_token_move_with_its_edit_and_are_unique(backend: Backend) {
    let rig = Rig::on(backend).await;
    let make = async |name: &str| {
        let issue = Issue {
            locators: vec![place("token-name", name)],
            ..Issue::with_secret("client", rig.secret(), String::new(), false)
        };
        rig.engine.issue(&rig.caller, issue).await
    };
    let one = make("one").await.unwrap();
    make("two").await.unwrap();
    assert!(
        matches!(make("one").await, Err(Error::Conflict(Conflict::Taken { ref space })) if space == "token-name")
    );
    let rename = |name: &str| {
        let edit = Edit {
            locators: Field::Set(vec![place("token-name", name)]),
            ..named(name)
        };
        rig.engine
            .update(&rig.caller, update(Selection::of(one.id), edit))
    };
    assert!(matches!(
        rename("two").await,
        Err(Error::Conflict(Conflict::Taken { .. }))
    ));
    rename("one").await.unwrap();
    rename("three").await.unwrap();
    make("one").await.unwrap();
    rig.engine
        .delete(&rig.caller, Selection::of(one.id))
        .await
        .unwrap();
    make("three").await.unwrap();
}

async fn a_touch_makes_a_version_where_a_product_says_so(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (token, _) = rig.issue("a", &[]).await;
    let same = Edit {
        touch: true,
        ..named("a")
    };
    let done = rig
        .engine
        .update(&rig.caller, update(Selection::of(token.id), same))
        .await
        .unwrap();
    assert_eq!(done.tokens[0].version, 2);
}

async fn what_goes_is_judged_as_it_is_when_it_goes(backend: Backend) {
    let rig = Rig::on(backend).await;
    let kept = |record: &engine::record::Record| match record.body["kept"].as_bool() {
        Some(true) => Err(Error::invalid("kept", "it stays")),
        _ => Ok(()),
    };
    let id = rig.record("project", "p", None).await;
    let keep = |kept: bool| {
        let edit = move |_: &engine::record::Record| {
            Ok(engine::verbs::records::RecordEdit {
                body: Some(json!({ "kept": kept })),
                ..Default::default()
            })
        };
        rig.engine
            .update_record(&rig.caller, id, Guard::Nothing, edit)
    };
    keep(true).await.unwrap();
    let delete = |guard| rig.engine.delete_record_if(&rig.caller, id, guard);
    let refused = delete(Guard::check(kept)).await.unwrap_err();
    assert_eq!(refused, Error::invalid("kept", "it stays"));
    let stale = delete(Guard::Version(1)).await.unwrap_err();
    assert_eq!(stale, Error::Conflict(Conflict::Version { current: 2 }));
    keep(false).await.unwrap();
    let gone = delete(Guard::check(kept)).await.unwrap();
    assert_eq!((gone.version, &gone.body), (3, &json!({ "kept": false })));
}

async fn a_guard_holds_for_every_token_that_matches_or_for_none(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (one, _) = rig.issue("one", &["t"]).await;
    let (other, _) = rig.issue("other", &["t"]).await;
    let active = |token: &Token| match token.state {
        State::Active => Ok(()),
        _ => Err(Error::NotFound(Missing::Token)),
    };
    let revoke = |id| {
        let guard = Guard::check(active);
        rig.engine.revoke(&rig.caller, Selection::of(id), guard)
    };
    assert_eq!(revoke(one.id).await.unwrap().tokens.len(), 1);
    let again = revoke(one.id).await.unwrap_err();
    assert_eq!(again, Error::NotFound(Missing::Token));

    let both = || Selection {
        ids: vec![one.id, other.id],
        which: Which::Any,
        ..Selection::default()
    };
    let delete = |guard| rig.engine.delete_if(&rig.caller, both(), guard);
    let refused = delete(Guard::check(active)).await.unwrap_err();
    assert_eq!(refused, Error::NotFound(Missing::Token));
    let stale = delete(Guard::Version(1)).await.unwrap_err();
    assert_eq!(stale, Error::Conflict(Conflict::Version { current: 2 }));
    assert_eq!(only(&rig, other.id).await.version, 1);
    // Who may not do it learns nothing about the rows.
    let reader = Caller {
        grants: Arc::new(Grants::to(&[Action::Read])),
        ..rig.caller.clone()
    };
    let unasked = Guard::check(|_: &Token| panic!("asked before the caller's rights"));
    let refused = rig.engine.delete_if(&reader, both(), unasked).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))));
    assert_eq!(delete(Guard::Nothing).await.unwrap().len(), 2);
}
