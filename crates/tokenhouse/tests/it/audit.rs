//! Random sequences of verbs against a model in memory: store, events and model agree. Below, the same with the calls of
//! the dialects, whose models know who may do what as well.
//!
//! The one thing to know: the model is deliberately simple-minded – a map and the rules in a few lines – so that a clever
//! mistake of the engine has nowhere to hide in it. Exactly one event per mutation, none for what changes nothing, and
//! replaying the changes of all events gives the present state.

mod infisical;
mod mindbridge;
mod piiano;
mod trail;
mod unleash;

use std::collections::BTreeMap;

use engine::Error;
use engine::error::{Conflict, Unauthenticated};
use engine::event::{Outcome, Subject};
use engine::permission::Action;
use engine::secret::Secret;
use engine::selection::{Selection, Which};
use engine::token::{State, TokenId};
use engine::verbs::tokenize::Identity;
use engine::verbs::update::{Edit, Field, Guard, NewData, Update};
use proptest::prelude::*;
use serde_json::json;
use zeroize::Zeroizing;

use crate::backend::{Backend, any_backend};
use crate::rig::{Rig, Time, tags_of};

const TAGS: [&str; 3] = ["a", "b", "c"];
const CONTENTS: [&str; 3] = ["A", "B", "C"];

#[derive(Clone, Debug)]
enum Step {
    Issue { tag: usize },
    Tokenize { content: usize, shared: bool },
    Rename { token: usize, guard: Option<u64> },
    Retag { tag: usize, to: usize },
    Expire { token: usize, secs: Option<i64> },
    NewData { token: usize, content: usize },
    Revoke { token: usize },
    Archive { token: usize },
    Restore { token: usize },
    Delete { token: usize },
    Wait { secs: i64 },
    Verify { token: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let token = 0..8_usize;
    prop_oneof![
        3 => (0..TAGS.len()).prop_map(|tag| Step::Issue { tag }),
        3 => (0..CONTENTS.len(), any::<bool>()).prop_map(|(content, shared)| Step::Tokenize { content, shared }),
        3 => (token.clone(), proptest::option::of(1..4_u64)).prop_map(|(token, guard)| Step::Rename { token, guard }),
        3 => (0..TAGS.len(), 0..TAGS.len()).prop_map(|(tag, to)| Step::Retag { tag, to }),
        4 => (token.clone(), proptest::option::of(-5..20_i64)).prop_map(|(token, secs)| Step::Expire { token, secs }),
        2 => (token.clone(), 0..CONTENTS.len()).prop_map(|(token, content)| Step::NewData { token, content }),
        1 => token.clone().prop_map(|token| Step::Revoke { token }),
        1 => token.clone().prop_map(|token| Step::Archive { token }),
        1 => token.clone().prop_map(|token| Step::Restore { token }),
        1 => token.clone().prop_map(|token| Step::Delete { token }),
        2 => (1..8_i64).prop_map(|secs| Step::Wait { secs }),
        3 => token.prop_map(|token| Step::Verify { token }),
    ]
}

#[derive(Clone, Debug)]
struct Modelled {
    name: Option<String>,
    tags: Vec<String>,
    state: State,
    expires_at: Option<i64>,
    version: u64,
    secret: Option<Secret>,
    external_id: Option<String>,
    shared: bool,
}

#[derive(Default)]
struct Model {
    tokens: BTreeMap<TokenId, Modelled>,
    /// Content of each outward id.
    contents: BTreeMap<String, String>,
    /// Outward id that a shared content gives.
    index: BTreeMap<String, String>,
    mutations: usize,
    names: usize,
}

impl Model {
    fn pick(&self, number: usize) -> Option<TokenId> {
        let count = self.tokens.len();
        (count > 0).then(|| *self.tokens.keys().nth(number % count).unwrap())
    }

