//! The calls, one by one: what each must come to by the rules, and what it then leaves behind.
//!
//! The one thing to know: the order of the rules in a call is the order of the product's checks; where two are broken, the
//! first one is answered.

use engine::event::Subject;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::trail::Told;
use super::{
    ADMINS, AUTH, AUTH_ROUTE, Auth, BOUNDARY, DENIED, EDITORS, IDENTITIES, Identity, Model, Naming,
    TTLS, Token, Who, changed, created, ended, refused, require, uuid,
};

impl Model {
    pub(super) async fn create(&mut self, who: Who, role: &'static str) {
        let name = self.fresh();
        let expected = self.caller(who).and_then(|(own, actor)| {
            require(own, &EDITORS, DENIED, &actor)?;
            if role != "no-access" {
                require(own, &ADMINS, BOUNDARY, &actor)?;
            }
            Ok(actor)
        });
        let organization = self.trail.realm().to_string();
        let body = json!({"name": name, "organizationId": organization, "role": role});
        let place = (IDENTITIES, IDENTITIES);
        let answer = self.send(who, "POST", place, Some(body), &expected).await;
        let Some(answer) = answer else { return };
        let id = uuid(&answer.body["identity"]["id"]);
        let after =
            json!({"kind": "identity", "state": "active", "body": {"name": name, "role": role}});
        let told = vec![created(id, after)];
        self.trail
            .has_done(&answer, "record.created", expected.unwrap(), told);
        self.identities.push(Identity {
            id,
            name,
            role,
            version: 1,
            deleted: false,
            auth: None,
            former: Vec::new(),
        });
    }

    pub(super) async fn change(
        &mut self,
        who: Who,
        whom: usize,
        role: Option<&'static str>,
        rename: bool,
    ) {
        let name = rename.then(|| self.fresh());
        let expected = self.caller(who).and_then(|(own, actor)| {
            self.living(whom, &actor)?;
            require(own, &EDITORS, DENIED, &actor)?;
            if role.is_some() {
                require(own, &ADMINS, BOUNDARY, &actor)?;
            }
            if role.is_none() && name.is_none() {
                return Err(refused(400, "BadRequest", &actor));
            }
            Ok(actor)
        });
        let mut body = json!({});
        if let Some(name) = &name {
            body["name"] = json!(name);
        }
        if let Some(role) = role {
            body["role"] = json!(role);
        }
        let path = format!("{IDENTITIES}/{}", self.identity_id(whom));
        let place = ("/api/v1/identities/{identityId}", path.as_str());
        let answer = self.send(who, "PATCH", place, Some(body), &expected).await;
        let Some(answer) = answer else { return };
        let identity = &mut self.identities[whom];
        let before = json!({"body": {"name": identity.name, "role": identity.role}});
        identity.name = name.unwrap_or_else(|| identity.name.clone());
        identity.role = role.unwrap_or(identity.role);
        let after = json!({"body": {"name": identity.name, "role": identity.role}});
        if before == after {
            // To say what is so already changes nothing and leaves no event.
            return;
        }
        identity.version += 1;
        let told = changed(
            Subject::Record,
            identity.id,
            identity.version,
            before,
            after,
        );
        self.trail
            .has_done(&answer, "record.updated", expected.unwrap(), vec![told]);
    }

    pub(super) async fn delete(&mut self, who: Who, whom: usize) {
        let expected = self.caller(who).and_then(|(own, actor)| {
            self.living(whom, &actor)?;
            require(own, &EDITORS, DENIED, &actor)?;
            Ok(actor)
        });
        let path = format!("{IDENTITIES}/{}", self.identity_id(whom));
        let place = ("/api/v1/identities/{identityId}", path.as_str());
        let answer = self.send(who, "DELETE", place, None, &expected).await;
        let Some(answer) = answer else { return };
        let identity = &mut self.identities[whom];
        identity.deleted = true;
        identity.version += 1;
        let told = ended(identity.id, identity.version);
        self.trail
            .has_done(&answer, "record.deleted", expected.unwrap(), vec![told]);
    }

