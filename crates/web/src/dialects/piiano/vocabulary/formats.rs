//! The formats behind the textual data types, each as one small check or normalization.
//!
//! Written out by hand instead of as regular expressions: values are checked on every call, and compiled expressions
//! would have to live in a global. The one thing a newcomer would get wrong: "digit" is ASCII `0` to `9` here, never
//! `char::is_numeric`, which accepts digits of every script.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use uuid::Uuid;

use super::luhn;

/// `d` in the pattern stands for a digit, every other character for itself.
fn has_shape(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text
            .bytes()
            .zip(pattern.bytes())
            .all(|(byte, wanted)| match wanted {
                b'd' => byte.is_ascii_digit(),
                literal => byte == literal,
            })
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Five digits, optionally four more after a blank or a dash.
pub(super) fn is_zip_code_us(text: &str) -> bool {
    ["ddddd", "ddddd dddd", "ddddd-dddd"]
        .iter()
        .any(|pattern| has_shape(text, pattern))
}

/// Three, two and four digits with a blank or a dash between them (length eleven leaves neither out); the second group
/// is not `00`, the third not `0000`.
pub(super) fn is_ssn(text: &str) -> bool {
    let shaped = ["ddd-dd-dddd", "ddd dd dddd", "ddd-dd dddd", "ddd dd-dddd"]
        .iter()
        .any(|pattern| has_shape(text, pattern));
    shaped && &text[4..6] != "00" && &text[7..11] != "0000"
}

/// Five to seventeen digits.
pub(super) fn is_ban(text: &str) -> bool {
    (5..=17).contains(&text.len()) && all_digits(text)
}

/// Three or four digits.
pub(super) fn is_card_verification_value(text: &str) -> bool {
    (3..=4).contains(&text.len()) && all_digits(text)
}

/// A month from `01` to `12`, a slash, two or four digits of a year.
pub(super) fn is_card_expiration(text: &str) -> bool {
    let shaped = has_shape(text, "dd/dd") || has_shape(text, "dd/dddd");
    shaped && ("01"..="12").contains(&&text[..2])
}

/// `123456789`, `1234/5678` or `12-3456/7890`.
pub(super) fn is_us_bank_routing(text: &str) -> bool {
    ["ddddddddd", "dddd/dddd", "dd-dddd/dddd"]
        .iter()
        .any(|pattern| has_shape(text, pattern))
}

/// The number without dashes: an optional `+`, then 7 to 14 digits, or 15 of which the first is not zero.
pub(super) fn phone_number(text: &str) -> Option<Cow<'_, str>> {
    let normal = without(text, &['-']);
    let digits = normal.strip_prefix('+').unwrap_or(&normal);
    let fits = match digits.len() {
        7..=14 => true,
        15 => !digits.starts_with('0'),
        _ => false,
    };
    (fits && all_digits(digits)).then_some(normal)
}

/// The card number without blanks and dashes: 13 to 19 digits and, if asked for, a valid check digit.
pub(super) fn card_number(text: &str, luhn_required: bool) -> Option<Cow<'_, str>> {
    if text.contains("  ") || text.contains("--") {
        return None;
    }
    let normal = without(text, &[' ', '-']);
    let fits = (13..=19).contains(&normal.len()) && all_digits(&normal);
    (fits && (!luhn_required || luhn::is_valid(&normal))).then_some(normal)
}

/// The UUID in lower case. Only the form with dashes: the product's identifiers have a length of 36.
pub(super) fn object_id(text: &str) -> Option<Cow<'_, str>> {
    if text.len() != 36 || Uuid::try_parse(text).is_err() {
        return None;
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Some(Cow::Owned(text.to_ascii_lowercase()))
    } else {
        Some(Cow::Borrowed(text))
    }
}

