//! Setting the instance up: the organization, the identity that administers it, and its first token; and tokens of the
//! command line.
//!
//! The one thing a newcomer would get wrong: all of it is one write. Two who set up at once meet at the place of the
//! organization, and one of them is told that it has been done.

use engine::Error;
use engine::caller::Caller;
use engine::error::Conflict;
use engine::record::RecordId;
use engine::secret::Secret;
use engine::verbs::issue::Issue;
use engine::verbs::records::NewRecord;
use zeroize::Zeroizing;

use super::Infisical;
use super::minting::NewToken;
use super::records::{
    IDENTITY, Identity, Known, ORGANIZATION, Organization, TOKEN_AUTH, TokenAuth, USER,
    instance_admin_place, json, organization_place, token_auth_place,
};
use super::roles::Role;
use super::schema::NAME_CHARS_MAX;
use super::trusted_ips::everywhere;
use crate::dialects::{FirstCredential, Mint, MintError, Minted};

/// What the product calls the identity that administers the instance.
pub(super) const ADMIN_IDENTITY_NAME: &str = "Instance Admin Identity";

/// What the product calls its first token.
const ADMIN_TOKEN_NAME: &str = "Instance Admin Token";

/// A set-up that was done.
#[derive(Debug)]
pub(super) struct Founded {
    /// The new organization.
    pub organization: Organization,
    /// The identity that administers it.
    pub identity: RecordId,
    /// The person, if one did it.
    pub user: Option<RecordId>,
    /// The first token.
    pub jwt: Secret,
}

/// The identity that administers the instance, as far as it is there.
#[derive(Debug, Default)]
struct Admin {
    identity: Option<Known<Identity>>,
    auth: Option<Known<TokenAuth>>,
}

