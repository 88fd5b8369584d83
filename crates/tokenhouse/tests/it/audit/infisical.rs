//! Random sequences of the calls of Infisical against a model: identities, their Token Auth, its tokens.
//!
//! The one thing to know: who calls is random too. The model says for each call whether it is done or with which code it is
//! refused, by the rules in a few lines; so roles, ends, revocations and detachments are judged by two who do not know each
//! other. The calls themselves are in `calls.rs`.

mod calls;

use engine::caller::Actor;
use engine::event::Subject;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::trail::{Call, Refusal, Told, Trail, bearer, nobody};
use crate::backend::{Backend, any_backend};

const AUTH: &str = "/api/v1/auth/token-auth";
const IDENTITIES: &str = "/api/v1/identities";
const ROLES: [&str; 3] = ["admin", "member", "no-access"];
const TTLS: [u64; 3] = [30, 90, 600];
/// The number of an identity that is never there.
const NOBODY: usize = 9;

#[derive(Clone, Debug)]
enum Step {
    Create {
        role: usize,
    },
    Change {
        who: usize,
        role: Option<usize>,
        rename: bool,
    },
    Delete {
        who: usize,
    },
    Attach {
        who: usize,
        ttl: usize,
    },
    Configure {
        who: usize,
        ttl: usize,
        max: usize,
    },
    Detach {
        who: usize,
    },
    Issue {
        who: usize,
    },
    Rename {
        token: usize,
        how: Naming,
    },
    Revoke {
        token: usize,
    },
    Show {
        token: usize,
    },
    Wait {
        secs: i64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Naming {
    Fresh,
    Same,
    Absent,
    TooLong,
}

/// The caller: the administrator, or the bearer of some token.
type Who = Option<usize>;

fn step() -> impl Strategy<Value = (Who, Step)> {
    let (who, token) = (0..=NOBODY, 0..12_usize);
    let ttl = 0..TTLS.len();
    let naming = prop_oneof![
        5 => Just(Naming::Fresh),
        2 => Just(Naming::Same),
        1 => Just(Naming::Absent),
        1 => Just(Naming::TooLong),
    ];
    let change = (
        who.clone(),
        proptest::option::of(0..ROLES.len()),
        any::<bool>(),
    );
    let configure = (who.clone(), ttl.clone(), ttl.clone());
    let step = prop_oneof![
        3 => (0..ROLES.len()).prop_map(|role| Step::Create { role }),
        2 => change.prop_map(|(who, role, rename)| Step::Change { who, role, rename }),
        1 => who.clone().prop_map(|who| Step::Delete { who }),
        4 => (who.clone(), ttl).prop_map(|(who, ttl)| Step::Attach { who, ttl }),
        2 => configure.prop_map(|(who, ttl, max)| Step::Configure { who, ttl, max }),
        1 => who.clone().prop_map(|who| Step::Detach { who }),
        5 => who.prop_map(|who| Step::Issue { who }),
        4 => (token.clone(), naming).prop_map(|(token, how)| Step::Rename { token, how }),
        2 => token.clone().prop_map(|token| Step::Revoke { token }),
        2 => token.clone().prop_map(|token| Step::Show { token }),
        2 => (1..70_i64).prop_map(|secs| Step::Wait { secs }),
    ];
    let caller = prop_oneof![2 => Just(None), 1 => token.prop_map(Some)];
    (caller, step)
}

struct Identity {
    id: Uuid,
    name: String,
    role: &'static str,
    version: u64,
    deleted: bool,
    auth: Option<Auth>,
    /// What was detached.
    former: Vec<Auth>,
}

struct Auth {
    id: Uuid,
    ttl: u64,
    max: u64,
    version: u64,
}

struct Token {
    id: Uuid,
    jwt: String,
    name: String,
    owner: usize,
    auth: Uuid,
    revoked: bool,
    version: u64,
    /// Seconds since the epoch.
    ends_at: i64,
}

struct Model {
    trail: Trail,
    admin: (Uuid, String),
    identities: Vec<Identity>,
    tokens: Vec<Token>,
    names: usize,
}

/// Who calls, as far as a call gets: role and actor.
type Caller = Result<(&'static str, Actor), Refusal>;

fn refused(status: u16, code: &'static str, actor: &Actor) -> Refusal {
    Refusal {
        status,
        code,
        actor: actor.clone(),
    }
}

/// Whatever a role must be for a call.
fn require(role: &str, allowed: &[&str], code: &'static str, actor: &Actor) -> Result<(), Refusal> {
    if allowed.contains(&role) {
        Ok(())
    } else {
        Err(refused(403, code, actor))
    }
}

const DENIED: &str = "PermissionDenied";
const BOUNDARY: &str = "PermissionBoundaryError";
const EDITORS: [&str; 2] = ["admin", "member"];
const ADMINS: [&str; 1] = ["admin"];

fn created(id: Uuid, after: Value) -> Told {
    Told {
        subject: Subject::Record,
        id: Some(id),
        version: 1,
        before: Value::Null,
        after,
    }
}

fn changed(subject: Subject, id: Uuid, version: u64, before: Value, after: Value) -> Told {
    Told {
        subject,
        id: Some(id),
        version,
        before,
        after,
    }
}

impl Model {
    async fn open(backend: Backend) -> Self {
        let trail = Trail::open(backend, "infisical", &[]).await;
        let jwt = trail.credential("Infisical");
        let first = trail
            .app
            .engine
            .list(&trail.caller, None, 2)
            .await
            .unwrap()
            .0;
        assert_eq!(first.len(), 1);
        Self {
            trail,
            admin: (first[0].id.0, jwt),
            identities: Vec::new(),
            tokens: Vec::new(),
            names: 0,
        }
    }

    fn fresh(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }

    fn is_gone(&self, token: &Token) -> bool {
        let owner = &self.identities[token.owner];
        owner.deleted || owner.auth.as_ref().is_none_or(|auth| auth.id != token.auth)
    }

    fn token_at(&self, number: usize) -> Option<usize> {
        (!self.tokens.is_empty()).then(|| number % self.tokens.len())
    }

    fn jwt(&self, who: Who) -> String {
        let token = who.and_then(|number| self.token_at(number));
        let jwt = token.map_or(&self.admin.1, |number| &self.tokens[number].jwt);
        format!("Bearer {jwt}")
    }

    fn caller(&self, who: Who) -> Caller {
        let Some(number) = who.and_then(|number| self.token_at(number)) else {
            return Ok(("admin", bearer(self.admin.0, "Instance Admin Token")));
        };
        let token = &self.tokens[number];
        if token.ends_at <= self.trail.now_secs() {
            // The JWT says so itself; whose it was is not looked up.
            return Err(refused(403, "TokenError", &nobody()));
        }
        if self.is_gone(token) || token.revoked {
            return Err(refused(401, "UnauthorizedError", &bearer(token.id, "")));
        }
        let role = self.identities[token.owner].role;
        Ok((role, bearer(token.id, &token.name)))
    }

    /// The living identity of this number, or why there is none.
    fn living(&self, number: usize, actor: &Actor) -> Result<&Identity, Refusal> {
        let found = self.identities.get(number).filter(|one| !one.deleted);
        found.ok_or_else(|| refused(404, "NotFound", actor))
    }

    /// Which identity a random number means; one beyond all for [`NOBODY`].
    fn identity_at(&self, number: usize) -> usize {
        let count = self.identities.len();
        if number == NOBODY || count == 0 {
            return count;
        }
        number % count
    }

    /// The id of the identity of this number; one that nobody has if there is none.
    fn identity_id(&self, number: usize) -> Uuid {
        self.identities
            .get(number)
            .map_or(Uuid::max(), |one| one.id)
    }

    async fn send(
        &mut self,
        who: Who,
        method: &str,
        (route, path): (&str, &str),
        body: Option<Value>,
        expected: &Result<Actor, Refusal>,
    ) -> Option<super::trail::Answer> {
        let authorization = self.jwt(who);
        let call = Call {
            method,
            route,
            path,
            authorization: &authorization,
            body,
            reads: method == "GET",
        };
        let expected = expected.clone().map(|_| ());
        self.trail.call(call, expected).await
    }

    async fn perform(&mut self, who: Who, step: Step) {
        match step {
            Step::Create { role } => self.create(who, ROLES[role]).await,
            Step::Change {
                who: whom,
                role,
                rename,
            } => {
                let role = role.map(|role| ROLES[role]);
                self.change(who, self.identity_at(whom), role, rename).await;
            }
            Step::Delete { who: whom } => self.delete(who, self.identity_at(whom)).await,
            Step::Attach { who: whom, ttl } => {
                self.attach(who, self.identity_at(whom), TTLS[ttl]).await;
            }
            Step::Configure {
                who: whom,
                ttl,
                max,
            } => {
                let whom = self.identity_at(whom);
                self.configure(who, whom, TTLS[ttl], TTLS[max]).await;
            }
            Step::Detach { who: whom } => self.detach(who, self.identity_at(whom)).await,
            Step::Issue { who: whom } => self.issue(who, self.identity_at(whom)).await,
            Step::Rename { token, how } => self.rename(who, token, how).await,
            Step::Revoke { token } => self.revoke(who, token).await,
            Step::Show { token } => self.show(token).await,
            Step::Wait { secs } => self.trail.pass(secs).await,
        }
    }

    fn auth_path(&self, whom: usize) -> String {
        format!("{AUTH}/identities/{}", self.identity_id(whom))
    }

    /// All that the administrator sees is what the model says.
    async fn agree(&mut self) {
        let actor = Ok(nobody());
        let path = format!("{IDENTITIES}?orgId={}", self.trail.realm());
        let list = self
            .send(None, "GET", (IDENTITIES, &path), None, &actor)
            .await;
        let list = list.unwrap().body;
        let shown = list["identities"].as_array().unwrap().iter().skip(1);
        let shown: Vec<Value> = shown
            .map(|one| {
                let identity = &one["identity"];
                json!([
                    identity["id"],
                    identity["name"],
                    one["role"],
                    identity["authMethods"]
                ])
            })
            .collect();
        let living = self.identities.iter().filter(|one| !one.deleted);
        let wanted: Vec<Value> = living
            .map(|one| {
                let methods: Vec<_> = one.auth.iter().map(|_| "token-auth").collect();
                json!([one.id, one.name, one.role, methods])
            })
            .collect();
        assert_eq!(shown, wanted);
        for whom in 0..self.identities.len() {
            let Some(auth) = &self.identities[whom].auth else {
                continue;
            };
            if self.identities[whom].deleted {
                continue;
            }
            let own = self.tokens.iter().filter(|token| token.auth == auth.id);
            let mut wanted: Vec<_> = own
                .map(|token| (token.id, token.name.clone(), token.revoked))
                .collect();
            let path = format!("{}/tokens?limit=100", self.auth_path(whom));
            let list = self
                .send(None, "GET", (AUTH_ROUTE, &path), None, &actor)
                .await;
            let list = list.unwrap().body;
            let shown = list["tokens"].as_array().unwrap().iter();
            let mut shown: Vec<_> = shown
                .map(|one| {
                    let name = one["name"].as_str().unwrap().to_owned();
                    (uuid(&one["id"]), name, one["isAccessTokenRevoked"] == true)
                })
                .collect();
            wanted.sort();
            shown.sort();
            assert_eq!(shown, wanted);
        }
    }

    /// After a restart: the rows that the events come to, and what an auditor is told of each token.
    async fn close(self) {
        let closed = self.trail.close().await;
        let row = |subject, id| &closed.rows[&(subject, id)];
        for identity in &self.identities {
            let (version, record) = row(Subject::Record, identity.id);
            let state = if identity.deleted {
                "deleted"
            } else {
                "active"
            };
            assert_eq!(
                (*version, &record["state"]),
                (identity.version, &json!(state))
            );
            assert_eq!(record["body"]["name"], json!(identity.name));
            let present = identity.auth.iter().map(|auth| (auth, "active"));
            let former = identity.former.iter().map(|auth| (auth, "deleted"));
            for (auth, state) in present.chain(former) {
                let (version, record) = row(Subject::Record, auth.id);
                assert_eq!((*version, &record["state"]), (auth.version, &json!(state)));
                assert_eq!(record["body"]["ttlSecs"], json!(auth.ttl));
            }
        }
        for token in &self.tokens {
            let (version, own) = row(Subject::Token, token.id);
            assert_eq!(
                (*version, &own["name"]),
                (token.version, &json!(token.name))
            );
            let state = if token.revoked { "revoked" } else { "active" };
            assert_eq!(own["state"], state);
            let id = engine::token::TokenId(token.id);
            let told = closed
                .engine
                .token_history(&closed.caller, id)
                .await
                .unwrap();
            let own = told
                .iter()
                .filter(|(_, change)| change.subject == Subject::Token);
            assert_eq!(own.count() as u64, token.version);
            // Whoever deletes above it is in its history, and nobody else.
            let owner = &self.identities[token.owner];
            let ended = told
                .iter()
                .filter(|(event, _)| event.verb == "record.deleted");
            let ended: Vec<_> = ended.map(|(_, change)| change.id).collect();
            let detached = owner.former.iter().any(|auth| auth.id == token.auth);
            let wanted = detached.then_some(token.auth).into_iter();
            let mut wanted: Vec<_> = wanted.chain(owner.deleted.then_some(owner.id)).collect();
            wanted.reverse();
            assert_eq!(ended, wanted);
        }
        let tokens = closed
            .rows
            .keys()
            .filter(|(subject, _)| *subject == Subject::Token);
        assert_eq!(tokens.count(), self.tokens.len() + 1, "and the first one");
        closed.engine.close().await;
    }
}

const AUTH_ROUTE: &str = "/api/v1/auth/token-auth/identities/{identityId}";

fn ended(id: Uuid, version: u64) -> Told {
    let (before, after) = (json!({"state": "active"}), json!({"state": "deleted"}));
    changed(Subject::Record, id, version, before, after)
}

fn uuid(value: &Value) -> Uuid {
    let text = value.as_str().unwrap_or_else(|| panic!("{value}"));
    text.parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn identities_and_their_tokens_agree_with_their_trail(
        backend in any_backend(), steps in proptest::collection::vec(step(), 20..70)
    ) {
        super::block_on(async {
            let mut model = Model::open(backend).await;
            // Two to begin with, of whom one may do everything and one cannot give credentials away.
            for (who, role) in [0, 1].into_iter().enumerate() {
                model.create(None, ROLES[role]).await;
                model.attach(None, who, TTLS[2]).await;
                model.issue(None, who).await;
            }
            for (who, step) in steps {
                model.perform(who, step).await;
                model.agree().await;
            }
            model.close().await;
        });
    }
}
