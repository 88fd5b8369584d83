//! The Luhn check digit of card numbers (ISO/IEC 7812-1, annex B).
//!
//! The one thing a newcomer would get wrong: doubling starts at the *second digit from the right*, so a 15-digit
//! number doubles other positions than a 16-digit one.

/// The Luhn sum modulo 10 of decimal digits given as numbers 0 to 9; zero means valid.
pub(super) fn remainder(digits: &[u8]) -> u8 {
    let mut sum = 0;
    for (from_right, digit) in digits.iter().rev().enumerate() {
        let weighted = if from_right % 2 == 1 {
            doubled(*digit)
        } else {
            *digit
        };
        sum = (sum + weighted) % 10;
    }
    sum
}

/// What a doubled digit contributes: the digit sum of twice its value. It is a permutation of 0 to 9, which is why any
/// single position of a number can be chosen such that the number becomes valid.
pub(super) fn doubled(digit: u8) -> u8 {
    let twice = digit * 2;
    if twice > 9 { twice - 9 } else { twice }
}

/// Whether a text of ASCII digits has a valid check digit. Any other character, or no character, is invalid.
pub(super) fn is_valid(text: &str) -> bool {
    let digits: Option<Vec<u8>> = text
        .bytes()
        .map(|byte| byte.is_ascii_digit().then(|| byte - b'0'))
        .collect();
    digits.is_some_and(|digits| !digits.is_empty() && remainder(&digits) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers() {
        for valid in [
            "4012888888881881",
            "378282246310005",
            "4222222222222",
            "4012882413281881",
        ] {
            assert!(is_valid(valid), "{valid}");
        }
        for invalid in ["4012888888881882", "", "4012 8888", "401288888888188a"] {
            assert!(!is_valid(invalid), "{invalid}");
        }
    }

    #[test]
    fn doubling_is_a_permutation() {
        let mut seen: Vec<u8> = (0..10).map(doubled).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<u8>>());
    }
}
