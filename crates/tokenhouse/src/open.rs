//! Opening an installation: the store and the keyring that belongs to it.
//!
//! The one thing to know: a keyring is made only beside a store that belongs to none. A store with data and no keyring is
//! refused, because a new keyring could open nothing in it.

use std::sync::Arc;

use engine::clock::SystemClock;
use engine::entropy::SystemEntropy;
use engine::keyring::Keyring;
use engine::store::{JoinError, Role, Store};
use engine::verbs::keys::{BindError, KeysInUse};
use engine::{Engine, Parts};
use store::OpenError;

use crate::app::{App, AppError};
use crate::config::Settings;
use crate::data_dir::{DataDir, DataDirError};
use crate::exit::Failure;
use crate::keyring_file::KeyringFile;

/// Opens the store and the app on a data directory that this process owns.
pub(crate) async fn open(data: &DataDir, settings: &Settings, role: Role) -> Result<App, Failure> {
    let store = open_store(&settings.store_url(data.path()), settings, role).await?;
    let file = settings.keyring_file(data.path());
    let keyring = keyring(&file, &store, role).await?;
    let parts = parts(store, keyring, settings.live_entries, role);
    App::open(parts, settings)
        .await
        .map_err(|error| match &error {
            AppError::Bind(cause) => unbound(cause, &file),
            AppError::Setting(_) => Failure::usage(&error),
            AppError::Join(JoinError::OtherSettings { .. }) => Failure::failed(&error).hint(
                "give all nodes the same variables of the products and the same dialects (and, beside nodes of an \
                 earlier version, the same keys); to change one, stop all nodes first",
            ),
            AppError::Join(_) | AppError::Engine(_) => Failure::failed(&error),
        })
}

/// Looks which keys the store uses, without taking part in anything.
pub(crate) async fn keys_in_use(
    url: &str,
    settings: &Settings,
    keyring: Keyring,
) -> Result<KeysInUse, Failure> {
    let store = open_store(url, settings, Role::Visitor).await?;
    let engine = Engine::new(parts(store, keyring, 0, Role::Visitor));
    let keys = engine.keys_in_use().await;
    engine.close().await;
    keys.map_err(Failure::failed)
}

/// A store whose keys are not those of the keyring, with what can be done about it.
pub(crate) fn unbound(error: &BindError, file: &KeyringFile) -> Failure {
    let path = file.path().display();
    let failure = Failure::failed(error);
    match error {
        BindError::OtherKeyring { .. } => {
            failure.hint(format!("put the keyring of this store at {path}"))
        }
        BindError::Lacking(_) => failure.hint(format!(
            "copy the keyring file of a node that runs to {path}: keys were added to it, and are in use by now; \
             `tokenhouse keyring show` tells which"
        )),
        BindError::Replaced => failure.hint("start the program again, if this is the store that is meant"),
        BindError::Unreadable(_) | BindError::Engine(_) => failure,
    }
}

async fn open_store(url: &str, settings: &Settings, role: Role) -> Result<Arc<dyn Store>, Failure> {
    let password = settings.store_password.as_ref();
    let options = store::Options {
        password: password.map(|password| store::Password::new(password.expose().to_owned())),
        distributed: settings
            .store_distributed
            .then_some(store::Distribution::Citus),
        // A visitor works on what a server has made.
        create: role == Role::Server,
        ..store::Options::default()
    };
    store::open(url, options)
        .await
        .map_err(|error| not_opened(&error))
}

fn not_opened(error: &OpenError) -> Failure {
    if error.is_usage() {
        return Failure::usage(error);
    }
    let failure = Failure::failed(error);
    match error {
        _ if error.is_login() => failure.hint(
            "the password is given as TOKENHOUSE_STORE_PASSWORD, or as the first line of a file that store_password_file \
             (TOKENHOUSE_STORE_PASSWORD_FILE) names, or in the URL",
        ),
        OpenError::Behind { .. } => failure.hint(
            "start `tokenhouse serve` of this version on it, or take the program of the version that serves it",
        ),
        OpenError::Nothing { .. } => failure.hint(
            "name another with --store or --data; `tokenhouse serve` makes a new one at its first start, a command does not",
        ),
        _ => failure,
    }
}

/// The keyring of the file; a new one only if the store belongs to none.
async fn keyring(
    file: &KeyringFile,
    store: &Arc<dyn Store>,
    role: Role,
) -> Result<Keyring, Failure> {
    let present = file.read().map_err(Failure::failed)?;
    if role == Role::Server
        && let Some(keyring) = present
    {
        return Ok(keyring);
    }
    let new = || Keyring::generate(&SystemEntropy::new());
    // Only an engine can ask; the keyring that it is given for that is thrown away.
    let asking = Engine::new(parts(Arc::clone(store), new(), 0, Role::Visitor));
    if role == Role::Visitor {
        if asking.is_bound().await.map_err(Failure::failed)?
            && let Some(keyring) = present
        {
            return Ok(keyring);
        }
        // Whatever keyring this is, the store would be its own from now on.
        let message = "the store belongs to no keyring yet: no server has come to the end of its first start there";
        return Err(Failure::failed(message).hint("run `tokenhouse serve` on it first"));
    }
    let path = file.path();
    if asking.is_bound().await.map_err(Failure::failed)? {
        // Another node may have made both since the file was looked for; it writes the file first.
        if let Some(keyring) = file.read().map_err(Failure::failed)? {
            return Ok(keyring);
        }
        let path = path.display();
        let message = format!("the store has data, but its keyring {path} is missing");
        return Err(Failure::failed(message).hint(
            "restore the keyring from its backup; a new one could open nothing in this store",
        ));
    }
    let keyring = new();
    if !file.write(&keyring).map_err(Failure::failed)? {
        // Another node that starts at the same time on the same file was faster.
        let there = file.read().map_err(Failure::failed)?;
        return there.ok_or_else(|| {
            Failure::failed(format!(
                "the keyring {} was taken away again",
                path.display()
            ))
        });
    }
    tracing::info!(path = %path.display(), "made a new keyring: back it up, apart from the store");
    Ok(keyring)
}

fn parts(store: Arc<dyn Store>, keyring: Keyring, live_entries: usize, role: Role) -> Parts {
    Parts {
        store,
        keyring,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy::new()),
        live_entries,
        role,
    }
}

/// A data directory that cannot be used, with what can be done about it.
pub(crate) fn unusable(error: &DataDirError) -> Failure {
    let failure = Failure::failed(error);
    match error {
        DataDirError::Held { .. } => failure.hint(
            "one process owns a data directory: stop that one, name another with --data, or use `tokenhouse token` \
             on the running one",
        ),
        DataDirError::Missing { .. } => {
            failure.hint("name it with --data; `tokenhouse serve` makes one at its first start")
        }
        DataDirError::System { .. } => failure,
    }
}
