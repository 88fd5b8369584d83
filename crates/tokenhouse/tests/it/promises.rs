//! Promises at their edges: what is left behind, what is seen from outside a tenant, what a version guards.
//!
//! The one thing to know: each of these was broken once without any other test noticing.

use std::sync::Arc;

use engine::Error;
use engine::caller::{Actor, Caller};
use engine::error::{Conflict, Forbidden};
use engine::locator::{Key, Place, Space};
use engine::permission::{Action, Grant, Grants};
use engine::record::{Record, RecordId};
use engine::selection::{Selection, Which};
use engine::token::{State, Token, TokenId};
use engine::value::Scope;
use engine::verbs::issue::Issue;
use engine::verbs::purge::Purged;
use engine::verbs::records::{NewRecord, RecordEdit};
use engine::verbs::tokenize::{Identity, Tokenize, Tokenized};
use engine::verbs::update::{Edit, Field, Guard, NewData, Update};
use serde_json::json;
use zeroize::Zeroizing;

use crate::backend::{Backend, on_each_store};
use crate::rig::{Rig, place, tags_of};

fn new_data(content: &str) -> Edit {
    Edit {
        data: Some(NewData {
            content: Zeroizing::new(content.as_bytes().to_vec()),
            body: json!({}),
            classes: vec!["pci".to_owned()],
        }),
        ..Edit::default()
    }
}

fn update(id: TokenId, edit: Edit) -> Update {
    Update {
        selection: Selection::of(id),
        edit,
        guard: Guard::Nothing,
    }
}

async fn tokenize(rig: &Rig, tokenize: Tokenize) -> Tokenized {
    rig.engine
        .tokenize(&rig.caller, tokenize)
        .await
        .unwrap()
        .remove(0)
}

fn issue_below(rig: &Rig, parent: RecordId) -> Issue {
    Issue {
        parent: Some(parent),
        ..Issue::with_secret("client", rig.secret(), String::new(), false)
    }
}

on_each_store! {
    nothing_is_left_of_what_is_deleted,
    a_unique_tag_that_is_given_up_leaves_nothing,
    a_global_scope_outlives_the_container_it_began_in,
    a_global_scope_never_gives_a_token_that_stands_for_something_else,
    tags_are_unique_however_the_token_was_selected,
    a_version_guards_what_a_token_stands_for_too,
    the_data_of_another_tenant_is_not_changed_through_a_shared_value,
    an_updated_record_comes_back_as_it_is_stored,
    an_expiry_that_has_passed_is_a_fact_of_records_too,
    a_token_does_not_bring_itself_back,
    lists_show_neither_orphans_nor_other_tenants,
    an_owner_hangs_from_the_container_of_its_tokens,
    the_same_content_of_another_tenant_is_another_entry,
    marks_of_a_call_are_set_also_where_its_tokens_were_there_already,
    a_purge_removes_only_what_its_caller_may_delete,
    a_purge_ends_and_goes_on_where_something_cannot_go,
    large_calls_are_decided,
    a_record_is_not_made_where_it_could_not_be_found,
    deleting_takes_kept_secrets_along_without_reading_contents,
}

async fn nothing_is_left_of_what_is_deleted(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let locators = rig.rows("locator", "true");
    let marks = rig.rows("mark", "true");
    let mut made = Vec::new();
    for (content, tenant) in [("A", "t1"), ("B", "t2")] {
        let mut new = rig.tokenization(container, "pci", Identity::Shared, &[content]);
        new.tokens[0].tags = tags_of(&["u"], &["u"]);
        new.tokens[0].tenant = Some(tenant.to_owned());
        made.push(tokenize(&rig, new).await);
    }
    // The index of B moves to the first, so that both values have been found by it.
    rig.engine
        .update(&rig.caller, update(made[0].token, new_data("B")))
        .await
        .unwrap();
    let both = Selection {
        ids: made.iter().map(|one| one.token).collect(),
        ..Selection::default()
    };
    assert_eq!(rig.engine.delete(&rig.caller, both).await.unwrap().len(), 2);
    assert_eq!(rig.rows("locator", "true"), locators);
    assert_eq!(rig.rows("mark", "true"), marks);
    assert_eq!(rig.rows("value", "true"), 0);
}

