//! The administrator's key: the environment's, the documented one in development, or one generated at the first start.
//!
//! The one thing a newcomer would get wrong: which token is *the* administrator's key is a record of its own. So a changed
//! setting takes effect at the next start – the new key is issued first, then the former is revoked, then the record
//! moves – and a start that is interrupted anywhere between can be repeated.

use engine::Engine;
use engine::Error;
use engine::caller::Caller;
use engine::permission::Action;
use engine::record::Record;
use engine::secret::Secret;
use engine::selection::{Selection, Which};
use engine::token::{State, Token, TokenId};
use engine::verbs::issue::Issue;
use engine::verbs::records::{NewRecord, RecordEdit};
use engine::verbs::update::Guard;

use super::Vault;
use super::caller::{CAP_SYSTEM, KEY_CLASS};
use super::records::{self, AdminKeyBody};
use super::settings::{ADMIN_API_KEY, DEVELOPMENT_KEY};
use crate::dialects::{FirstCredential, Mint, MintError, Minted};

/// The name of the administrator, in events and lists.
const ADMIN: &str = "Admin";
/// Random characters of a generated key: about 238 bits.
const RANDOM_CHARS: usize = 40;
/// In front of them: people and scanners recognise it, and it has a digit, a lower and an upper case letter, as the
/// product demands of an administrator's key.
const PREFIX: &str = "THpv1_";

/// Starts at the same time meet at the place of the key's record; the others read again what the first has written.
const ATTEMPTS_MAX: usize = 5;

/// Makes sure that the administrator has a key; returns one that was generated.
pub(super) async fn seed(vault: &Vault) -> Result<Vec<FirstCredential>, Error> {
    let mut attempt = 1;
    loop {
        match attempt_seed(vault).await {
            Err(Error::Conflict(_)) if attempt < ATTEMPTS_MAX => attempt += 1,
            outcome => return outcome,
        }
    }
}

async fn attempt_seed(vault: &Vault) -> Result<Vec<FirstCredential>, Error> {
    let engine = &vault.engine;
    let caller = Caller::system(vault.realm, "seed-piiano");
    let record = engine
        .find_record(&caller, records::admin_key_place())
        .await?;
    let settings = &vault.settings;
    let documented = settings.dev.then(|| Secret::parse(DEVELOPMENT_KEY));
    let documented = documented.transpose().map_err(Error::Unauthenticated)?;
    match (settings.admin_key.clone().or(documented), record) {
        (Some(secret), record) => {
            put_in_force(engine, &caller, secret, record).await?;
            Ok(Vec::new())
        }
        // Whatever key there is stays: the setting may have been taken out after the first start.
        (None, Some(_)) => Ok(Vec::new()),
        (None, None) => {
            let secret = generate(engine);
            let id = engine.new_token_id();
            let issue = Issue {
                id: Some(id),
                records: vec![new_record(engine, id)],
                ..admin(secret.clone())
            };
            engine.issue(&caller, issue).await?;
            Ok(vec![FirstCredential {
                label: "Piiano Vault API key of the administrator".to_owned(),
                secret,
            }])
        }
    }
}

/// Makes `secret` the administrator's key, and the former one no more.
async fn put_in_force(
    engine: &Engine,
    caller: &Caller,
    secret: Secret,
    record: Option<Record>,
) -> Result<(), Error> {
    let former = record.as_ref().map(AdminKeyBody::read).transpose()?;
    let former = former.map(|body| TokenId(body.token));
    let holder = holder(engine, caller, &secret).await?;
    let key = match holder {
        Some(token) if Some(token.id) == former => {
            if token.state != State::Active {
                // Somebody revoked it by hand; a restart does not undo that.
                tracing::warn!(
                    setting = ADMIN_API_KEY,
                    "the administrator's key has been revoked and stays so: choose another one"
                );
            }
            return Ok(());
        }
        Some(token) if token.state == State::Active && is_admin(&token) => token.id,
        // It was the key once (or is somebody else's): the setting says that it is to be the administrator's now.
        Some(token) => {
            engine.delete(caller, Selection::of(token.id)).await?;
            issue(engine, caller, secret).await?
        }
        None => issue(engine, caller, secret).await?,
    };
    if let Some(former) = former {
        let selection = Selection::of(former);
        engine.revoke(caller, selection, Guard::Nothing).await?;
    }
    remember(engine, caller, key, record).await
}