impl Infisical {
    /// Sets the instance up; `None` if that has been done.
    pub(super) async fn found(
        &self,
        caller: &Caller,
        name: &str,
        email: Option<&str>,
    ) -> Result<Option<Founded>, Error> {
        if self.organization().await?.is_some() {
            return Ok(None);
        }
        let organization = Organization::new(name, self.slug_for(name));
        let id = RecordId(self.realm().0);
        let mut records = vec![NewRecord {
            locators: vec![organization_place()],
            ..NewRecord::new(id, ORGANIZATION, json(&organization))
        }];
        let user = email.map(|email| {
            let user = self.engine().new_record_id();
            records.push(NewRecord {
                parent: Some(id),
                content: Some(Zeroizing::new(email.as_bytes().to_vec())),
                ..NewRecord::new(user, USER, serde_json::json!({"schema": 1}))
            });
            user
        });
        let name = Some(ADMIN_TOKEN_NAME.to_owned());
        let (mut issue, jwt, identity) = self.admin_token(Admin::default(), name, None)?;
        records.append(&mut issue.records);
        issue.records = records;
        match self.engine().issue(caller, issue).await {
            Ok(_) => Ok(Some(Founded {
                organization,
                identity,
                user,
                jwt,
            })),
            // Somebody else was faster.
            Err(Error::Conflict(Conflict::Taken { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// See [`crate::dialects::Dialect::seed`].
    pub(super) async fn make_first(&self) -> Result<Vec<FirstCredential>, Error> {
        if self.settings().open_until_bootstrapped {
            return Ok(Vec::new());
        }
        let caller = Caller::system(self.realm(), "first-start");
        let name = &self.settings().organization;
        let founded = self.found(&caller, name, None).await?;
        let first = founded.map(|founded| FirstCredential {
            label: "Infisical instance admin token".to_owned(),
            secret: founded.jwt,
        });
        Ok(first.into_iter().collect())
    }

    /// A new token of the identity that administers the instance. What of it is gone (the identity was deleted, its token
    /// auth detached) is made anew by the same write, so that whoever has the machine gets in again.
    pub(super) async fn mint_for(&self, mint: Mint) -> Result<Minted, MintError> {
        let class = mint.class.as_deref().unwrap_or(TOKEN_AUTH);
        if class != TOKEN_AUTH {
            return Err(MintError(format!("the class is {TOKEN_AUTH}")));
        }
        if !mint.permissions.is_empty() {
            let message = "what a token permits is the role of its identity: give no permissions";
            return Err(MintError(message.to_owned()));
        }
        if let Some(name) = &mint.name {
            check_name(name)?;
        }
        if let Some(end) = mint.expires_at {
            let cap = self.settings().ttl_secs_max;
            let last = i64::try_from(cap).ok();
            let last = last.and_then(|secs| self.engine().now().checked_add_secs(secs));
            if last.is_some_and(|last| end > last) {
                return Err(MintError(format!(
                    "a token lives at most {cap} seconds here"
                )));
            }
        }
        let unreadable = |_: Error| MintError("the store does not answer".to_owned());
        if self.organization().await.map_err(unreadable)?.is_none() {
            let message = "the instance is not set up yet: POST /api/v1/admin/bootstrap does it";
            return Err(MintError(message.to_owned()));
        }
        let admin = self.admin().await.map_err(unreadable)?;
        let made = self.admin_token(admin, mint.name, mint.expires_at);
        let (issue, secret, _) = made.map_err(|error| MintError(error.to_string()))?;
        Ok(Minted { issue, secret })
    }

    async fn admin(&self) -> Result<Admin, Error> {
        let place = instance_admin_place();
        let Some(record) = self.engine().find_record(&self.reader(), place).await? else {
            return Ok(Admin::default());
        };
        let identity: Known<Identity> = Known::of(&record)?;
        let auth = self.token_auth(identity.id).await?;
        Ok(Admin {
            identity: Some(identity),
            auth,
        })
    }

    /// A token of the identity that administers the instance, with those records that are not there.
    fn admin_token(
        &self,
        admin: Admin,
        name: Option<String>,
        expires_at: Option<engine::clock::Timestamp>,
    ) -> Result<(Issue, Secret, RecordId), Error> {
        let engine = self.engine();
        let mut records = Vec::new();
        let identity = if let Some(identity) = &admin.identity {
            identity.id
        } else {
            let id = engine.new_record_id();
            let membership = engine.new_record_id();
            let name = ADMIN_IDENTITY_NAME.to_owned();
            let mut body = Identity::new(name, Role::Admin, membership.0);
            body.instance_admin = true;
            records.push(NewRecord {
                parent: Some(RecordId(self.realm().0)),
                locators: vec![instance_admin_place()],
                ..NewRecord::new(id, IDENTITY, json(&body))
            });
            id
        };
        let (parent, restricted, auth) = if let Some(auth) = admin.auth {
            (auth.id, auth.restricted, auth.body)
        } else {
            let id = engine.new_record_id();
            let body = TokenAuth::new(0, 0, 0, everywhere());
            records.push(NewRecord {
                parent: Some(identity),
                locators: vec![token_auth_place(identity)],
                ..NewRecord::new(id, TOKEN_AUTH, json(&body))
            });
            (id, false, body)
        };
        let (mut issue, jwt) = self.mint_token(NewToken {
            parent,
            auth: &auth,
            restricted,
            identity,
            identity_name: admin
                .identity
                .as_ref()
                .map_or(ADMIN_IDENTITY_NAME, |identity| &identity.body.name),
            name,
            expires_at,
        })?;
        issue.records = records;
        Ok((issue, jwt, identity))
    }

    /// A name in letters, digits and dashes, and four random characters behind it.
    fn slug_for(&self, name: &str) -> String {
        let mut random = [0; 2];
        self.engine().random(&mut random);
        format!("{}-{:04x}", slug_of(name), u16::from_be_bytes(random))
    }
}

/// What the command line may call a token.
pub(super) fn check_name(name: &str) -> Result<(), MintError> {
    if name.chars().count() > NAME_CHARS_MAX || name.contains('\0') {
        let rule = format!("the name has at most {NAME_CHARS_MAX} characters, none of them NUL");
        return Err(MintError(rule));
    }
    Ok(())
}

fn slug_of(name: &str) -> String {
    let name = name.to_lowercase();
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        "organization".to_owned()
    } else {
        words.join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_plain() {
        assert_eq!(slug_of("Acme & Sons, Ltd."), "acme-sons-ltd");
        assert_eq!(slug_of("株式会社"), "organization");
    }
}
