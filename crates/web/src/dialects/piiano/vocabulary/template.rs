//! Format-preserving token IDs: the template `primary_account_number`.
//!
//! The one thing a newcomer would get wrong: there are only 100,000 IDs for one seed. Six of the sixteen digits are
//! free, and one of those six is spent on the check digit, so collisions inside a collection are ordinary and the
//! caller must be ready to take the next candidate.

use std::fmt;

use super::luhn;

/// Digits of every ID made here, whatever the length of the seed.
const ID_DIGITS: usize = 16;
/// Digits taken over from the beginning of the seed (the issuer's number).
const HEAD_DIGITS: usize = 6;
/// Digits taken over from the end of the seed.
const TAIL_DIGITS: usize = 4;
/// Free digits: those between head and tail, less one that makes the number Luhn-valid.
const SPACE: u64 = 100_000;
/// The highest digit position (from the left) of the free part; it balances the check sum.
const BALANCING_POSITION: usize = HEAD_DIGITS + 5;

/// How many candidates one call may try before it gives up.
///
/// Even when nine of ten IDs of a seed are taken, 64 tries fail once in about 850 calls; a collection that full needs
/// another scope or plain IDs, and searching longer would only hide that.
pub const CANDIDATES_MAX: u32 = 64;

/// The templates that `fptemplate` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// Sixteen digits, Luhn-valid, with the first six and the last four digits of a card number.
    PrimaryAccountNumber,
}

impl Template {
    /// The template of this wire name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Self::PrimaryAccountNumber.name()).then_some(Self::PrimaryAccountNumber)
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrimaryAccountNumber => "primary_account_number",
        }
    }

    /// The candidates for one new ID. `seed` is a normalized CC_NUMBER (13 to 19 digits), `random` fresh random bytes.
    ///
    /// Token IDs are not secrets, so it is enough that the start and the stride of the walk are random. The caller
    /// takes the first candidate that its collection does not hold yet; see [`Candidates`] for when they end.
    pub fn candidates(self, seed: &str, random: [u8; 16]) -> Result<Candidates, SeedError> {
        match self {
            Self::PrimaryAccountNumber => Candidates::new(seed, random),
        }
    }
}

/// The seed is not 13 to 19 ASCII digits. Says nothing about the seed itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeedError;

impl fmt::Display for SeedError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the seed of a primary account number must have 13 to 19 digits")
    }
}

impl std::error::Error for SeedError {}

/// A bounded walk over distinct IDs: ends after [`CANDIDATES_MAX`] of them. The seed's own number is never among them,
/// because then the ID would be the card number it replaces.
pub struct Candidates {
    seed: String,
    frame: [u8; ID_DIGITS],
    next: u64,
    stride: u64,
    left: u32,
}

/// A seed is a card number, so neither it nor its digits are printed.
impl fmt::Debug for Candidates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Candidates")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Candidates {
    fn new(seed: &str, random: [u8; 16]) -> Result<Self, SeedError> {
        if !(13..=19).contains(&seed.len()) || !seed.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SeedError);
        }
        let mut frame = [0; ID_DIGITS];
        let digits: Vec<u8> = seed.bytes().map(|byte| byte - b'0').collect();
        frame[..HEAD_DIGITS].copy_from_slice(&digits[..HEAD_DIGITS]);
        frame[ID_DIGITS - TAIL_DIGITS..].copy_from_slice(&digits[digits.len() - TAIL_DIGITS..]);

        let random = u128::from_be_bytes(random);
        let space = u128::from(SPACE);
        // 2^128 is so much larger than the space that the bias of the remainder cannot be observed.
        let next = u64::try_from(random % space).expect("a remainder below 100,000");
        let tens = u64::try_from(random / space % (space / 10)).expect("a remainder below 10,000");
        // A stride that ends in 1, 3, 7 or 9 has no factor in common with 100,000: the walk meets every ID once.
        let unit = [1, 3, 7, 9][usize::try_from(random >> 126).expect("two bits")];
        Ok(Self {
            seed: seed.to_owned(),
            frame,
            next,
            stride: tens * 10 + unit,
            left: CANDIDATES_MAX,
        })
    }

    /// The ID whose five free digits are `free`, the sixth chosen so that the check digit is right.
    fn fill(&self, free: u64) -> String {
        let mut digits = self.frame;
        let mut rest = free;
        for digit in &mut digits[HEAD_DIGITS..BALANCING_POSITION] {
            *digit = u8::try_from(rest % 10).expect("a decimal digit");
            rest /= 10;
        }
        // With sixteen digits position 11 is the fifth from the right, which Luhn's rule leaves undoubled.
        digits[BALANCING_POSITION] = (10 - luhn::remainder(&digits)) % 10;
        digits
            .iter()
            .map(|digit| char::from(b'0' + digit))
            .collect()
    }
}

