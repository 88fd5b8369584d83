//! What was written is in force when the call returns: random writers against a live index, small and large.
//!
//! The one thing to know: each task owns its tokens, so that it knows exactly what the next verify must say, while all of
//! them fill and void the same stripes and push each other out of a small index. A stale answer is counted, none is
//! allowed. The clock is the machine's: a node on PostgreSQL answers from memory only if its clock goes with the database's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use engine::Error;
use engine::entropy::{Entropy as _, SeededEntropy};
use engine::error::Unauthenticated;
use engine::permission::Action;
use engine::record::RecordId;
use engine::secret::Secret;
use engine::selection::Selection;
use engine::token::{State, TokenId};
use engine::verbs::issue::{Credential, Issue};
use engine::verbs::records::RecordEdit;
use engine::verbs::update::{Edit, Field, Guard, Update};
use serde_json::{Value as Json, json};

use crate::backend::{Backend, on_each_store};
use crate::rig::{Rig, Time};

const WRITERS: u64 = 8;
const STEPS: usize = 150;

/// What the next verify of a token must say.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Expected {
    Version(u64),
    Expired(u64),
    Not(Unauthenticated),
}

/// A number below `bound`.
fn below(random: &SeededEntropy, bound: usize) -> usize {
    let mut bytes = [0; 4];
    random.fill(&mut bytes);
    u32::from_be_bytes(bytes) as usize % bound
}

struct Owned {
    id: TokenId,
    secret: Secret,
    parent: RecordId,
    parent_version: u64,
    expected: Expected,
}

async fn fresh(rig: &Rig) -> Owned {
    let parent = rig.record("method", rig.secret().expose(), None).await;
    let secret = rig.secret();
    let issue = Issue {
        parent: Some(parent),
        ..Issue::with_secret("client", secret.clone(), String::new(), false)
    };
    let id = rig.engine.issue(&rig.caller, issue).await.unwrap().id;
    Owned {
        id,
        secret,
        parent,
        parent_version: 1,
        expected: Expected::Version(1),
    }
}

/// A change of what a record says.
fn described(body: &Json) -> RecordEdit {
    RecordEdit {
        body: Some(body.clone()),
        ..RecordEdit::default()
    }
}

/// One write that returns, and what must hold from then on.
async fn write(rig: &Rig, owned: &mut Owned, kind: usize, name: usize) {
    let (engine, caller) = (&rig.engine, &rig.caller);
    let update = |edit| Update {
        selection: Selection::of(owned.id),
        edit,
        guard: Guard::Nothing,
    };
    let next = match owned.expected {
        Expected::Version(version) | Expected::Expired(version) => version + 1,
        Expected::Not(_) => {
            *owned = fresh(rig).await;
            return;
        }
    };
    match kind {
        0..=4 => {
            let edit = Edit {
                name: Field::Set(name.to_string()),
                ..Edit::default()
            };
            engine.update(caller, update(edit)).await.unwrap();
            owned.expected = match owned.expected {
                Expected::Expired(_) => Expected::Expired(next),
                _ => Expected::Version(next),
            };
        }
        5..=6 => {
            let edit = match owned.expected {
                Expected::Expired(_) => Field::Clear,
                _ => Field::Set(rig.in_secs(-1)),
            };
            let edit = Edit {
                expires_at: edit,
                ..Edit::default()
            };
            engine.update(caller, update(edit)).await.unwrap();
            owned.expected = match owned.expected {
                Expected::Expired(_) => Expected::Version(next),
                _ => Expected::Expired(next),
            };
        }
        7 => {
            engine
                .revoke(caller, Selection::of(owned.id), Guard::Nothing)
                .await
                .unwrap();
            owned.expected = Expected::Not(Unauthenticated::Revoked);
        }
        8 => {
            engine
                .delete(caller, Selection::of(owned.id))
                .await
                .unwrap();
            owned.expected = Expected::Not(Unauthenticated::Unknown);
        }
        9 => {
            engine.delete_record(caller, owned.parent).await.unwrap();
            owned.expected = Expected::Not(Unauthenticated::Orphaned);
        }
        10 => {
            // The record above says something else: the token is as good as it was.
            let edit = move |_: &engine::record::Record| Ok(described(&json!({ "name": name })));
            engine
                .update_record(caller, owned.parent, Guard::Nothing, edit)
                .await
                .unwrap();
            owned.parent_version += 1;
        }
        _ => {
            // The record above ends: the token with it, though its own row is untouched.
            let ended = Some(rig.in_secs(-1));
            let edit = move |_: &engine::record::Record| {
                Ok(RecordEdit {
                    expires_at: ended.map_or(Field::Keep, Field::Set),
                    ..RecordEdit::default()
                })
            };
            engine
                .update_record(caller, owned.parent, Guard::Nothing, edit)
                .await
                .unwrap();
            owned.expected = Expected::Not(Unauthenticated::Expired);
        }
    }
}