async fn a_unique_tag_that_is_given_up_leaves_nothing(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let mut new = rig.tokenization(container, "pci", Identity::None, &["A"]);
    new.tokens[0].tags = tags_of(&["u"], &["u"]);
    let made = tokenize(&rig, new).await;
    let edit = Edit {
        tags: Field::Clear,
        ..Edit::default()
    };
    rig.engine
        .update(&rig.caller, update(made.token, edit))
        .await
        .unwrap();
    assert_eq!(rig.rows("locator", "space = 'unique-tag'"), 0);
}

async fn a_global_scope_outlives_the_container_it_began_in(backend: Backend) {
    for identity in [Identity::Shared, Identity::Computed] {
        for whole_container in [false, true] {
            let rig = Rig::on(backend).await;
            let one = rig.record("collection", "one", None).await;
            let two = rig.record("collection", "two", None).await;
            let in_container = async |container| {
                let mut new = rig.tokenization(container, "pci", identity, &["A"]);
                new.tokens[0].scope = Scope {
                    name: "global:x".to_owned(),
                    global: true,
                };
                rig.engine
                    .tokenize(&rig.caller, new)
                    .await
                    .map(|mut made| made.remove(0))
            };
            let first = in_container(one).await.unwrap();
            let second = in_container(two).await.unwrap();
            assert_eq!(first.external_id, second.external_id);
            assert_eq!(
                in_container(two).await.unwrap(),
                second,
                "{identity:?}, both there"
            );
            if whole_container {
                rig.engine.delete_record(&rig.caller, one).await.unwrap();
            } else {
                rig.engine
                    .delete(&rig.caller, Selection::of(first.token))
                    .await
                    .unwrap();
            }
            let again = in_container(two).await.unwrap();
            assert_eq!(
                again, second,
                "{identity:?}, container deleted: {whole_container}"
            );
        }
    }
}

async fn a_global_scope_never_gives_a_token_that_stands_for_something_else(backend: Backend) {
    let rig = Rig::on(backend).await;
    let one = rig.record("collection", "one", None).await;
    let two = rig.record("collection", "two", None).await;
    let in_container = async |container, content: &str| {
        let mut new = rig.tokenization(container, "pci", Identity::Shared, &[content]);
        new.tokens[0].scope.global = true;
        rig.engine
            .tokenize(&rig.caller, new)
            .await
            .map(|mut made| made.remove(0))
    };
    in_container(one, "A").await.unwrap();
    let copy = in_container(two, "A").await.unwrap();
    rig.engine
        .update(&rig.caller, update(copy.token, new_data("B")))
        .await
        .unwrap();
    assert_eq!(
        in_container(two, "B").await.unwrap(),
        copy,
        "the index follows the new data"
    );
    // The id that A has elsewhere stands for B here: refused rather than wrong.
    let refused = in_container(two, "A").await.unwrap_err();
    assert!(
        matches!(refused, Error::Conflict(Conflict::Taken { ref space }) if space == "external"),
        "{refused}"
    );
}

async fn tags_are_unique_however_the_token_was_selected(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let mut new = rig.tokenization(container, "pci", Identity::None, &["A", "B"]);
    new.tokens[0].tags = tags_of(&["u"], &[]);
    let made = rig.engine.tokenize(&rig.caller, new).await.unwrap();
    let edit = Edit {
        tags: Field::Set(tags_of(&["u"], &["u"])),
        ..Edit::default()
    };
    let refused = rig
        .engine
        .update(&rig.caller, update(made[1].token, edit))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::Conflict(Conflict::Taken { ref space }) if space == "unique-tag"),
        "{refused}"
    );
}