impl Iterator for Candidates {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        while self.left > 0 {
            let candidate = self.fill(self.next);
            self.next = (self.next + self.stride) % SPACE;
            if candidate != self.seed {
                self.left -= 1;
                return Some(candidate);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn candidates(seed: &str, random: [u8; 16]) -> Result<Candidates, SeedError> {
        Template::PrimaryAccountNumber.candidates(seed, random)
    }

    #[test]
    fn names() {
        assert_eq!(
            Template::from_name("primary_account_number"),
            Some(Template::PrimaryAccountNumber)
        );
        assert_eq!(Template::from_name("PRIMARY_ACCOUNT_NUMBER"), None);
    }

    #[test]
    fn keeps_head_and_tail_also_of_other_lengths() {
        for (seed, tail) in [
            ("4012888888881881", "1881"),
            ("4222222222222", "2222"),
            ("6304000000000000000", "0000"),
        ] {
            let id = candidates(seed, [7; 16]).unwrap().next().unwrap();
            assert_eq!(id.len(), 16);
            assert_eq!(&id[..6], &seed[..6]);
            assert!(id.ends_with(tail));
            assert!(luhn::is_valid(&id));
        }
    }

    #[test]
    fn the_walk_is_bounded_and_skips_the_seed() {
        // Five zeros in the middle with the right balancing digit: a seed that is its own first candidate.
        let own = candidates("4012880000001881", [0; 16])
            .unwrap()
            .next()
            .unwrap();
        let walk: Vec<String> = candidates(&own, [0; 16]).unwrap().collect();
        assert_eq!(walk.len(), CANDIDATES_MAX as usize);
        assert!(!walk.contains(&own));
    }

    #[test]
    fn wrong_seeds() {
        for seed in [
            "",
            "123456789012",
            "12345678901234567890",
            "40128888888818 1",
            "４012888888881881",
        ] {
            assert_eq!(candidates(seed, [0; 16]).unwrap_err(), SeedError, "{seed}");
        }
    }

    #[test]
    fn debug_shows_no_digit_of_the_seed() {
        let text = format!("{:?}", candidates("4012888888881881", [1; 16]).unwrap());
        assert!(!text.contains("4012") && !text.contains("1881"), "{text}");
    }

    proptest! {
        #[test]
        fn every_candidate_is_valid_and_distinct(seed in "[0-9]{13,19}", random: [u8; 16]) {
            let walk: Vec<String> = candidates(&seed, random).unwrap().collect();
            prop_assert_eq!(walk.iter().collect::<HashSet<_>>().len(), walk.len());
            for id in walk {
                prop_assert!(luhn::is_valid(&id));
                prop_assert_eq!(&id[..6], &seed[..6]);
                prop_assert_eq!(&id[12..], &seed[seed.len() - 4..]);
                prop_assert_ne!(&id, &seed);
            }
        }

        #[test]
        fn never_panics(seed: String, random: [u8; 16]) {
            let _ = candidates(&seed, random);
        }
    }
}
