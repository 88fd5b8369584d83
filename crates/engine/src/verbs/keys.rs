//! Keys: the store is bound to a keyring, says which keys everybody holds, and is switched to a newer one.
//!
//! The one thing to know: a process follows the list, it does not lead. Minting under an older key stays right for ever,
//! because everybody holds every listed key; saying "nobody has this secret" is right only for one who holds them all
//! ([`Engine::holds_all_keys`]).

use std::sync::atomic::Ordering::SeqCst;

use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::{Conflict, Error};
use crate::guard::Guard;
use crate::key_list::{KeyKind, KeyList, Keys, LackingKeys, UnreadableList};
use crate::locator::{Key, Place, Space};
use crate::realm::RealmId;
use crate::record::Record;
use crate::store::Role;
use crate::verbs::records::RecordEdit;

const KEYRING: &str = "keyring";

/// Steps of the list in one go: one to list keys and one to make them active, and what others do meanwhile.
const STEPS_MAX: usize = 8;

/// Why a store cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// It was made with another keyring.
    #[error("the store belongs to keyring {stored}, this is keyring {present}")]
    OtherKeyring {
        /// The fingerprint that the store remembers.
        stored: String,
        /// That of the keyring at hand.
        present: String,
    },
    /// Another store is where this process has begun with one: made anew, or of another installation with the same keyring.
    #[error(
        "the store is another one than this process has begun with: somebody has put it in its place"
    )]
    Replaced,
    /// It uses keys that the keyring does not have.
    #[error("the keyring lacks keys that the store uses: {0}")]
    Lacking(LackingKeys),
    /// Its list of keys is none that this program can read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableList),
    /// It could not be read or written.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// What is known of the keys of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeysInUse {
    /// The list; `None` if no program that knows of lists has used the store yet.
    pub list: Option<KeyList>,
    /// What each server has reported to hold; `None` in place of one that has said nothing. No list at all where one
    /// process alone uses the store.
    pub reports: Option<Vec<Option<Keys>>>,
}

impl Engine {
    /// Makes sure that the store belongs to this keyring, which holds all keys of its list; a store that belongs to none yet
    /// is bound to it. Must be called before anything else.
    ///
    /// # Errors
    /// When it is another's, or the keyring lacks a key.
    pub async fn bind(&self) -> Result<(), BindError> {
        let keyring = &self.0.keyring;
        let place = Place::new(Space::of(KEYRING), Key(Vec::new()));
        let body = KeyList::founding(keyring.keys()).to_body(&keyring.fingerprint());
        let caller = caller();
        let record = self.find_or_create(&caller, KEYRING, place, body).await?;
        self.check_binding(&record).map(|_| ())
    }

    /// Whether the store belongs to a keyring, this one or another: then it is no new store.
    pub async fn is_bound(&self) -> Result<bool, Error> {
        Ok(self.binding().await?.is_some())
    }