async fn a_version_guards_what_a_token_stands_for_too(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let made = tokenize(
        &rig,
        rig.tokenization(container, "pci", Identity::None, &["A"]),
    )
    .await;
    let guarded = |content| Update {
        guard: Guard::Version(1),
        ..update(made.token, new_data(content))
    };
    let done = rig.engine.update(&rig.caller, guarded("B")).await.unwrap();
    assert_eq!(done.tokens[0].version, 2);
    let refused = rig
        .engine
        .update(&rig.caller, guarded("C"))
        .await
        .unwrap_err();
    assert_eq!(refused, Error::Conflict(Conflict::Version { current: 2 }));
}

async fn the_data_of_another_tenant_is_not_changed_through_a_shared_value(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let mut made = Vec::new();
    for tenant in ["t1", "t2"] {
        let owner = rig.record("object", tenant, Some(container)).await;
        let mut new = rig.tokenization(container, "pci", Identity::Shared, &["A"]);
        new.tokens[0].owner = Some(owner);
        new.tokens[0].tenant = Some(tenant.to_owned());
        made.push(tokenize(&rig, new).await);
    }
    assert_eq!(made[0].external_id, made[1].external_id);
    let bound = Caller {
        tenants: Some(vec!["t1".to_owned()]),
        ..rig.caller.clone()
    };
    let refused = rig
        .engine
        .update(&bound, update(made[0].token, new_data("B")))
        .await
        .unwrap_err();
    assert_eq!(refused, Error::Forbidden(Forbidden::Tenant));
    // Whoever may change both makes a version of both.
    rig.engine
        .update(&rig.caller, update(made[0].token, new_data("B")))
        .await
        .unwrap();
    let found = rig
        .engine
        .find(&rig.caller, Action::Read, &Selection::of(made[1].token))
        .await
        .unwrap();
    assert_eq!(found.tokens[0].version, 2);
}

async fn an_updated_record_comes_back_as_it_is_stored(backend: Backend) {
    let rig = Rig::on(backend).await;
    let id = rig.record("project", "p", None).await;
    rig.pass(5);
    let edit = |_: &Record| {
        Ok(RecordEdit {
            body: Some(json!({ "x": 1 })),
            ..RecordEdit::default()
        })
    };
    let done = rig
        .engine
        .update_record(&rig.caller, id, Guard::Version(1), edit)
        .await
        .unwrap();
    assert_eq!(
        Some(done.clone()),
        rig.engine.record(&rig.caller, id).await.unwrap()
    );
    assert_eq!(done.version, 2);
    let content = |_: &Record| {
        Ok(RecordEdit {
            content: Some(Zeroizing::new(b"x".to_vec())),
            ..RecordEdit::default()
        })
    };
    let done = rig
        .engine
        .update_record(&rig.caller, id, Guard::Version(2), content)
        .await
        .unwrap();
    assert_eq!(done.version, 3, "a new content is a change of the record");
}

async fn an_expiry_that_has_passed_is_a_fact_of_records_too(backend: Backend) {
    let rig = Rig::on(backend).await;
    let id = rig.engine.new_record_id();
    let at = rig.in_secs(5);
    let new = NewRecord {
        expires_at: Some(at),
        ..NewRecord::new(id, "object", json!({}))
    };
    rig.engine.create_record(&rig.caller, new).await.unwrap();
    rig.pass(10);
    let edit = move |_: &Record| {
        Ok(RecordEdit {
            expires_at: Field::Set(at),
            ..RecordEdit::default()
        })
    };
    let done = rig
        .engine
        .update_record(&rig.caller, id, Guard::Nothing, edit)
        .await
        .unwrap();
    assert_eq!(done.state, State::Expired);
}

async fn a_token_does_not_bring_itself_back(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (token, _) = rig.issue("a", &[]).await;
    let bearer = Caller {
        actor: Actor::bearer(&token),
        token: Some(token.id),
        ..rig.caller.clone()
    };
    // It was authenticated before, and is put away while its call is under way.
    rig.engine
        .archive(&rig.caller, Selection::of(token.id), Guard::Nothing)
        .await
        .unwrap();
    let refused = rig
        .engine
        .restore(&bearer, Selection::of(token.id), Guard::Nothing)
        .await;
    assert_eq!(refused.unwrap_err(), Error::Forbidden(Forbidden::Itself));
}