    pub(super) async fn attach(&mut self, who: Who, whom: usize, ttl: u64) {
        let expected = self.caller(who).and_then(|(own, actor)| {
            if self.living(whom, &actor)?.auth.is_some() {
                return Err(refused(400, "BadRequest", &actor));
            }
            require(own, &ADMINS, DENIED, &actor)?;
            Ok(actor)
        });
        let (path, max) = (self.auth_path(whom), TTLS[2]);
        let place = (AUTH_ROUTE, path.as_str());
        let body = json!({"accessTokenTTL": ttl, "accessTokenMaxTTL": max});
        let answer = self.send(who, "POST", place, Some(body), &expected).await;
        let Some(answer) = answer else { return };
        let id = uuid(&answer.body["identityTokenAuth"]["id"]);
        let parent = self.identities[whom].id;
        let body = json!({"ttlSecs": ttl, "ttlSecsMax": max});
        let after = json!({"kind": "token-auth", "parent": parent, "body": body});
        let told = vec![created(id, after)];
        self.trail
            .has_done(&answer, "record.created", expected.unwrap(), told);
        self.identities[whom].auth = Some(Auth {
            id,
            ttl,
            max,
            version: 1,
        });
    }

    pub(super) async fn configure(&mut self, who: Who, whom: usize, ttl: u64, max: u64) {
        let expected = self.caller(who).and_then(|(own, actor)| {
            if ttl > max {
                return Err(refused(422, "ValidationFailure", &actor));
            }
            if self.living(whom, &actor)?.auth.is_none() {
                return Err(refused(400, "BadRequest", &actor));
            }
            require(own, &ADMINS, DENIED, &actor)?;
            Ok(actor)
        });
        let path = self.auth_path(whom);
        let body = json!({"accessTokenTTL": ttl, "accessTokenMaxTTL": max});
        let place = (AUTH_ROUTE, path.as_str());
        let answer = self.send(who, "PATCH", place, Some(body), &expected).await;
        let Some(answer) = answer else { return };
        let auth = self.identities[whom].auth.as_mut().unwrap();
        let before = json!({"body": {"ttlSecs": auth.ttl, "ttlSecsMax": auth.max}});
        (auth.ttl, auth.max) = (ttl, max);
        let after = json!({"body": {"ttlSecs": ttl, "ttlSecsMax": max}});
        if before == after {
            return;
        }
        auth.version += 1;
        let told = changed(Subject::Record, auth.id, auth.version, before, after);
        self.trail
            .has_done(&answer, "record.updated", expected.unwrap(), vec![told]);
    }

    pub(super) async fn detach(&mut self, who: Who, whom: usize) {
        let expected = self.caller(who).and_then(|(own, actor)| {
            if self.living(whom, &actor)?.auth.is_none() {
                return Err(refused(400, "BadRequest", &actor));
            }
            require(own, &EDITORS, DENIED, &actor)?;
            require(own, &ADMINS, BOUNDARY, &actor)?;
            Ok(actor)
        });
        let path = self.auth_path(whom);
        let place = (AUTH_ROUTE, path.as_str());
        let answer = self.send(who, "DELETE", place, None, &expected).await;
        let Some(answer) = answer else { return };
        let identity = &mut self.identities[whom];
        let mut auth = identity.auth.take().unwrap();
        auth.version += 1;
        let told = ended(auth.id, auth.version);
        identity.former.push(auth);
        self.trail
            .has_done(&answer, "record.deleted", expected.unwrap(), vec![told]);
    }

    pub(super) async fn issue(&mut self, who: Who, whom: usize) {
        let name = self.fresh();
        let expected = self.caller(who).and_then(|(own, actor)| {
            if self.living(whom, &actor)?.auth.is_none() {
                return Err(refused(400, "BadRequest", &actor));
            }
            require(own, &EDITORS, DENIED, &actor)?;
            require(own, &ADMINS, BOUNDARY, &actor)?;
            Ok(actor)
        });
        let path = format!("{}/tokens", self.auth_path(whom));
        let route = "/api/v1/auth/token-auth/identities/{identityId}/tokens";
        let body = json!({ "name": name });
        let answer = self
            .send(who, "POST", (route, &path), Some(body), &expected)
            .await;
        let Some(answer) = answer else { return };
        let id = uuid(&answer.body["tokenData"]["id"]);
        let auth = self.identities[whom].auth.as_ref().unwrap();
        let ttl = auth.ttl.min(auth.max);
        let ends_at = self.trail.now_secs() + i64::try_from(ttl).unwrap();
        let told = Told {
            subject: Subject::Token,
            after: json!({"name": name, "state": "active", "parent": auth.id}),
            ..created(id, Value::Null)
        };
        let token = Token {
            id,
            jwt: answer.body["accessToken"].as_str().unwrap().to_owned(),
            name,
            owner: whom,
            auth: auth.id,
            revoked: false,
            version: 1,
            ends_at,
        };
        self.trail.secret(&token.jwt);
        self.trail
            .has_done(&answer, "token.issued", expected.unwrap(), vec![told]);
        self.tokens.push(token);
    }

