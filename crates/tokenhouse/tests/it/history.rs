//! The history of a token: what an auditor is told, also of what happened above it.
//!
//! The one thing to know: deleting a record is one row, however many tokens hang from it, so no token has a change of its
//! own then. Whoever did it must be found in the history of each of them all the same.

use engine::Error;
use engine::caller::Caller;
use engine::event::Subject;
use engine::permission::{Action, Grants};
use engine::record::RecordId;
use engine::selection::Selection;
use engine::token::{Token, TokenId};
use engine::verbs::issue::Issue;
use engine::verbs::records::RecordEdit;
use engine::verbs::update::{Edit, Field, Guard, Update};
use serde_json::json;

use crate::backend::{Backend, on_each_store};
use crate::rig::Rig;

/// The changes of a history in short.
async fn told(rig: &Rig, token: TokenId) -> Vec<(String, Subject, String, u64)> {
    let history = rig.engine.token_history(&rig.caller, token).await.unwrap();
    history
        .into_iter()
        .map(|(event, change)| (event.verb, change.subject, event.actor.id, change.version))
        .collect()
}

fn line(verb: &str, subject: Subject, actor: &str, version: u64) -> (String, Subject, String, u64) {
    (verb.to_owned(), subject, actor.to_owned(), version)
}

fn ann(rig: &Rig) -> Caller {
    Caller::operator(rig.realm, "ann", "audit")
}

async fn issue_below(rig: &Rig, parent: RecordId) -> Token {
    let issue = Issue {
        parent: Some(parent),
        ..Issue::with_secret("client", rig.secret(), String::new(), false)
    };
    rig.engine.issue(&rig.caller, issue).await.unwrap()
}

async fn rename(rig: &Rig, token: TokenId, name: &str) {
    let update = Update {
        selection: Selection::of(token),
        edit: Edit {
            name: Field::Set(name.to_owned()),
            ..Edit::default()
        },
        guard: Guard::Nothing,
    };
    rig.engine.update(&rig.caller, update).await.unwrap();
}

async fn restate(rig: &Rig, record: RecordId, what: &'static str) {
    let edit = move |_: &engine::record::Record| {
        Ok(RecordEdit {
            body: Some(json!({ "is": what })),
            ..RecordEdit::default()
        })
    };
    let caller = ann(rig);
    let done = rig
        .engine
        .update_record(&caller, record, Guard::Nothing, edit);
    done.await.unwrap();
}

on_each_store! {
    whoever_deletes_what_a_token_hangs_from_is_in_its_history_for_good,
    a_history_longer_than_a_page_still_knows_what_is_above,
    histories_are_for_those_who_may_see_records_too,
}

async fn whoever_deletes_what_a_token_hangs_from_is_in_its_history_for_good(backend: Backend) {
    let rig = Rig::on(backend).await;
    let owner = rig.record("owner", "o", None).await;
    let method = rig.record("method", "m", Some(owner)).await;
    let other = rig.record("method", "n", Some(owner)).await;
    restate(&rig, owner, "before").await;
    let token = issue_below(&rig, method).await.id;
    let beside = issue_below(&rig, other).await.id;
    restate(&rig, owner, "after").await;
    rename(&rig, token, "x").await;
    rig.engine.delete_record(&ann(&rig), method).await.unwrap();
    restate(&rig, owner, "afterwards").await;
    let (t, r) = (Subject::Token, Subject::Record);
    let mut lines = vec![
        line("record.updated", r, "ann", 4),
        line("record.deleted", r, "ann", 2),
        line("token.updated", t, "tokenhouse", 2),
        line("record.updated", r, "ann", 3),
        line("token.issued", t, "tokenhouse", 1),
    ];
    assert_eq!(told(&rig, token).await, lines);

    // Once all rows are gone: what came after the token's own end is no more of its history.
    let purge = async || {
        let all = engine::clock::Timestamp::MAX;
        rig.engine.purge(&rig.caller, all, true).await.unwrap()
    };
    assert_eq!(purge().await.tokens, 1);
    lines.insert(0, line("token.purged", t, "tokenhouse", 2));
    assert_eq!(told(&rig, token).await, lines);
    rig.engine.delete_record(&ann(&rig), owner).await.unwrap();
    assert_eq!(purge().await.tokens, 1);
    assert_eq!(told(&rig, token).await, lines);

    let beside = told(&rig, beside).await;
    let lines = [
        line("token.purged", t, "tokenhouse", 1),
        line("record.deleted", r, "ann", 5),
        line("record.updated", r, "ann", 4),
        line("record.updated", r, "ann", 3),
        line("token.issued", t, "tokenhouse", 1),
    ];
    assert_eq!(
        beside, lines,
        "what happened below another record is not in it"
    );
}

async fn a_history_longer_than_a_page_still_knows_what_is_above(backend: Backend) {
    let rig = Rig::on(backend).await;
    let owner = rig.record("owner", "o", None).await;
    let token = issue_below(&rig, owner).await.id;
    for number in 0..engine::limits::PAGE_ROWS {
        rename(&rig, token, &format!("n{number}")).await;
    }
    rig.engine.delete_record(&ann(&rig), owner).await.unwrap();
    let told = told(&rig, token).await;
    assert_eq!(told.len(), engine::limits::PAGE_ROWS);
    assert_eq!(told[0], line("record.deleted", Subject::Record, "ann", 2));
    assert_eq!(told[1].0, "token.updated");
}

async fn histories_are_for_those_who_may_see_records_too(backend: Backend) {
    let rig = Rig::on(backend).await;
    let owner = rig.record("owner", "o", None).await;
    let token = issue_below(&rig, owner).await.id;
    let unknown = TokenId(owner.0);
    assert_eq!(told(&rig, unknown).await, []);
    for action in [Action::Read, Action::ReadRecord] {
        let half = Caller {
            grants: Grants::to(&[action]).into(),
            ..rig.caller.clone()
        };
        let refused = rig.engine.token_history(&half, token).await.unwrap_err();
        assert!(matches!(refused, Error::Forbidden(_)), "{refused}");
    }
}
