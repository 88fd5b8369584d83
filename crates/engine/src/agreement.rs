//! What the nodes of a store must agree about, in a form that one of them may leave for the others.
//!
//! The one thing to know: values never leave the process. Each has a keyed digest of its own beside its name, so that
//! whoever differs can say in which settings; who cannot read the keyring can neither learn nor try a value.

use std::collections::{BTreeMap, BTreeSet};

use crate::keyring::Keyring;
use crate::locator::Space;
use crate::realm::RealmId;

/// Bytes of a digest that are kept: a difference is missed once in 2^64 times, and nobody can look for such a case without
/// the key.
const DIGEST_BYTES: usize = 8;

/// Names and digests as bytes, in the order of the names: for each setting the length of its name in one byte, the name, and
/// eight bytes of the keyed digest of name and value.
pub(crate) fn to_bytes(keyring: &Keyring, settings: &[(String, String)]) -> Vec<u8> {
    let space = Space::of("setting");
    let mut bytes = Vec::new();
    for (name, value) in settings.iter().collect::<BTreeSet<_>>() {
        let parts = [name.as_bytes(), value.as_bytes()];
        let digest = keyring.blind(RealmId::SYSTEM, &space, &parts);
        bytes.push(u8::try_from(name.len()).expect("settings have names of less than 256 bytes"));
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&digest[..DIGEST_BYTES]);
    }
    bytes
}

/// The names of the settings in which two differ: another value, or one has none. Nothing if either was not written by
/// [`to_bytes`].
pub(crate) fn differing(one: &[u8], other: &[u8]) -> Vec<String> {
    let (Some(one), Some(other)) = (read(one), read(other)) else {
        return Vec::new();
    };
    let differs = |name: &&&str| one.get(**name) != other.get(**name);
    let mut names: Vec<&&str> = one.keys().chain(other.keys()).filter(differs).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| (*name).to_owned()).collect()
}

fn read(mut bytes: &[u8]) -> Option<BTreeMap<&str, &[u8]>> {
    let mut digests = BTreeMap::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (digest, rest) = rest.split_at_checked(DIGEST_BYTES)?;
        let name = std::str::from_utf8(name).ok()?;
        // They are shown, and others may have written to the database.
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if !name.chars().all(is_plain) {
            return None;
        }
        digests.insert(name, digest);
        bytes = rest;
    }
    Some(digests)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::entropy::SeededEntropy;

    fn bytes(settings: &[(&str, &str)]) -> Vec<u8> {
        let keyring = Keyring::generate(&SeededEntropy::new(1));
        let settings: Vec<(String, String)> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        to_bytes(&keyring, &settings)
    }

    #[test]
    fn only_the_names_of_what_differs_come_out() {
        let one = bytes(&[("a.enabled", "true"), ("SECRET", "x"), ("ONLY_HERE", "")]);
        let same = bytes(&[("SECRET", "x"), ("ONLY_HERE", ""), ("a.enabled", "true")]);
        assert_eq!(one, same);
        assert!(differing(&one, &same).is_empty());
        let other = bytes(&[("a.enabled", "true"), ("SECRET", "y"), ("ONLY_THERE", "")]);
        assert_eq!(
            differing(&one, &other),
            ["ONLY_HERE", "ONLY_THERE", "SECRET"]
        );
        assert_eq!(differing(&[], &bytes(&[("SECRET", "x")])), ["SECRET"]);
    }

    #[test]
    fn what_is_no_list_of_digests_names_nothing() {
        let good = bytes(&[("SECRET", "x")]);
        let cut = &good[..good.len() - 1];
        let mut strange = good.clone();
        strange[1] = b'\n';
        for bad in [cut, &strange[..], &[7; 32], &[0xff; 3]] {
            assert!(differing(&good, bad).is_empty(), "{bad:?}");
        }
    }

    #[test]
    fn another_key_gives_other_digests_of_the_same_values() {
        let settings = [("SECRET".to_owned(), "x".to_owned())];
        let of = |seed| to_bytes(&Keyring::generate(&SeededEntropy::new(seed)), &settings);
        assert_eq!(differing(&of(1), &of(2)), ["SECRET"]);
    }
}