async fn holds(rig: &Rig, owned: &Owned) -> bool {
    let verified = rig.engine.verify(rig.realm, &owned.secret, None).await;
    match (owned.expected, verified) {
        (Expected::Version(version), Ok(found)) => {
            // The record above is handed out as it is now, too.
            let above: Vec<_> = found
                .records
                .iter()
                .map(|one| (one.id, one.version))
                .collect();
            found.token.version == version && above == [(owned.parent, owned.parent_version)]
        }
        (Expected::Expired(_), Err(Error::Unauthenticated(Unauthenticated::Expired))) => true,
        (Expected::Not(cause), Err(Error::Unauthenticated(found))) => cause == found,
        _ => false,
    }
}

/// Writes and verifies in turn, several tokens of its own.
async fn writer(rig: Arc<Rig>, number: u64, secrets: Arc<std::sync::Mutex<Vec<Secret>>>) -> u64 {
    let random = SeededEntropy::new(number);
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(fresh(&rig).await);
    }
    let mut stale = 0;
    for step in 0..STEPS {
        let chosen = below(&random, tokens.len());
        secrets.lock().unwrap().push(tokens[chosen].secret.clone());
        let kind = below(&random, 12);
        write(&rig, &mut tokens[chosen], kind, step).await;
        for owned in &tokens {
            stale += u64::from(!holds(&rig, owned).await);
        }
    }
    stale
}

on_each_store! {
    nobody_sees_what_was_before_a_returned_write_with_a_small_index,
    nobody_sees_what_was_before_a_returned_write_with_a_large_index,
    the_records_above_come_with_the_token_as_they_are_after_the_last_write,
    a_caller_who_hangs_up_leaves_the_index_as_the_store_is,
}