    /// The list of the store's keys and who holds them, for whoever wants to look; nothing is checked or changed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn keys_in_use(&self) -> Result<KeysInUse, BindError> {
        let record = self.binding().await?;
        let list = match record {
            Some(record) => KeyList::from_body(&record.body)?,
            None => None,
        };
        let reports = self.reports().await?;
        Ok(KeysInUse { list, reports })
    }

    /// Whether other processes can use the store at the same time.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn shares_its_store(&self) -> Result<bool, Error> {
        Ok(self.0.store.reports().await?.is_some())
    }

    /// Reads the list anew: takes over which keys are active, and where newer keys than those are held by everybody, goes on
    /// to them. To be called after [`Engine::join`], and every second or so where others use the store too. A visitor only
    /// follows: it may have come while all servers are being restarted.
    ///
    /// # Errors
    /// When the keyring lacks a listed key: this process must not answer any more.
    pub async fn follow_keys(&self) -> Result<(), BindError> {
        let held = self.0.keyring.keys();
        let follows = self.0.role == Role::Visitor && self.shares_its_store().await?;
        for _ in 0..STEPS_MAX {
            // Before the list is read: a membership that begins later has not seen it.
            let membership = self.0.live.memberships();
            let Some(record) = self.binding().await? else {
                return Ok(());
            };
            let Some(list) = self.check_binding(&record)? else {
                if follows {
                    return Ok(());
                }
                // A program from before the list has made the store. Whoever runs beside this one has the same keys, or one of
                // them would not have been let in.
                let first = KeyList::founding(held.clone());
                self.write_list(&record, first).await?;
                continue;
            };
            self.take_over(&list, membership);
            if follows || !list.is_behind(&held) {
                return Ok(());
            }
            // After the list was read: who joins later than this reads a list that is no older.
            let reports = self.reports().await?.unwrap_or_default();
            let Some(next) = list.step(&held, &reports) else {
                self.say_that_it_waits(&reports, &held);
                return Ok(());
            };
            self.write_list(&record, next).await?;
        }
        Ok(())
    }

    /// Makes sure that what was not found under the keys of this process is not there: to be asked *after* a look-up by secret
    /// has found nothing. Normally known already; otherwise one read.
    pub(crate) async fn holds_all_keys(&self) -> Result<(), Error> {
        let live = &self.0.live;
        // As long as the others see this process, nothing is minted under a key that it has not reported. In this order: a lease
        // that is found first and belongs to a later membership shows in the number.
        let leased = live.is_leased();
        let membership = live.memberships();
        if leased && self.0.keys_read.load(SeqCst) == membership {
            return Ok(());
        }
        let Some(record) = self.binding().await? else {
            return Ok(());
        };
        match self.check_binding(&record) {
            Ok(Some(list)) => self.take_over(&list, membership),
            Ok(None) => {}
            Err(BindError::Engine(error)) => return Err(error),
            Err(error) => {
                tracing::error!(%error, "this node cannot tell whether a credential is good");
                return Err(Error::Unavailable);
            }
        }
        Ok(())
    }

    async fn binding(&self) -> Result<Option<Record>, Error> {
        let place = Place::new(Space::of(KEYRING), Key(Vec::new()));
        self.find_record(&caller(), place).await
    }

    async fn reports(&self) -> Result<Option<Vec<Option<Keys>>>, Error> {
        let reports = self.0.store.reports().await?;
        let read = |report: Option<Vec<u8>>| report.and_then(|bytes| Keys::from_report(&bytes));
        Ok(reports.map(|reports| reports.into_iter().map(read).collect()))
    }

    /// The list, if there is one; that the store is this keyring's, and that no listed key is lacking.
    fn check_binding(&self, record: &Record) -> Result<Option<KeyList>, BindError> {
        let keyring = &self.0.keyring;
        let present = keyring.fingerprint();
        let stored = record.body["fingerprint"].as_str().unwrap_or("unreadable");
        let other = || BindError::OtherKeyring {
            stored: stored.to_owned(),
            present: present.clone(),
        };
        // Realms and what was read of them are the former one's.
        if self.0.bound_to.get_or_init(|| record.id) != &record.id {
            return Err(BindError::Replaced);
        }
        let Some(list) = KeyList::from_body(&record.body)? else {
            return if stored == present {
                Ok(None)
            } else {
                Err(other())
            };
        };
        let held = keyring.keys();
        // The first one blinds what must be found for ever, so it has to be the same key in the same place.
        if list.keys().digest.first() != held.digest.first() {
            return Err(other());
        }
        list.check(&held).map_err(BindError::Lacking)?;
        Ok(Some(list))
    }

    fn take_over(&self, list: &KeyList, membership: u64) {
        let keyring = &self.0.keyring;
        for kind in KeyKind::ALL {
            let id = list.active(kind);
            if keyring.active(kind) != id && keyring.activate(kind, id) {
                tracing::info!(kind = kind.name(), key = id, "this key is active");
            }
        }
        self.0.keys_read.store(membership, SeqCst);
    }

    /// Puts the list in the place of the one that was read, unless somebody else has changed it meanwhile.
    async fn write_list(&self, record: &Record, list: KeyList) -> Result<(), Error> {
        let first = self.0.keyring.fingerprint();
        let count = list.keys().digest.len() + list.keys().sealing.len();
        let before = KeyList::from_body(&record.body).ok().flatten();
        let fingerprint = match &before {
            // What a program from before the list understands, as long as it would do the right thing.
            None => first,
            Some(before) if before.keys() == list.keys() => record.body["fingerprint"]
                .as_str()
                .unwrap_or(&first)
                .to_owned(),
            Some(_) => format!("{first}, in which {count} keys are listed"),
        };
        let body = list.to_body(&fingerprint);
        let guard = Guard::Version(record.version);
        let edit = move |_: &Record| {
            Ok(RecordEdit {
                body: Some(body.clone()),
                ..RecordEdit::default()
            })
        };
        match self.update_record(&caller(), record.id, guard, edit).await {
            Ok(_) => {
                let (digest, sealing) = (&list.keys().digest, &list.keys().sealing);
                tracing::info!(
                    digest_keys = digest.len(),
                    sealing_keys = sealing.len(),
                    active_digest_key = list.active(KeyKind::Digest),
                    active_sealing_key = list.active(KeyKind::Sealing),
                    "wrote the store's list of keys"
                );
                Ok(())
            }
            Err(Error::Conflict(Conflict::Version { .. } | Conflict::Busy)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn say_that_it_waits(&self, reports: &[Option<Keys>], held: &Keys) {
        let waits_for = reports
            .iter()
            .filter(|report| report.as_ref() != Some(held))
            .count();
        if !self.0.waiting_said.swap(true, SeqCst) {
            tracing::info!(
                waits_for,
                nodes = reports.len(),
                "the keyring has newer keys than those in use: they are taken into use when all nodes hold them"
            );
        }
    }
}

fn caller() -> Caller {
    Caller::system(RealmId::SYSTEM, "bind")
}
