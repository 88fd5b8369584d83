//! The keyring: the installation's digest keys and sealing keys.
//!
//! The one thing to know: which key is *active* stands in the store, not here ([`crate::key_list`]); a key of the file that
//! the store does not list is only looked up under, never minted with. The others stay, because what was digested or
//! sealed with them is still there. Losing the keyring loses every value; it is a file of its own (mode 0600, written by
//! the program) so that the database alone gives nothing away.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use aws_lc_rs::aead::{AES_256_GCM_SIV, LessSafeKey, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::entropy::Entropy;
use crate::key_list::{KeyId, KeyKind, Keys};
use crate::locator::{Key, Space};
use crate::realm::RealmId;
use crate::secret::{Proof, Secret};

/// Keys of one kind that a keyring may have. Each digest key is one more digest to make for every verify.
pub const KEYS_MAX: usize = 64;

/// Keys of the installation, ready to use.
pub struct Keyring {
    digest: Vec<DigestKey>,
    sealing: Vec<SealingKey>,
    /// Where the active key of each kind stands in its list. The first until the store has said: every node has that one.
    active_digest: AtomicUsize,
    active_sealing: AtomicUsize,
}

struct DigestKey {
    id: u32,
    bytes: Zeroizing<[u8; 32]>,
    /// Key schedule done once; cloning it costs less than starting anew.
    mac: Hmac<Sha256>,
}

pub(crate) struct SealingKey {
    pub(crate) id: u32,
    bytes: Zeroizing<[u8; 32]>,
    pub(crate) cipher: LessSafeKey,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// Why a keyring file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Not the JSON that this program writes.
    #[error("the keyring is not readable: {0}")]
    Format(String),
    /// Written by a newer program.
    #[error("the keyring has format {0}, this program reads format 1")]
    Version(u32),
    /// A list without keys, or an id twice.
    #[error("the keyring needs at least one key of each kind, each with an id of its own")]
    Keys,
    /// More keys of one kind than are looked through.
    #[error("the keyring has more than {KEYS_MAX} keys of one kind")]
    TooMany,
    /// No key more can be added.
    #[error(
        "the keyring is full: it has {KEYS_MAX} keys of one kind, or the highest id that there is"
    )]
    Full,
}

/// The file: `{"format":1,"digest":[{"id":1,"key":"<base64 of 32 bytes>"}],"sealing":[…]}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    digest: Vec<FileKey>,
    sealing: Vec<FileKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKey {
    id: u32,
    key: Zeroizing<String>,
}