async fn lists_show_neither_orphans_nor_other_tenants(backend: Backend) {
    let rig = Rig::on(backend).await;
    let method = rig.record("method", "m", None).await;
    rig.engine
        .issue(&rig.caller, issue_below(&rig, method))
        .await
        .unwrap();
    rig.engine.delete_record(&rig.caller, method).await.unwrap();
    let list = async |caller: &Caller| -> Vec<Token> {
        rig.engine.list(caller, None, 500).await.unwrap().0
    };
    assert!(
        list(&rig.caller).await.is_empty(),
        "orphans look as if they were not there"
    );
    let container = rig.record("collection", "c", None).await;
    let mut new = rig.tokenization(container, "pci", Identity::None, &["A", "B"]);
    new.tokens[0].tenant = Some("t1".to_owned());
    new.tokens[1].tenant = Some("t2".to_owned());
    let made = rig.engine.tokenize(&rig.caller, new).await.unwrap();
    let bound = Caller {
        tenants: Some(vec!["t1".to_owned()]),
        ..rig.caller.clone()
    };
    let seen: Vec<_> = list(&bound).await.iter().map(|token| token.id).collect();
    assert_eq!(seen, [made[0].token]);
    assert_eq!(list(&rig.caller).await.len(), 2);
}

async fn an_owner_hangs_from_the_container_of_its_tokens(backend: Backend) {
    let rig = Rig::on(backend).await;
    let here = rig.record("collection", "here", None).await;
    let there = rig.record("collection", "there", None).await;
    let owner = rig.record("object", "o", Some(there)).await;
    let mut new = rig.tokenization(here, "pci", Identity::None, &["A"]);
    new.tokens[0].owner = Some(owner);
    // Otherwise the token would outlive its container, and stop every purge.
    assert!(rig.engine.tokenize(&rig.caller, new).await.is_err());
}

async fn the_same_content_of_another_tenant_is_another_entry(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let make = async |tenant: Option<&str>, tag: &str| {
        let mut new = rig.tokenization(container, "pci", Identity::Shared, &["A"]);
        new.tokens[0].tenant = tenant.map(str::to_owned);
        new.tokens[0].tags = tags_of(&[tag], &[]);
        let bound = Caller {
            tenants: tenant.map(|one| vec![one.to_owned()]),
            ..rig.caller.clone()
        };
        rig.engine.tokenize(&bound, new).await.unwrap().remove(0)
    };
    let first = make(Some("t1"), "a").await;
    let second = make(Some("t2"), "b").await;
    assert_eq!(first.external_id, second.external_id);
    assert_ne!(
        first.token, second.token,
        "nobody writes to a token of another tenant"
    );
    assert_eq!(make(Some("t1"), "c").await, first);
    assert_eq!(make(Some("t2"), "c").await, second);
    let any = Selection::of(first.token);
    let found = rig
        .engine
        .find(&rig.caller, Action::Read, &any)
        .await
        .unwrap();
    assert_eq!(found.tokens[0].tags, ["a", "c"]);
    // Who is bound to no tenant takes what is there.
    assert_eq!(make(None, "d").await, first);
}

async fn marks_of_a_call_are_set_also_where_its_tokens_were_there_already(backend: Backend) {
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let new = rig.tokenization(container, "pci", Identity::Shared, &["A"]);
    tokenize(&rig, new.clone()).await;
    let marked = Tokenize {
        marks: vec![place("transaction", "x")],
        ..new
    };
    tokenize(&rig, marked).await;
    assert_eq!(rig.rows("mark", "space = 'transaction'"), 1);
}

async fn a_purge_removes_only_what_its_caller_may_delete(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (token, _) = rig.issue("a", &[]).await;
    let ended = Edit {
        expires_at: Field::Set(rig.in_secs(-10)),
        ..Edit::default()
    };
    rig.engine
        .update(&rig.caller, update(token.id, ended))
        .await
        .unwrap();
    let mut grants = Grants::to(&[Action::Delete, Action::DeleteRecord]);
    grants.0.push(Grant {
        deny: true,
        actions: vec![Action::Delete],
        classes: Some(vec!["client".to_owned()]),
        container: None,
    });
    let limited = Caller {
        grants: Arc::new(grants),
        ..rig.caller.clone()
    };
    let before = rig.in_secs(0);
    assert_eq!(
        rig.engine.purge(&limited, before, false).await.unwrap(),
        Purged::default()
    );
    assert_eq!(
        rig.engine
            .purge(&rig.caller, before, false)
            .await
            .unwrap()
            .tokens,
        1
    );
}

