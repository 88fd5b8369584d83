//! Tokens that nobody asks for over HTTP: the first one, and those of the command line.
//!
//! The one thing a newcomer would get wrong: a first token is made whenever there is none at all, so that somebody who has
//! deleted the last one gets in again; one that has merely run out is there, and the command line makes the next.

use engine::Error;
use engine::caller::Caller;
use engine::clock::Timestamp;
use engine::error::Conflict;
use engine::limits::PAGE_ROWS;
use engine::secret::Secret;
use engine::verbs::issue::Issue;
use engine::verbs::update::{Edit, Field};

use super::MindBridge;
use super::outward::{OutwardId, mint_secret, partial};
use super::permissions::{self, ALL};
use super::records::{Ids, TOKEN_CLASS, name_place};
use super::requests::{GoodToken, last_expiry, name_problem};
use crate::dialects::{FirstCredential, Mint, MintError, Minted};

/// The token of a development server, with all permissions.
pub(super) const DEVELOPMENT_TOKEN: &str = "mindbridge-dev-token";
/// What the first token is called.
const FIRST_NAME: &str = "Tokenhouse first token";
/// What the command line is told about a name that cannot be one.
const NAME_RULE: &str = "the name has 1 to 255 characters, not only blanks, and no NUL";

impl MindBridge {
    /// The token of a first start. See [`crate::dialects::Dialect::seed`].
    pub(super) async fn make_first(&self) -> Result<Vec<FirstCredential>, Error> {
        let caller = Caller::system(self.realm(), "first-start");
        if self.has_tokens(&caller).await? {
            return Ok(Vec::new());
        }
        let engine = self.engine();
        let secret = if self.is_development() {
            Secret::parse(DEVELOPMENT_TOKEN).map_err(|_| Error::Internal)?
        } else {
            mint_secret(engine)
        };
        let first = GoodToken {
            name: FIRST_NAME.to_owned(),
            expiry: self.last_expiry(),
            addresses: Vec::new(),
            permissions: all_permissions(),
        };
        match engine
            .issue(&caller, self.issue(first, secret.clone()))
            .await
        {
            Ok(_) if self.is_development() => Ok(Vec::new()),
            Ok(_) => Ok(vec![FirstCredential {
                label: "MindBridge API token with all permissions".to_owned(),
                secret,
            }]),
            // Of two processes that start at once, the other made it.
            Err(Error::Conflict(Conflict::Taken { .. })) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn has_tokens(&self, caller: &Caller) -> Result<bool, Error> {
        let mut after = None;
        loop {
            let (tokens, next) = self.engine().list(caller, after, PAGE_ROWS).await?;
            if !tokens.is_empty() {
                return Ok(true);
            }
            match next {
                Some(_) => after = next,
                None => return Ok(false),
            }
        }
    }

    /// A token for the command line. See [`crate::dialects::Dialect::mint`].
    pub(super) fn mint_for(&self, mint: Mint) -> Result<Minted, MintError> {
        if mint.class.is_some_and(|class| class != TOKEN_CLASS) {
            return Err(MintError(format!("the only class is {TOKEN_CLASS}")));
        }
        let name = mint
            .name
            .unwrap_or_else(|| format!("Command line {}", OutwardId::random(self.engine())));
        if name_problem(&name).is_some() {
            return Err(MintError(NAME_RULE.to_owned()));
        }
        let unknown = mint
            .permissions
            .iter()
            .find(|name| !permissions::is_known(name));
        if let Some(unknown) = unknown {
            return Err(MintError(format!("{unknown} is no permission")));
        }
        let last = self.last_expiry();
        let expiry = mint.expires_at.unwrap_or(last);
        if expiry > last {
            let rule = "a token ends at most two years after it was made";
            return Err(MintError(rule.to_owned()));
        }
        let permissions = if mint.permissions.is_empty() {
            all_permissions()
        } else {
            mint.permissions
        };
        let secret = mint_secret(self.engine());
        let wanted = GoodToken {
            name,
            expiry,
            addresses: Vec::new(),
            permissions,
        };
        let issue = self.issue(wanted, secret.clone());
        Ok(Minted { issue, secret })
    }

    /// What the engine is to issue: a token, and above it its user.
    pub(super) fn issue(&self, wanted: GoodToken, secret: Secret) -> Issue {
        let engine = self.engine();
        let ids = Ids::random(engine);
        let (token, user) = (engine.new_token_id(), engine.new_record_id());
        let hint = partial(&secret);
        Issue {
            id: Some(token),
            parent: Some(user),
            expires_at: Some(wanted.expiry),
            permissions: wanted.permissions,
            addresses: wanted.addresses,
            locators: vec![name_place(&wanted.name)],
            name: Some(wanted.name),
            attributes: ids.attributes(),
            records: vec![ids.user_record(user, token)],
            ..Issue::with_secret(TOKEN_CLASS, secret, hint, false)
        }
    }

    fn last_expiry(&self) -> Timestamp {
        last_expiry(self.engine().now()).unwrap_or(Timestamp::MAX)
    }
}

/// What the command line does to a token with its name: the place by which names are unique moves with it.
pub(super) fn renamed(edit: Edit) -> Result<Edit, MintError> {
    match &edit.name {
        Field::Keep => Ok(edit),
        Field::Set(name) if name_problem(name).is_none() => Ok(Edit {
            locators: Field::Set(vec![name_place(name)]),
            ..edit
        }),
        Field::Set(_) | Field::Clear => Err(MintError(NAME_RULE.to_owned())),
    }
}

fn all_permissions() -> Vec<String> {
    ALL.iter().map(|name| (*name).to_owned()).collect()
}