async fn holder(engine: &Engine, caller: &Caller, secret: &Secret) -> Result<Option<Token>, Error> {
    let selection = Selection {
        secret: Some(secret.clone()),
        which: Which::Any,
        ..Selection::default()
    };
    let mut found = engine.find(caller, Action::Read, &selection).await?;
    Ok(found.tokens.pop())
}

async fn issue(engine: &Engine, caller: &Caller, secret: Secret) -> Result<TokenId, Error> {
    Ok(engine.issue(caller, admin(secret)).await?.id)
}

/// Says which token is the administrator's key, where there is no record of it yet.
fn new_record(engine: &Engine, key: TokenId) -> NewRecord {
    let body = records::write(&AdminKeyBody::new(key.0));
    NewRecord {
        locators: vec![records::admin_key_place()],
        ..NewRecord::new(engine.new_record_id(), records::ADMIN_KEY, body)
    }
}

/// Writes down which token is the administrator's key.
async fn remember(
    engine: &Engine,
    caller: &Caller,
    key: TokenId,
    record: Option<Record>,
) -> Result<(), Error> {
    let Some(record) = record else {
        engine
            .create_record(caller, new_record(engine, key))
            .await?;
        return Ok(());
    };
    let body = records::write(&AdminKeyBody::new(key.0));
    let guard = Guard::Version(record.version);
    let edit = move |_: &Record| {
        Ok(RecordEdit {
            body: Some(body.clone()),
            ..RecordEdit::default()
        })
    };
    engine.update_record(caller, record.id, guard, edit).await?;
    Ok(())
}

fn is_admin(token: &Token) -> bool {
    let admin = token
        .access()
        .is_some_and(|access| access.permissions.iter().any(|one| one == CAP_SYSTEM));
    token.class == KEY_CLASS && admin
}

fn admin(secret: Secret) -> Issue {
    key(secret, ADMIN.to_owned(), vec![CAP_SYSTEM.to_owned()])
}

fn key(secret: Secret, name: String, permissions: Vec<String>) -> Issue {
    let hint = secret.hint();
    Issue {
        name: Some(name),
        permissions,
        ..Issue::with_secret(KEY_CLASS, secret, hint, false)
    }
}

/// A key for the command line. Roles do not exist yet, so that every key is an administrator's.
pub(super) fn mint(engine: &Engine, mint: Mint) -> Result<Minted, MintError> {
    if let Some(class) = mint.class.filter(|class| class != KEY_CLASS) {
        return Err(MintError(format!(
            "piiano has tokens of class {KEY_CLASS} only, not {class}"
        )));
    }
    if let Some(other) = mint.permissions.iter().find(|one| *one != CAP_SYSTEM) {
        return Err(MintError(format!(
            "piiano knows the capability {CAP_SYSTEM} only, not {other}"
        )));
    }
    let name = mint.name.unwrap_or_else(|| ADMIN.to_owned());
    let secret = generate(engine);
    let issue = Issue {
        expires_at: mint.expires_at,
        ..key(secret.clone(), name, vec![CAP_SYSTEM.to_owned()])
    };
    Ok(Minted { issue, secret })
}

fn generate(engine: &Engine) -> Secret {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = PREFIX.to_owned();
    while text.len() < PREFIX.len() + RANDOM_CHARS {
        let mut bytes = [0; 64];
        engine.random(&mut bytes);
        let missing = PREFIX.len() + RANDOM_CHARS - text.len();
        // 248 is the largest multiple of 62 in a byte: what lies above would favour the first letters.
        let fair = bytes.iter().filter(|byte| **byte < 248).take(missing);
        text.extend(fair.map(|byte| char::from(ALPHABET[usize::from(byte % 62)])));
    }
    Secret::parse(&text).expect("letters and digits have the shape of a secret")
}