async fn a_purge_ends_and_goes_on_where_something_cannot_go(backend: Backend) {
    let rig = Rig::on(backend).await;
    let stuck = rig.record("collection", "stuck", None).await;
    let other = rig.record("collection", "other", None).await;
    // Listed below the first, but hanging from nothing.
    let stray = NewRecord {
        marks: vec![Place::new(Space::CHILD, Key::of_id(stuck.0))],
        ..NewRecord::new(rig.engine.new_record_id(), "stray", json!({}))
    };
    rig.engine.create_record(&rig.caller, stray).await.unwrap();
    for id in [stuck, other] {
        rig.engine.delete_record(&rig.caller, id).await.unwrap();
    }
    rig.pass(10);
    let purge = rig.engine.purge(&rig.caller, rig.in_secs(0), false);
    let purged = tokio::time::timeout(std::time::Duration::from_secs(10), purge)
        .await
        .unwrap();
    assert_eq!(purged.unwrap().records, 1);
}

async fn large_calls_are_decided(backend: Backend) {
    // The one writer decides them: what took the square of its size there would be noticed here by whoever runs it.
    let rig = Rig::on(backend).await;
    let container = rig.record("collection", "c", None).await;
    let owners = 6_000;
    let mut new = rig.tokenization(container, "pci", Identity::Shared, &vec!["A"; owners]);
    for (number, token) in new.tokens.iter_mut().enumerate() {
        let record = NewRecord {
            parent: Some(container),
            ..NewRecord::new(rig.engine.new_record_id(), "object", json!({}))
        };
        token.owner = Some(record.id);
        new.records.push(record);
        let own = number.to_string();
        token.tags = tags_of(&["all", &own], &[&own]);
    }
    let all = Selection {
        tags: vec!["all".to_owned()],
        container: Some(container),
        ..Selection::default()
    };
    let rename = Update {
        selection: all.clone(),
        edit: Edit {
            name: Field::Set("x".to_owned()),
            ..Edit::default()
        },
        guard: Guard::Nothing,
    };
    rig.engine.tokenize(&rig.caller, new).await.unwrap();
    let done = rig.engine.update(&rig.caller, rename).await.unwrap();
    assert_eq!(done.tokens.len(), owners);
    let gone = rig.engine.delete(&rig.caller, all).await.unwrap();
    assert_eq!(gone.len(), owners);
}

async fn a_record_is_not_made_where_it_could_not_be_found(backend: Backend) {
    let rig = Rig::on(backend).await;
    let mut parent = None;
    for depth in 0..10 {
        let id = rig.engine.new_record_id();
        let new = NewRecord {
            parent,
            ..NewRecord::new(id, "level", json!({}))
        };
        if rig.engine.create_record(&rig.caller, new).await.is_err() {
            assert!(depth >= 4, "four levels are promised");
            return;
        }
        assert!(
            rig.engine.record(&rig.caller, id).await.unwrap().is_some(),
            "level {depth}"
        );
        parent = Some(id);
    }
    panic!("ten levels");
}

async fn deleting_takes_kept_secrets_along_without_reading_contents(backend: Backend) {
    let rig = Rig::on(backend).await;
    let (token, _) = rig.issue("a", &["x"]).await;
    let selection = Selection {
        tags: vec!["x".to_owned()],
        which: Which::Any,
        ..Selection::default()
    };
    let gone = rig.engine.delete(&rig.caller, selection).await.unwrap();
    assert_eq!(gone, [token]);
    assert_eq!(rig.rows("value", "true"), 0);
    assert_eq!(rig.rows("locator", "space = 'secret'"), 0);
}