    pub(super) async fn rename(&mut self, who: Who, token: usize, how: Naming) {
        let number = self.token_at(token);
        let name = match how {
            Naming::Fresh => Some(self.fresh()),
            Naming::Same => number.map(|number| self.tokens[number].name.clone()),
            Naming::Absent => None,
            Naming::TooLong => Some("x".repeat(256)),
        };
        let expected = self.caller(who).and_then(|(own, actor)| {
            let found = number.filter(|number| !self.is_gone(&self.tokens[*number]));
            if found.is_none() {
                return Err(refused(404, "NotFound", &actor));
            }
            require(own, &EDITORS, DENIED, &actor)?;
            require(own, &ADMINS, BOUNDARY, &actor)?;
            match &name {
                None => Err(refused(400, "BadRequest", &actor)),
                Some(name) if name.len() > 255 => Err(refused(422, "ValidationFailure", &actor)),
                Some(_) => Ok(actor),
            }
        });
        let id = number.map_or(Uuid::max(), |number| self.tokens[number].id);
        let path = format!("{AUTH}/tokens/{id}");
        let body = name
            .as_ref()
            .map_or_else(|| json!({}), |name| json!({ "name": name }));
        let place = ("/api/v1/auth/token-auth/tokens/{tokenId}", path.as_str());
        let answer = self.send(who, "PATCH", place, Some(body), &expected).await;
        let (Some(answer), Some(number), Some(name)) = (answer, number, name) else {
            return;
        };
        let token = &mut self.tokens[number];
        token.version += 1;
        // The same name again is a version and an event too, in which nothing differs.
        let (before, after) = if token.name == name {
            (json!({}), json!({}))
        } else {
            (json!({"name": token.name}), json!({ "name": name }))
        };
        token.name = name;
        let told = changed(Subject::Token, token.id, token.version, before, after);
        self.trail
            .has_done(&answer, "token.updated", expected.unwrap(), vec![told]);
    }

    pub(super) async fn revoke(&mut self, who: Who, token: usize) {
        let number = self.token_at(token);
        let expected = self.caller(who).and_then(|(own, actor)| {
            let there = |token: &Token| !token.revoked && !self.is_gone(token);
            if number.is_none_or(|number| !there(&self.tokens[number])) {
                return Err(refused(404, "NotFound", &actor));
            }
            require(own, &EDITORS, DENIED, &actor)?;
            Ok(actor)
        });
        let id = number.map_or(Uuid::max(), |number| self.tokens[number].id);
        let path = format!("{AUTH}/tokens/{id}/revoke");
        let route = "/api/v1/auth/token-auth/tokens/{tokenId}/revoke";
        let answer = self
            .send(who, "POST", (route, &path), None, &expected)
            .await;
        let (Some(answer), Some(number)) = (answer, number) else {
            return;
        };
        let token = &mut self.tokens[number];
        token.version += 1;
        token.revoked = true;
        let (before, after) = (json!({"state": "active"}), json!({"state": "revoked"}));
        let told = changed(Subject::Token, token.id, token.version, before, after);
        self.trail
            .has_done(&answer, "token.revoked", expected.unwrap(), vec![told]);
    }

    pub(super) async fn show(&mut self, token: usize) {
        let expected = self.caller(Some(token)).map(|(_, actor)| actor);
        let path = "/api/v1/identities/details";
        self.send(Some(token), "GET", (path, path), None, &expected)
            .await;
    }
}
