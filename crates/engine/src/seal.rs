//! Sealing: how confidential content lies in the store.
//!
//! The one thing to know: each sealed version has a data key of its own, itself sealed by the installation's key, so
//! that destroying the row destroys the value, and no nonce is ever used twice under a data key. What it belongs to
//! (realm, inner id, version, field) is bound in as associated data: a row that is moved or rolled back does not open.
//!
//! Format of the sealed bytes:
//!
//! | bytes | content |
//! |---|---|
//! | 1 | format version, 1 |
//! | 4 | id of the sealing key, big-endian |
//! | 12 | nonce of the wrapped data key |
//! | 48 | data key under AES-256-GCM-SIV: 32 bytes and tag |
//! | rest | content under AES-256-GCM with the data key and nonce 0: content and tag of 16 bytes |
//!
//! AES-GCM-SIV (RFC 8452) for the wrap, because its key is used very often and a repeated random nonce then reveals at
//! most that two data keys are equal, which they never are.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize as _, Zeroizing};

use crate::entropy::Entropy;
use crate::keyring::Keyring;
use crate::realm::RealmId;
use crate::value::{Sealed, ValueId};

const FORMAT: u8 = 1;
const HEADER: usize = 1 + 4;
const NONCE: usize = 12;
const WRAPPED: usize = 32 + 16;

/// Why sealed bytes cannot be opened. Either the keyring or the row is not the one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short or of an unknown format.
    #[error("the sealed bytes have no known format")]
    Format,
    /// Sealed under a key that the keyring does not have.
    #[error("sealed under key {0}, which the keyring does not have")]
    Key(u32),
    /// Changed, moved or rolled back.
    #[error("the sealed bytes are not what was sealed here")]
    Authentication,
}

/// What a sealed content belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// Its realm.
    pub realm: RealmId,
    /// The value.
    pub value: ValueId,
    /// The version of the value.
    pub version: u64,
}

impl Binding {
    /// Associated data: realm (16) ∥ value (16) ∥ version (8, big-endian) ∥ the field's name.
    fn associated_data(&self) -> Vec<u8> {
        [
            self.realm.0.as_bytes().as_slice(),
            self.value.0.as_bytes(),
            &self.version.to_be_bytes(),
            b"value",
        ]
        .concat()
    }
}

/// Seals `content`.
pub fn seal(keyring: &Keyring, entropy: &dyn Entropy, binding: Binding, content: &[u8]) -> Sealed {
    let associated = binding.associated_data();
    let wrapping = keyring.active_sealing_key();
    let mut data_key = Zeroizing::new([0_u8; 32]);
    entropy.fill(data_key.as_mut_slice());
    let mut nonce = [0_u8; NONCE];
    entropy.fill(&mut nonce);

    let mut sealed = Vec::with_capacity(HEADER + NONCE + WRAPPED + content.len() + 16);
    sealed.push(FORMAT);
    sealed.extend_from_slice(&wrapping.id.to_be_bytes());
    sealed.extend_from_slice(&nonce);

    let mut wrapped = Vec::with_capacity(WRAPPED);
    wrapped.extend_from_slice(data_key.as_slice());
    wrapping
        .cipher
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated.as_slice()),
            &mut wrapped,
        )
        .expect("32 bytes are far below the limit of AES-GCM-SIV");
    sealed.append(&mut wrapped);

    let mut body = content.to_vec();
    cipher(&data_key)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key([0; NONCE]),
            Aad::from(associated.as_slice()),
            &mut body,
        )
        .expect("values are far below the limit of AES-GCM");
    sealed.append(&mut body);
    Sealed(sealed)
}

/// Opens what [`seal`] made, for the same binding only.
///
/// # Errors
/// When format, key or content are not those that were sealed.
pub fn open(
    keyring: &Keyring,
    binding: Binding,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let bytes = &sealed.0;
    if bytes.len() < HEADER + NONCE + WRAPPED + 16 || bytes[0] != FORMAT {
        return Err(OpenError::Format);
    }
    let (header, rest) = bytes.split_at(HEADER);
    let (nonce, rest) = rest.split_at(NONCE);
    let (wrapped, body) = rest.split_at(WRAPPED);
    let id = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    let wrapping = keyring.sealing_key(id).ok_or(OpenError::Key(id))?;
    let associated = binding.associated_data();

    let mut data_key = Zeroizing::new(wrapped.to_vec());
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Format)?;
    let opened = wrapping
        .cipher
        .open_in_place(nonce, Aad::from(associated.as_slice()), &mut data_key)
        .map_err(|_| OpenError::Authentication)?;
    let data_key = <[u8; 32]>::try_from(&*opened)
        .map(Zeroizing::new)
        .map_err(|_| OpenError::Format)?;

    let mut content = Zeroizing::new(body.to_vec());
    let length = cipher(&data_key)
        .open_in_place(
            Nonce::assume_unique_for_key([0; NONCE]),
            Aad::from(associated.as_slice()),
            &mut content,
        )
        .map_err(|_| OpenError::Authentication)?
        .len();
    content[length..].zeroize();
    content.truncate(length);
    Ok(content)
}

fn cipher(data_key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, data_key).expect("32 bytes are a key of AES-256"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::entropy::SeededEntropy;
    use uuid::Uuid;

    fn binding(value: u128, version: u64) -> Binding {
        Binding {
            realm: RealmId(Uuid::from_u128(1)),
            value: ValueId(Uuid::from_u128(value)),
            version,
        }
    }

    #[test]
    fn what_is_sealed_opens_only_where_it_belongs() {
        let entropy = SeededEntropy::new(3);
        let ring = Keyring::generate(&entropy);
        let sealed = seal(&ring, &entropy, binding(7, 1), b"4012888888881881");
        assert_eq!(
            open(&ring, binding(7, 1), &sealed).unwrap().as_slice(),
            b"4012888888881881"
        );
        assert!(!sealed.0.windows(4).any(|w| w == b"4012"));
        for other in [binding(8, 1), binding(7, 2)] {
            assert_eq!(
                open(&ring, other, &sealed).unwrap_err(),
                OpenError::Authentication
            );
        }
        let stranger = Keyring::generate(&SeededEntropy::new(4));
        assert_eq!(
            open(&stranger, binding(7, 1), &sealed).unwrap_err(),
            OpenError::Authentication
        );
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let entropy = SeededEntropy::new(3);
        let ring = Keyring::generate(&entropy);
        let sealed = seal(&ring, &entropy, binding(7, 1), b"x");
        for at in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[at] ^= 1;
            assert!(open(&ring, binding(7, 1), &changed).is_err(), "byte {at}");
            changed.0.truncate(at);
            assert!(open(&ring, binding(7, 1), &changed).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_same_content_never_looks_the_same() {
        let entropy = SeededEntropy::new(3);
        let ring = Keyring::generate(&entropy);
        let one = seal(&ring, &entropy, binding(7, 1), b"same");
        let two = seal(&ring, &entropy, binding(7, 1), b"same");
        assert_ne!(one, two);
    }
}