    fn change(&mut self, id: TokenId, alter: impl FnOnce(&mut Modelled)) -> bool {
        let token = self.tokens.get_mut(&id).unwrap();
        let before = (
            token.name.clone(),
            token.tags.clone(),
            token.state,
            token.expires_at,
        );
        alter(token);
        let changed = before
            != (
                token.name.clone(),
                token.tags.clone(),
                token.state,
                token.expires_at,
            );
        token.version += u64::from(changed);
        changed
    }
}

fn in_force(token: &Modelled, now: i64) -> bool {
    token.state == State::Active && token.expires_at.is_none_or(|at| at > now)
}

async fn run(backend: Backend, steps: Vec<Step>) {
    let rig = Rig::set_up(backend, 4, Time::Stands).await;
    let container = rig.record("collection", "c", None).await;
    let before = rig
        .engine
        .events(&rig.caller, None, 500)
        .await
        .unwrap()
        .len();
    let mut model = Model::default();
    for step in steps {
        perform(&rig, container, &mut model, step).await;
        agree(&rig, &model).await;
    }
    let rig = rig.reopened().await;
    agree(&rig, &model).await;
    replay(&rig, &model, before).await;
}

async fn perform(rig: &Rig, container: engine::record::RecordId, model: &mut Model, step: Step) {
    let engine = &rig.engine;
    let caller = &rig.caller;
    let now = engine.now().as_micros();
    let update = |id, edit, guard| {
        engine.update(
            caller,
            Update {
                selection: Selection::of(id),
                edit,
                guard,
            },
        )
    };
    match step {
        Step::Issue { tag } => {
            let name = format!("n{}", model.names);
            model.names += 1;
            let (token, secret) = rig.issue(&name, &[TAGS[tag]]).await;
            model.tokens.insert(
                token.id,
                Modelled {
                    name: Some(name),
                    tags: vec![TAGS[tag].to_owned()],
                    state: State::Active,
                    expires_at: None,
                    version: 1,
                    secret: Some(secret),
                    external_id: None,
                    shared: false,
                },
            );
            model.mutations += 1;
        }
        Step::Tokenize { content, shared } => {
            let identity = if shared {
                Identity::Shared
            } else {
                Identity::None
            };
            let class = if shared { "pci" } else { "randomized" };
            let content = CONTENTS[content];
            let tokenize = rig.tokenization(container, class, identity, &[content]);
            let made = engine.tokenize(caller, tokenize).await.unwrap().remove(0);
            if shared && let Some(id) = model.index.get(content) {
                assert_eq!(*id, made.external_id);
                // The same entry; without a default its expiry becomes "never", which also brings it back.
                let changed = model.change(made.token, |token| {
                    token.expires_at = None;
                    if token.state == State::Expired {
                        token.state = State::Active;
                    }
                });
                model.mutations += usize::from(changed);
                return;
            }
            model
                .contents
                .insert(made.external_id.clone(), content.to_owned());
            if shared {
                model
                    .index
                    .insert(content.to_owned(), made.external_id.clone());
            }
            model.tokens.insert(
                made.token,
                Modelled {
                    name: None,
                    tags: Vec::new(),
                    state: State::Active,
                    expires_at: None,
                    version: 1,
                    secret: None,
                    external_id: Some(made.external_id),
                    shared,
                },
            );
            model.mutations += 1;
        }
        Step::Rename { token, guard } => {
            let Some(id) = model.pick(token) else { return };
            let name = format!("n{}", model.names);
            model.names += 1;
            let edit = Edit {
                name: Field::Set(name.clone()),
                ..Edit::default()
            };
            let current = model.tokens[&id].version;
            let done = update(id, edit, guard.map_or(Guard::Nothing, Guard::Version)).await;
            if guard.is_none_or(|expected| expected == current) {
                assert_eq!(done.unwrap().tokens[0].version, current + 1);
                model.change(id, |token| token.name = Some(name));
                model.mutations += 1;
            } else {
                assert_eq!(
                    done.unwrap_err(),
                    Error::Conflict(Conflict::Version { current })
                );
            }
        }
        Step::Retag { tag, to } => {
            let selection = Selection {
                tags: vec![TAGS[tag].to_owned()],
                which: Which::Live,
                ..Selection::default()
            };
            let edit = Edit {
                tags: Field::Set(tags_of(&[TAGS[to]], &[])),
                ..Edit::default()
            };
            let done = engine
                .update(
                    caller,
                    Update {
                        selection,
                        edit,
                        guard: Guard::Nothing,
                    },
                )
                .await
                .unwrap();
            let expected: Vec<TokenId> = model
                .tokens
                .iter()
                .filter(|(_, token)| {
                    token.tags.iter().any(|one| one == TAGS[tag]) && in_force(token, now)
                })
                .map(|(id, _)| *id)
                .collect();
            assert_eq!(
                done.tokens.iter().map(|token| token.id).collect::<Vec<_>>(),
                expected
            );
            let mut any = false;
            for id in expected {
                any |= model.change(id, |token| token.tags = vec![TAGS[to].to_owned()]);
            }
            model.mutations += usize::from(any);
        }
        Step::Expire { token, secs } => {
            let Some(id) = model.pick(token) else { return };
            let at = secs.map(|secs| rig.in_secs(secs));
            let edit = Edit {
                expires_at: at.map_or(Field::Clear, Field::Set),
                ..Edit::default()
            };
            update(id, edit, Guard::Nothing).await.unwrap();
            let changed = model.change(id, |token| {
                token.expires_at = at.map(engine::clock::Timestamp::as_micros);
                if matches!(token.state, State::Active | State::Expired) {
                    let past = token.expires_at.is_some_and(|at| at <= now);
                    token.state = if past { State::Expired } else { State::Active };
                }
            });
            model.mutations += usize::from(changed);
        }
        Step::NewData { token, content } => {
            let Some(id) = model.pick(token) else { return };
            let content = CONTENTS[content];
            let data = NewData {
                content: Zeroizing::new(content.as_bytes().to_vec()),
                body: json!({}),
                classes: vec!["pci".to_owned(), "randomized".to_owned()],
            };
            let done = update(
                id,
                Edit {
                    data: Some(data),
                    ..Edit::default()
                },
                Guard::Nothing,
            )
            .await;
            let token = model.tokens[&id].clone();
            let Some(external_id) = token.external_id else {
                assert!(matches!(done, Err(Error::Invalid { field: "data", .. })));
                return;
            };
            done.unwrap();
            model
                .contents
                .insert(external_id.clone(), content.to_owned());
            model.tokens.get_mut(&id).unwrap().version += 1;
            if token.shared {
                model.index.retain(|_, holder| *holder != external_id);
                model.index.insert(content.to_owned(), external_id);
            }
            model.mutations += 1;
        }
        Step::Revoke { token } => {
            let Some(id) = model.pick(token) else { return };
            engine
                .revoke(caller, Selection::of(id), Guard::Nothing)
                .await
                .unwrap();
            let changed = model.change(id, |token| token.state = State::Revoked);
            model.mutations += usize::from(changed);
        }
        Step::Archive { token } | Step::Restore { token } => {
            let Some(id) = model.pick(token) else { return };
            let away = matches!(step, Step::Archive { .. });
            let done = if away {
                engine
                    .archive(caller, Selection::of(id), Guard::Nothing)
                    .await
            } else {
                engine
                    .restore(caller, Selection::of(id), Guard::Nothing)
                    .await
            };
            if model.tokens[&id].state == State::Revoked {
                assert!(matches!(done, Err(Error::Invalid { field: "state", .. })));
                return;
            }
            done.unwrap();
            let changed = model.change(id, |token| {
                let past = token.expires_at.is_some_and(|at| at <= now);
                token.state = match (away, past) {
                    (true, _) => State::Archived,
                    (false, true) => State::Expired,
                    (false, false) => State::Active,
                };
            });
            model.mutations += usize::from(changed);
        }
        Step::Delete { token } => {
            let Some(id) = model.pick(token) else { return };
            let gone = engine.delete(caller, Selection::of(id)).await.unwrap();
            assert_eq!(gone.len(), 1);
            let token = model.tokens.remove(&id).unwrap();
            if let Some(external_id) = token.external_id {
                model.contents.remove(&external_id);
                model.index.retain(|_, holder| *holder != external_id);
            }
            model.mutations += 1;
        }
        Step::Wait { secs } => rig.pass(secs),
        Step::Verify { token } => {
            let Some(id) = model.pick(token) else { return };
            let token = &model.tokens[&id];
            let Some(secret) = &token.secret else { return };
            let verified = engine.verify(rig.realm, secret, None).await;
            match token.state {
                State::Active if in_force(token, now) => {
                    assert_eq!(verified.unwrap().token.version, token.version);
                }
                State::Active | State::Expired => {
                    assert_eq!(
                        verified.unwrap_err(),
                        Error::Unauthenticated(Unauthenticated::Expired)
                    );
                }
                _ => assert_eq!(
                    verified.unwrap_err(),
                    Error::Unauthenticated(Unauthenticated::Revoked)
                ),
            }
        }
    }
}

/// The store says what the model says.
async fn agree(rig: &Rig, model: &Model) {
    let (tokens, next) = rig.engine.list(&rig.caller, None, 500).await.unwrap();
    assert_eq!(next, None);
    assert_eq!(
        tokens.iter().map(|token| token.id).collect::<Vec<_>>(),
        model.tokens.keys().copied().collect::<Vec<_>>()
    );
    for token in &tokens {
        let modelled = &model.tokens[&token.id];
        assert_eq!(token.name, modelled.name);
        assert_eq!(token.tags, modelled.tags);
        assert_eq!(token.state, modelled.state);
        assert_eq!(
            token.expires_at.map(engine::clock::Timestamp::as_micros),
            modelled.expires_at
        );
        assert_eq!(token.version, modelled.version);
    }
    let selection = Selection {
        ids: tokens
            .iter()
            .filter(|token| token.value().is_some())
            .map(|token| token.id)
            .collect(),
        which: Which::Any,
        ..Selection::default()
    };
    let found = rig
        .engine
        .find(&rig.caller, Action::Reveal, &selection)
        .await
        .unwrap();
    for token in &found.tokens {
        let value = found.value(token).unwrap();
        let content = rig.engine.open(value).unwrap();
        let external_id = model.tokens[&token.id].external_id.as_ref().unwrap();
        assert_eq!(value.external_id.as_ref(), Some(external_id));
        assert_eq!(content.as_slice(), model.contents[external_id].as_bytes());
    }
}

/// One event per mutation, each with its digest; their changes, replayed, give what is there.
async fn replay(rig: &Rig, model: &Model, before: usize) {
    let mut events = rig.engine.events(&rig.caller, None, 500).await.unwrap();
    assert_eq!(
        events.len() - before,
        model.mutations,
        "one event for each mutation"
    );
    events.reverse();
    for event in &events {
        assert_eq!(event.outcome, Outcome::Done);
        let stored = rig
            .engine
            .event_digest(&rig.caller, event.id)
            .await
            .unwrap();
        assert_eq!(stored, Some(event.digest()));
    }
    let mut rows = trail::replay(&events);
    rows.retain(|(subject, _), _| *subject == Subject::Token);
    assert_eq!(rows.len(), model.tokens.len());
    for (id, token) in &model.tokens {
        let (version, row) = &rows[&(Subject::Token, id.0)];
        assert_eq!(*version, token.version);
        assert_eq!(row["tags"], json!(token.tags));
        assert_eq!(row["state"], json!(token.state));
        assert_eq!(row["name"], json!(token.name));
    }
}

/// Runs one case to its end.
fn block_on(case: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(case);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn store_events_and_model_agree(backend in any_backend(), steps in proptest::collection::vec(step(), 1..60)) {
        block_on(run(backend, steps));
    }
}