fn without<'a>(text: &'a str, dropped: &[char]) -> Cow<'a, str> {
    if text.contains(dropped) {
        Cow::Owned(text.chars().filter(|c| !dropped.contains(c)).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// The non-ASCII characters of addresses: those that the `email` expression of go-playground/validator lists, that is
/// the first plane without surrogates, private use and what no character is assigned to by definition.
fn is_beyond_ascii(c: char) -> bool {
    matches!(c, '\u{A0}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFEF}')
}

/// An e-mail address: atoms joined by dots, or one quoted string; `@`; two or more labels.
pub(super) fn is_email(text: &str) -> bool {
    // The domain holds no `@`, a quoted local part may.
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let local_fits = if local.starts_with('"') {
        is_quoted_string(local)
    } else {
        is_dotted_atoms(local)
    };
    local_fits && is_mail_domain(domain)
}

/// EMAIL_STRICT. How the product is stricter is not known; choice: no quoted string, no trailing dot, and the lengths
/// of RFC 5321 (64 octets before the `@`) and RFC 1035 (63 octets a label, 253 the domain).
pub(super) fn is_email_strict(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    is_dotted_atoms(local)
        && local.len() <= 64
        && is_mail_domain(domain)
        && domain.len() <= 253
        && !domain.ends_with('.')
        && domain.split('.').all(|label| label.len() <= 63)
}

fn is_dotted_atoms(local: &str) -> bool {
    let in_atom = |c: char| {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_beyond_ascii(c)
    };
    local
        .split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(in_atom))
}

/// Between quotation marks: any characters but NUL, `"`, `\` and line ends; a backslash before one more character;
/// blanks and tabs, also folded over a line end (CR LF and at least one blank), as RFC 5322 writes it.
fn is_quoted_string(local: &str) -> bool {
    let Some(inner) = local
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return false;
    };
    let is_blank = |c: &char| matches!(c, ' ' | '\t');
    let mut rest = inner.chars().peekable();
    while let Some(c) = rest.next() {
        let fits = match c {
            '\\' => rest
                .next()
                .is_some_and(|c| !matches!(c, '\0' | '\n') && (c.is_ascii() || is_beyond_ascii(c))),
            '\r' => rest.next() == Some('\n') && rest.peek().is_some_and(is_blank),
            '\0' | '\n' | '"' => false,
            other => other.is_ascii() || is_beyond_ascii(other),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// Two or more labels of letters and digits, inside also `-`, `_` and `~`; the last begins and ends with a letter and
/// may be followed by the root's dot.
fn is_mail_domain(domain: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric() || is_beyond_ascii(c);
    let inside = |c: char| edge(c) || matches!(c, '-' | '_' | '~');
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let Some((_, top)) = domain.rsplit_once('.') else {
        return false;
    };
    domain
        .split('.')
        .all(|label| label.starts_with(edge) && label.ends_with(edge) && label.chars().all(inside))
        && !top.starts_with(|c: char| c.is_ascii_digit())
        && !top.ends_with(|c: char| c.is_ascii_digit())
}

/// An absolute URL, or an absolute path. Blanks, control characters and broken percent escapes are refused in both.
pub(super) fn is_url_or_path(text: &str) -> bool {
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) || !has_whole_escapes(text) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if !scheme_fits {
        return false;
    }
    match rest.strip_prefix("//") {
        Some(after) => {
            let end = after.find(['/', '?', '#']).unwrap_or(after.len());
            is_authority(&after[..end], scheme.eq_ignore_ascii_case("file"))
        }
        // `mailto:…`, `urn:…`: absolute, though without an authority.
        None => !rest.is_empty(),
    }
}

fn is_authority(authority: &str, may_lack_host: bool) -> bool {
    let host_and_port = authority
        .rsplit_once('@')
        .map_or(authority, |(_, after)| after);
    let (host_fits, port) = if let Some(bracketed) = host_and_port.strip_prefix('[') {
        let Some((address, after)) = bracketed.split_once(']') else {
            return false;
        };
        (address.parse::<Ipv6Addr>().is_ok(), after)
    } else {
        let end = host_and_port.find(':').unwrap_or(host_and_port.len());
        let (host, after) = host_and_port.split_at(end);
        let fits = (may_lack_host || !host.is_empty()) && !host.contains(['[', ']']);
        (fits, after)
    };
    let port_fits = match port.strip_prefix(':') {
        Some("") => true,
        Some(digits) => all_digits(digits) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    host_fits && port_fits
}

fn has_whole_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let two = after.as_bytes().get(..2);
        two.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(accepts: impl Fn(&str) -> bool, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(accepts(text), "should be accepted: {text:?}");
        }
        for text in bad {
            assert!(!accepts(text), "should be refused: {text:?}");
        }
    }

    #[test]
    fn numbers_of_the_state_and_of_banks() {
        check(
            is_zip_code_us,
            &["12345", "12345-6789", "12345 6789"],
            &["1234", "123456", "12345_6789", "12345-678", "１2345"],
        );
        check(
            is_ssn,
            &["123-12-1234", "123 12 1234", "000-01-0001", "123-12 1234"],
            &[
                "123121234",
                "123-121234",
                "123-00-1234",
                "123-12-0000",
                "12-123-1234",
                "123-12-12345",
            ],
        );
        check(
            is_ban,
            &["12345", "12345678901234567"],
            &["1234", "123456789012345678", "12345a", ""],
        );
        check(
            is_us_bank_routing,
            &["123456789", "1234/5678", "12-3456/7890"],
            &["12345678", "12-3456-7890", "1234-5678", ""],
        );
    }

    #[test]
    fn cards() {
        check(
            is_card_verification_value,
            &["123", "0000"],
            &["12", "12345", "12a"],
        );
        check(
            is_card_expiration,
            &["01/24", "12/2024", "10/99"],
            &["00/24", "13/24", "1/24", "01-24", "01/024", ""],
        );
        let accepted = |text: &str| card_number(text, true).map(Cow::into_owned);
        assert_eq!(
            accepted("4012 8888 8888 1881").as_deref(),
            Some("4012888888881881")
        );
        assert_eq!(
            accepted("4012-8888-8888-1881").as_deref(),
            Some("4012888888881881")
        );
        assert_eq!(
            accepted("4012888888881881").as_deref(),
            Some("4012888888881881")
        );
        assert_eq!(accepted("4012  888888881881"), None);
        assert_eq!(accepted("4012--888888881881"), None);
        assert_eq!(accepted("4012888888881882"), None, "check digit");
        assert!(card_number("4012888888881882", false).is_some());
        assert_eq!(accepted("422222222222"), None, "twelve digits");
    }

    #[test]
    fn phone_numbers() {
        let normal = |text: &str| phone_number(text).map(Cow::into_owned);
        assert_eq!(normal("+1-121212123").as_deref(), Some("+1121212123"));
        assert_eq!(normal("+1121212123").as_deref(), Some("+1121212123"));
        assert_eq!(normal("0123456").as_deref(), Some("0123456"));
        assert_eq!(
            normal("123456789012345").as_deref(),
            Some("123456789012345")
        );
        for refused in [
            "012345678901234",
            "123456",
            "1234567890123456",
            "+1 121212123",
            "++11212121",
            "(01)2345678",
            "",
        ] {
            assert_eq!(normal(refused), None, "{refused}");
        }
    }

    #[test]
    fn object_ids_become_lower_case() {
        let upper = "CC9A39C5-4734-4786-B317-E16705D5128F";
        assert_eq!(
            object_id(upper).as_deref(),
            Some("cc9a39c5-4734-4786-b317-e16705d5128f")
        );
        for refused in [
            "cc9a39c547344786b317e16705d5128f",
            "{cc9a39c5-4734-4786-b317-e16705d5128f}",
            "cc9a39c5-4734-4786-b317-e16705d5128g",
            "",
        ] {
            assert_eq!(object_id(refused), None, "{refused}");
        }
    }

    #[test]
    fn e_mail_addresses() {
        check(
            is_email,
            &[
                "john@somemail.com",
                "a.b+c@x-y.example.org",
                "o'neil_{x}|~@a.bc",
                "jürgen@müller.de",
                "\"john doe\"@example.com",
                "\"a@b\"@example.com",
                "\"quo\\\"te\"@example.com",
                "\"\"@example.com",
                "\"folded\r\n line\"@example.com",
                "a@b.com.",
                "a@1.2c.de",
            ],
            &[
                "",
                "not an email",
                "a@b",
                "@b.com",
                "a@",
                "a@.com",
                "a@b..com",
                ".a@b.com",
                "a..b@b.com",
                "a.@b.com",
                "a@-b.com",
                "a@b-.com",
                "a@b.c0",
                "a@b.1c",
                "a b@c.de",
                "a@b.com\n",
                "\"a\"b\"@c.de",
                "\"a@c.de",
                "\"a\nb\"@c.de",
                "\"a\r\nb\"@c.de",
                "\"a\\\"@c.de",
                "a\u{1F600}@c.de",
                "a@c.de.(x)",
            ],
        );
        let long = format!("{}@c.de", "a".repeat(65));
        assert!(is_email(&long));
        check(
            is_email_strict,
            &["john@somemail.com"],
            &["\"a\"@c.de", &long, "a@b.com.", "a"],
        );
    }

    #[test]
    fn urls() {
        check(
            is_url_or_path,
            &[
                "https://example.com",
                "http://user:pw@example.com:8080/a?b=c#d",
                "http://[::1]:80/",
                "mailto:a@b.de",
                "urn:isbn:0451450523",
                "file:///etc/hosts",
                "/absolute/path?x=%20",
                "/",
                "https://müller.de/ä",
                "http://a:/",
            ],
            &[
                "",
                "example.com",
                "relative/path",
                "http://",
                "http:///path",
                "http:",
                "1http://a",
                "http://a b",
                "/a b",
                "/a%2",
                "/a%zz",
                "/a\u{7}",
                "http://[::1",
                "http://[x]/",
                "http://a:b/",
                "http://a:65536/",
                "://a",
            ],
        );
    }

    proptest! {
        #[test]
        fn never_panics(text: String, like in "[\"a-z+0-9/: é%@\\[\\]\\\\\r\n.-]{0,40}") {
            for text in [text.as_str(), like.as_str()] {
                let _ = (is_zip_code_us(text), is_ssn(text), is_ban(text), is_card_expiration(text));
                let _ = (is_email(text), is_email_strict(text), is_url_or_path(text), is_us_bank_routing(text));
                let _ = (phone_number(text), card_number(text, true), object_id(text));
            }
        }

        #[test]
        fn normal_forms_are_fixed_points(text in "\\+?[0-9 -]{7,24}") {
            for normal in [phone_number(&text), card_number(&text, false)].into_iter().flatten() {
                prop_assert!(phone_number(&normal).is_none_or(|again| again == normal));
                prop_assert!(card_number(&normal, false).is_none_or(|again| again == normal));
            }
        }
    }
}
