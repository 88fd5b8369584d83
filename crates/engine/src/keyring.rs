//! The keyring: the installation's digest keys and sealing keys.
//!
//! The one thing to know: the *last* key of each list is the active one; the others stay, because what was digested or
//! sealed with them is still there. Losing the keyring loses every value; it is a file of its own (mode 0600, written by
//! the program) so that the database alone gives nothing away.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, LessSafeKey, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::entropy::Entropy;
use crate::locator::{Key, Space};
use crate::realm::RealmId;
use crate::secret::{Proof, Secret};

/// Keys of the installation, ready to use.
pub struct Keyring {
    digest: Vec<DigestKey>,
    sealing: Vec<SealingKey>,
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
        Self {
            digest: vec![DigestKey::new(1, key())],
            sealing: vec![SealingKey::new(1, key())],
        }
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
        let decode = |key: &FileKey| {
            let bytes = Zeroizing::new(STANDARD.decode(key.key.as_bytes()).unwrap_or_default());
            <[u8; 32]>::try_from(bytes.as_slice())
                .map(Zeroizing::new)
                .map_err(|_| KeyringError::Format(format!("key {} is not 32 bytes", key.id)))
        };
        Ok(Self {
            digest: file
                .digest
                .iter()
                .map(|key| decode(key).map(|bytes| DigestKey::new(key.id, bytes)))
                .collect::<Result<_, _>>()?,
            sealing: file
                .sealing
                .iter()
                .map(|key| decode(key).map(|bytes| SealingKey::new(key.id, bytes)))
                .collect::<Result<_, _>>()?,
        })
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
        mac.finalize().into_bytes()[..8]
            .iter()
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    /// The digest of a secret under the active key: for secrets that are minted now.
    pub fn prove(&self, realm: RealmId, secret: &Secret) -> Proof {
        self.proof_under(
            self.digest.last().expect("a keyring is never empty"),
            realm,
            secret,
        )
    }

    /// The digests of a secret under every key, the active one first: for looking it up.
    pub fn proofs<'a>(
        &'a self,
        realm: RealmId,
        secret: &'a Secret,
    ) -> impl Iterator<Item = Proof> + 'a {
        self.digest
            .iter()
            .rev()
            .map(move |key| self.proof_under(key, realm, secret))
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

    /// Tells keyrings apart that differ in any key, also in one that was added. (The fingerprint is the same then: it says
    /// what a store belongs to.)
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
        self.sealing.last().expect("a keyring is never empty")
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
    fn an_old_digest_key_still_finds_its_secrets() {
        let old = Keyring::generate(&SeededEntropy::new(1));
        let secret = Secret::parse("x").unwrap();
        let before = old.prove(RealmId::SYSTEM, &secret);
        let new = Keyring::generate(&SeededEntropy::new(2));
        let mut both: serde_json::Value = serde_json::from_str(&old.to_text()).unwrap();
        let added: serde_json::Value = serde_json::from_str(&new.to_text()).unwrap();
        both["digest"]
            .as_array_mut()
            .unwrap()
            .push(serde_json::json!({"id": 2, "key": added["digest"][0]["key"]}));
        let both = Keyring::from_text(&both.to_string()).unwrap();
        assert!(
            !both
                .prove(RealmId::SYSTEM, &secret)
                .matches(Some(&before.0))
        );
        assert!(
            both.proofs(RealmId::SYSTEM, &secret)
                .any(|proof| proof.matches(Some(&before.0)))
        );
        assert_eq!(both.fingerprint(), old.fingerprint());
        assert_ne!(both.digest(), old.digest());
    }

    #[test]
    fn blind_parts_do_not_run_together() {
        let ring = Keyring::generate(&SeededEntropy::new(1));
        let blind = |parts: &[&[u8]]| ring.blind(RealmId::SYSTEM, &Space::IDENTITY, parts);
        assert_ne!(blind(&[b"ab", b"c"]), blind(&[b"a", b"bc"]));
        assert_ne!(blind(&[b"ab"]), blind(&[b"ab", b""]));
    }
}