async fn run(backend: Backend, live_entries: usize) {
    let rig = Arc::new(Rig::set_up(backend, live_entries, Time::Goes).await);
    let secrets = Arc::new(std::sync::Mutex::new(Vec::<Secret>::new()));
    let over = Arc::new(AtomicBool::new(false));
    let verified = Arc::new(AtomicU64::new(0));
    // They fill the index at every moment, also between a commit and its voiding.
    let readers = (0..4).map(|number| {
        let (rig, secrets) = (Arc::clone(&rig), Arc::clone(&secrets));
        let (over, verified) = (Arc::clone(&over), Arc::clone(&verified));
        tokio::spawn(async move {
            let random = SeededEntropy::new(100 + number);
            while !over.load(Ordering::SeqCst) {
                let secret = {
                    let secrets = secrets.lock().unwrap();
                    let recent = &secrets[secrets.len().saturating_sub(16)..];
                    (!recent.is_empty()).then(|| recent[below(&random, recent.len())].clone())
                };
                if let Some(secret) = secret {
                    let _ = rig.engine.verify(rig.realm, &secret, None).await;
                    verified.fetch_add(1, Ordering::Relaxed);
                }
                tokio::task::yield_now().await;
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| tokio::spawn(writer(Arc::clone(&rig), number, Arc::clone(&secrets))))
        .collect();
    let mut stale = 0;
    for writer in writers {
        stale += writer.await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(stale, 0, "stale answers with {live_entries} live entries");
    assert!(verified.load(Ordering::Relaxed) > 0);
}

async fn nobody_sees_what_was_before_a_returned_write_with_a_small_index(backend: Backend) {
    run(backend, 4).await;
}

async fn nobody_sees_what_was_before_a_returned_write_with_a_large_index(backend: Backend) {
    run(backend, 1_000).await;
}

async fn the_records_above_come_with_the_token_as_they_are_after_the_last_write(backend: Backend) {
    // From the index, and without one.
    for live_entries in [1_000, 0] {
        let rig = Rig::set_up(backend, live_entries, Time::Goes).await;
        let organization = rig.record("organization", "o", None).await;
        let identity = rig.record("identity", "i", Some(organization)).await;
        let method = rig.record("method", "m", Some(identity)).await;
        let (secret, signed) = (rig.secret(), rig.engine.new_token_id());
        let issue = Issue {
            parent: Some(method),
            ..Issue::with_secret("client", secret.clone(), String::new(), false)
        };
        let by_id = Issue {
            id: Some(signed),
            parent: Some(method),
            credential: Credential::Signed,
            ..Issue::with_secret("jwt", rig.secret(), String::new(), false)
        };
        let (alone, without) = rig.issue("below nothing", &[]).await;
        let token = rig.engine.issue(&rig.caller, issue).await.unwrap();
        rig.engine.issue(&rig.caller, by_id).await.unwrap();
        for role in ["admin", "member", "admin"] {
            let edit = move |_: &engine::record::Record| Ok(described(&json!({ "role": role })));
            rig.engine
                .update_record(&rig.caller, identity, Guard::Nothing, edit)
                .await
                .unwrap();
            for _ in 0..2 {
                let engine = &rig.engine;
                let one = engine.verify(rig.realm, &secret, None).await.unwrap();
                let other = engine.verify_signed(rig.realm, signed, None).await;
                let other = other.unwrap();
                assert_eq!((one.token.id, other.token.id), (token.id, signed));
                for verified in [one, other] {
                    let ids: Vec<RecordId> = verified.records.iter().map(|one| one.id).collect();
                    assert_eq!(ids, [method, identity, organization], "nearest first");
                    let found = verified.above("identity").unwrap();
                    assert_eq!(found.body, json!({ "role": role }));
                    assert!(verified.above("project").is_none());
                }
            }
        }
        let verified = rig.engine.verify(rig.realm, &without, None).await.unwrap();
        assert_eq!(verified.token.id, alone.id);
        assert!(verified.records.is_empty());
    }
}

async fn a_caller_who_hangs_up_leaves_the_index_as_the_store_is(backend: Backend) {
    let rig = Rig::set_up(backend, 1_000, Time::Goes).await;
    for round in 0..40_u64 {
        let (token, secret) = rig.issue("a", &[]).await;
        rig.engine.verify(rig.realm, &secret, None).await.unwrap();
        let revoke = rig
            .engine
            .revoke(&rig.caller, Selection::of(token.id), Guard::Nothing);
        let patience = Duration::from_micros(round * 50);
        let _ = tokio::time::timeout(patience, revoke).await;
        // The write may have been given up before it was sent, or go on alone. Either way store and verify agree in the end.
        let mut last = (false, true);
        for _ in 0..200 {
            let selection = Selection::of(token.id);
            let found = rig
                .engine
                .find(&rig.caller, Action::Read, &selection)
                .await
                .unwrap();
            let revoked = found.tokens[0].state == State::Revoked;
            let refused = rig.engine.verify(rig.realm, &secret, None).await.is_err();
            last = (revoked, refused);
            if revoked && refused {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(last.0, last.1, "round {round}");
    }
}