impl Keyring {
    /// A new keyring with one key of each kind.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let key = || {
            let mut bytes = Zeroizing::new([0; 32]);
            entropy.fill(bytes.as_mut_slice());
            bytes
        };
        Self::of(
            vec![DigestKey::new(1, key())],
            vec![SealingKey::new(1, key())],
        )
    }

    fn of(digest: Vec<DigestKey>, sealing: Vec<SealingKey>) -> Self {
        Self {
            digest,
            sealing,
            active_digest: AtomicUsize::new(0),
            active_sealing: AtomicUsize::new(0),
        }
    }

    /// The same with one new key of each kind at the end, under the next free id.
    ///
    /// # Errors
    /// `Full`.
    pub fn with_new_keys(&self, entropy: &dyn Entropy) -> Result<Self, KeyringError> {
        let next = |ids: Vec<u32>| {
            let room = ids.len() < KEYS_MAX;
            let highest = ids.into_iter().max().filter(|_| room);
            highest
                .and_then(|id| id.checked_add(1))
                .ok_or(KeyringError::Full)
        };
        let digest_id = next(self.digest.iter().map(|key| key.id).collect())?;
        let sealing_id = next(self.sealing.iter().map(|key| key.id).collect())?;
        let new = Self::generate(entropy);
        let digest = self.digest.iter().map(|key| (key.id, &key.bytes));
        let digest = digest.chain(new.digest.iter().map(|key| (digest_id, &key.bytes)));
        let sealing = self.sealing.iter().map(|key| (key.id, &key.bytes));
        let sealing = sealing.chain(new.sealing.iter().map(|key| (sealing_id, &key.bytes)));
        Ok(Self::of(
            digest
                .map(|(id, bytes)| DigestKey::new(id, bytes.clone()))
                .collect(),
            sealing
                .map(|(id, bytes)| SealingKey::new(id, bytes.clone()))
                .collect(),
        ))
    }

    /// Reads the text of a keyring file.
    ///
    /// # Errors
    /// When it is not one, or one of a newer format.
    pub fn from_text(text: &str) -> Result<Self, KeyringError> {
        let file: File =
            // Its place only: the message of the parser quotes what it found there.
            serde_json::from_str(text).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                KeyringError::Format(format!("line {line}, column {column}"))
            })?;
        if file.format != 1 {
            return Err(KeyringError::Version(file.format));
        }
        let distinct = |keys: &[FileKey]| {
            let ids: std::collections::BTreeSet<u32> = keys.iter().map(|key| key.id).collect();
            !keys.is_empty() && ids.len() == keys.len()
        };
        if !distinct(&file.digest) || !distinct(&file.sealing) {
            return Err(KeyringError::Keys);
        }
        // Each of them costs a digest for each look-up of a secret.
        if file.digest.len() > KEYS_MAX || file.sealing.len() > KEYS_MAX {
            return Err(KeyringError::TooMany);
        }
        let decode = |key: &FileKey| {
            let bytes = Zeroizing::new(STANDARD.decode(key.key.as_bytes()).unwrap_or_default());
            <[u8; 32]>::try_from(bytes.as_slice())
                .map(Zeroizing::new)
                .map_err(|_| KeyringError::Format(format!("key {} is not 32 bytes", key.id)))
        };
        Ok(Self::of(
            file.digest
                .iter()
                .map(|key| decode(key).map(|bytes| DigestKey::new(key.id, bytes)))
                .collect::<Result<_, _>>()?,
            file.sealing
                .iter()
                .map(|key| decode(key).map(|bytes| SealingKey::new(key.id, bytes)))
                .collect::<Result<_, _>>()?,
        ))
    }

    /// The text of the keyring file: secret, to be written with mode 0600 and nowhere else.
    pub fn to_text(&self) -> Zeroizing<String> {
        let entry = |id, bytes: &[u8; 32]| FileKey {
            id,
            key: Zeroizing::new(STANDARD.encode(bytes)),
        };
        let file = File {
            format: 1,
            digest: self
                .digest
                .iter()
                .map(|key| entry(key.id, &key.bytes))
                .collect(),
            sealing: self
                .sealing
                .iter()
                .map(|key| entry(key.id, &key.bytes))
                .collect(),
        };
        let text = serde_json::to_string_pretty(&file).expect("numbers and strings are JSON");
        Zeroizing::new(text + "\n")
    }

    /// Tells keyrings apart without telling the keys: the start of a digest of the first digest key under a fixed label.
    /// A store remembers it, so that it is never opened with another installation's keys.
    pub fn fingerprint(&self) -> String {
        let mut mac = self.digest[0].mac.clone();
        mac.update(b"tokenhouse keyring fingerprint");
        hex(&mac.finalize().into_bytes()[..8])
    }

    /// All keys by their ids, each with a check that tells it from another one under the same id without telling the key:
    /// the start of an HMAC-SHA-256 of a label under the key itself.
    pub fn keys(&self) -> Keys {
        let of = |kind: KeyKind, id: u32, bytes: &Zeroizing<[u8; 32]>| {
            let mut mac: Hmac<Sha256> =
                Hmac::new_from_slice(bytes.as_slice()).expect("HMAC takes keys of any length");
            mac.update(b"tokenhouse key check\0");
            mac.update(kind.name().as_bytes());
            KeyId {
                id,
                check: hex(&mac.finalize().into_bytes()[..8]),
            }
        };
        let digest = self.digest.iter();
        let sealing = self.sealing.iter();
        Keys {
            digest: digest
                .map(|key| of(KeyKind::Digest, key.id, &key.bytes))
                .collect(),
            sealing: sealing
                .map(|key| of(KeyKind::Sealing, key.id, &key.bytes))
                .collect(),
        }
    }

    /// Mints with this key from now on. `false` if it is not there, and nothing has changed. To be called only with a key
    /// that the store says is active, because every node can look that one up.
    pub(crate) fn activate(&self, kind: KeyKind, id: u32) -> bool {
        let (position, active) = match kind {
            KeyKind::Digest => (
                self.digest.iter().position(|key| key.id == id),
                &self.active_digest,
            ),
            KeyKind::Sealing => (
                self.sealing.iter().position(|key| key.id == id),
                &self.active_sealing,
            ),
        };
        if let Some(position) = position {
            active.store(position, SeqCst);
        }
        position.is_some()
    }

    /// The id of the key that is minted with.
    pub fn active(&self, kind: KeyKind) -> u32 {
        match kind {
            KeyKind::Digest => self.digest[self.active_digest.load(SeqCst)].id,
            KeyKind::Sealing => self.active_sealing_key().id,
        }
    }

    /// The digest of a secret under the active key: for secrets that are minted now.
    pub fn prove(&self, realm: RealmId, secret: &Secret) -> Proof {
        let active = &self.digest[self.active_digest.load(SeqCst)];
        self.proof_under(active, realm, secret)
    }

    /// The digests of a secret under every key, the active one first, then from the newest on: for looking it up. Also under
    /// those that are not listed, or that this node does not know to be active yet: another one may mint with them already.
    pub fn proofs<'a>(
        &'a self,
        realm: RealmId,
        secret: &'a Secret,
    ) -> impl Iterator<Item = Proof> + 'a {
        let active = self.active_digest.load(SeqCst);
        let others = (0..self.digest.len()).rev();
        let others = others.filter(move |position| *position != active);
        std::iter::once(active)
            .chain(others)
            .map(move |position| self.proof_under(&self.digest[position], realm, secret))
    }

    #[allow(clippy::unused_self, reason = "reads as a method of the keyring")]
    fn proof_under(&self, key: &DigestKey, realm: RealmId, secret: &Secret) -> Proof {
        let mut mac = key.mac.clone();
        // The label and the realm keep digests of different uses and realms apart.
        mac.update(b"secret\0");
        mac.update(realm.0.as_bytes());
        mac.update(secret.expose().as_bytes());
        Proof(mac.finalize().into_bytes().into())
    }

    /// Tells keyrings apart that differ in any key, also in one that was added. Programs from before the list of keys hold
    /// each other to it, so it must not change as long as they may run beside this one.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.to_text().as_bytes()).into()
    }

    /// A keyed digest of confidential content, for keys by which it must be found (identities, unique properties).
    /// Parts are length-prefixed, so that no two lists of parts run together. The *first* key is used for ever: these
    /// digests cannot be re-made without the content.
    pub fn blind(&self, realm: RealmId, space: &Space, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.digest[0].mac.clone();
        mac.update(b"blind\0");
        mac.update(realm.0.as_bytes());
        for part in std::iter::once(space.0.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The same as a key.
    pub fn blind_key(&self, realm: RealmId, space: &Space, parts: &[&[u8]]) -> Key {
        Key(self.blind(realm, space, parts).to_vec())
    }

    pub(crate) fn active_sealing_key(&self) -> &SealingKey {
        &self.sealing[self.active_sealing.load(SeqCst)]
    }

    pub(crate) fn sealing_key(&self, id: u32) -> Option<&SealingKey> {
        self.sealing.iter().find(|key| key.id == id)
    }
}

impl DigestKey {
    fn new(id: u32, bytes: Zeroizing<[u8; 32]>) -> Self {
        let mac = Hmac::new_from_slice(bytes.as_slice()).expect("HMAC takes keys of any length");
        Self { id, bytes, mac }
    }
}

impl SealingKey {
    fn new(id: u32, bytes: Zeroizing<[u8; 32]>) -> Self {
        let key = UnboundKey::new(&AES_256_GCM_SIV, bytes.as_slice())
            .expect("32 bytes are a key of AES-256");
        Self {
            id,
            bytes,
            cipher: LessSafeKey::new(key),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// SHA-256, for digests that are no secret's (events).
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn a_keyring_survives_its_file() {
        let ring = Keyring::generate(&SeededEntropy::new(1));
        let again = Keyring::from_text(&ring.to_text()).unwrap();
        assert_eq!(ring.fingerprint(), again.fingerprint());
        let secret = Secret::parse("x").unwrap();
        assert!(
            ring.prove(RealmId::SYSTEM, &secret)
                .matches(Some(&again.prove(RealmId::SYSTEM, &secret).0))
        );
        let other = Keyring::generate(&SeededEntropy::new(2));
        assert_ne!(ring.fingerprint(), other.fingerprint());
        assert!(
            !ring
                .prove(RealmId::SYSTEM, &secret)
                .matches(Some(&other.prove(RealmId::SYSTEM, &secret).0))
        );
    }

    #[test]
    fn damaged_files_are_refused() {
        let text = Keyring::generate(&SeededEntropy::new(1)).to_text();
        for bad in [
            "",
            "{}",
            "[]",
            &text[..text.len() / 2],
            &text.replace("\"id\": 1", "\"id\": \"1\""),
        ] {
            assert!(
                matches!(Keyring::from_text(bad), Err(KeyringError::Format(_))),
                "{bad}"
            );
        }
        let newer = text.replace("\"format\": 1", "\"format\": 2");
        assert_eq!(
            Keyring::from_text(&newer).unwrap_err(),
            KeyringError::Version(2)
        );
        let none = r#"{"format":1,"digest":[],"sealing":[]}"#;
        assert_eq!(Keyring::from_text(none).unwrap_err(), KeyringError::Keys);
    }

    #[test]
    fn a_new_key_is_looked_up_under_and_not_minted_with_until_it_is_active() {
        let old = Keyring::generate(&SeededEntropy::new(1));
        let secret = Secret::parse("x").unwrap();
        let proof = |ring: &Keyring| ring.prove(RealmId::SYSTEM, &secret).0;
        let finds = |ring: &Keyring, wanted: [u8; 32]| {
            ring.proofs(RealmId::SYSTEM, &secret)
                .any(|proof| proof.matches(Some(&wanted)))
        };
        let before = proof(&old);
        let both = old.with_new_keys(&SeededEntropy::new(2)).unwrap();
        let both = Keyring::from_text(&both.to_text()).unwrap();
        assert_eq!(proof(&both), before);
        assert_eq!(both.active(KeyKind::Digest), 1);
        let switched = Keyring::from_text(&both.to_text()).unwrap();
        assert!(switched.activate(KeyKind::Digest, 2));
        assert!(!switched.activate(KeyKind::Digest, 3));
        assert_eq!(switched.active(KeyKind::Digest), 2);
        assert_eq!(switched.active(KeyKind::Sealing), 1);
        let after = proof(&switched);
        assert_ne!(after, before);
        let first = switched.proofs(RealmId::SYSTEM, &secret).next().unwrap();
        assert!(first.matches(Some(&after)), "the active key comes first");
        assert_eq!(switched.proofs(RealmId::SYSTEM, &secret).count(), 2);
        assert!(finds(&switched, before) && finds(&both, after));
        assert!(!finds(&old, after));
        assert_eq!(both.fingerprint(), old.fingerprint());
        assert_ne!(both.digest(), old.digest());
        let space = Space::IDENTITY;
        let blind = |ring: &Keyring| ring.blind(RealmId::SYSTEM, &space, &[b"x"]);
        assert_eq!(blind(&switched), blind(&old), "blinding never moves");
    }

    #[test]
    fn a_key_is_known_by_its_id_and_its_check() {
        let old = Keyring::generate(&SeededEntropy::new(1));
        let one = old.with_new_keys(&SeededEntropy::new(2)).unwrap();
        let other = old.with_new_keys(&SeededEntropy::new(3)).unwrap();
        let (old, one, other) = (old.keys(), one.keys(), other.keys());
        assert_eq!(one.digest[0], old.digest[0]);
        assert_eq!(one.sealing[0], old.sealing[0]);
        assert_eq!((one.digest[1].id, one.sealing[1].id), (2, 2));
        assert_ne!(one.digest[1], other.digest[1]);
        assert_ne!(one.sealing[1], other.sealing[1]);
        assert_ne!(one.digest[1].check, one.sealing[1].check);
        assert_eq!(one.digest[1].check.len(), 16);
    }

    #[test]
    fn a_keyring_does_not_grow_for_ever() {
        let mut ring = Keyring::generate(&SeededEntropy::new(1));
        for _ in 1..KEYS_MAX {
            ring = ring.with_new_keys(&SeededEntropy::new(2)).unwrap();
        }
        let full = ring.with_new_keys(&SeededEntropy::new(2));
        assert_eq!(full.unwrap_err(), KeyringError::Full);
        let ring = Keyring::generate(&SeededEntropy::new(1)).to_text();
        let last = ring.replace("\"id\": 1", &format!("\"id\": {}", u32::MAX));
        let last = Keyring::from_text(&last).unwrap();
        let full = last.with_new_keys(&SeededEntropy::new(2));
        assert_eq!(full.unwrap_err(), KeyringError::Full);
    }

    #[test]
    fn blind_parts_do_not_run_together() {
        let ring = Keyring::generate(&SeededEntropy::new(1));
        let blind = |parts: &[&[u8]]| ring.blind(RealmId::SYSTEM, &Space::IDENTITY, parts);
        assert_ne!(blind(&[b"ab", b"c"]), blind(&[b"a", b"bc"]));
        assert_ne!(blind(&[b"ab"]), blind(&[b"ab", b""]));
    }
}
