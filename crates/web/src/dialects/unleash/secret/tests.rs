//! Secrets minted, in headers, in paths and in settings.
//!
//! The one thing a newcomer would get wrong: random texts must not panic anywhere here; all of this is foreign input.

#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn names(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn minted_secrets_name_scope_and_environment() {
    let random = std::array::from_fn(|index| u8::try_from(index * 9).unwrap());
    let hex = "0009121b242d363f48515a636c757e879099a2abb4bdc6cfd8e1eaf3";
    for (projects, scope) in [
        (names(&["default"]), "default"),
        (names(&["*"]), "*"),
        (names(&["a", "b"]), "[]"),
        (names(&["a", "b", "c"]), "[]"),
        (names(&[]), "[]"),
    ] {
        let secret = mint(&projects, "production", &random);
        assert_eq!(secret, format!("{scope}:production.{hex}"));
        let part = ReadablePart::of(&secret).unwrap();
        assert_eq!((part.scope, part.environment), (scope, "production"));
    }
    assert_eq!(hex.len(), 2 * RANDOM_BYTES);
}

#[test]
fn the_kind_is_read_off_the_text() {
    for (text, kind) in [
        ("user:de775459", SecretKind::Personal),
        ("*:*.unleash-admin-token", SecretKind::Admin),
        ("*:*", SecretKind::Admin),
        ("*:development.c927", SecretKind::Api),
        ("default:production.x", SecretKind::Api),
        ("User:x", SecretKind::Api),
        ("no-colon", SecretKind::Api),
    ] {
        assert_eq!(SecretText::new(text).unwrap().kind(), kind, "{text}");
    }
}

#[test]
fn the_readable_part() {
    for (text, expected) in [
        ("default:development.abc", Some(("default", "development"))),
        ("default:development.a.b", Some(("default", "development"))),
        ("default:development:x.y", Some(("default", "development"))),
        ("default:nodot", Some(("default", "nodot"))),
        ("[]:production.1", Some(("[]", "production"))),
        ("*:*.admin", Some(("*", "*"))),
        (":.x", Some(("", ""))),
        ("no-colon", None),
        ("user:abc.def", None),
    ] {
        let part = ReadablePart::of(text).map(|part| (part.scope, part.environment));
        assert_eq!(part, expected, "{text}");
    }
}

#[test]
fn the_shape_is_checked_before_anything_else() {
    assert!(SecretText::new(&"x".repeat(SECRET_BYTES_MAX)).is_some());
    for bad in [
        "",
        "a\0b",
        "a\nb",
        "a\u{7f}",
        "a\u{85}",
        &"x".repeat(SECRET_BYTES_MAX + 1),
    ] {
        assert!(SecretText::new(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn selectors_are_found_alone_and_in_secrets() {
    let selector = "MKJBoBMGGBzy_lXq9DIKNQ";
    let verified = "A".repeat(42) + "_";
    let whole = format!("default:production.v2_{selector}_{verified}");
    assert_eq!(selector_of(selector), Some(selector));
    assert_eq!(selector_of(&whole), Some(selector));
    for none in [
        "",
        "MKJBoBMGGBzy_lXq9DIKN",
        "MKJBoBMGGBzy_lXq9DIKNQQ",
        "MKJBoBMGGBzy+lXq9DIKNQ",
        &whole[..whole.len() - 1],
        &whole.replace(".v2_", ".v3_"),
        &whole.replace(".v2_M", ".v2_é"),
        &"é".repeat(60),
    ] {
        assert_eq!(selector_of(none), None, "{none}");
    }
}

fn secret_of(header: &[u8], bearer: bool) -> String {
    match presented(Some(header), bearer) {
        Presented::Secret(secret) => secret.expose().to_owned(),
        other => panic!("{header:?}: {other:?}"),
    }
}

#[test]
fn authorization_raw_and_bearer() {
    let secret = "*:*.unleash-admin-token";
    for header in [
        "*:*.unleash-admin-token",
        "  *:*.unleash-admin-token ",
        "Bearer *:*.unleash-admin-token",
        "bearer    *:*.unleash-admin-token",
        "BEARER\t*:*.unleash-admin-token",
    ] {
        assert_eq!(secret_of(header.as_bytes(), true), secret, "{header}");
    }
    // Outside /api the scheme is part of the text.
    assert_eq!(secret_of(b"Bearer x", false), "Bearer x");
    // What follows is one text, and a second scheme is none.
    assert_eq!(secret_of(b"Bearer x y", true), "x y");
    assert_eq!(secret_of(b"Bearer Bearer x", true), "Bearer x");
    assert_eq!(secret_of(b"Bearer", true), "Bearer");
    assert_eq!(secret_of(b"Bearer:x", true), "Bearer:x");
    assert_eq!(secret_of(b"Basic YTpi", true), "Basic YTpi");
}

#[test]
fn authorization_absent_and_malformed() {
    for header in [None, Some(&b""[..]), Some(&b"   "[..])] {
        assert!(matches!(presented(header, true), Presented::Absent));
    }
    let long = "x".repeat(SECRET_BYTES_MAX + 1);
    for header in [
        &b"\xff\xfe"[..],
        b"a\x01b",
        b"Bearer a\x7f",
        long.as_bytes(),
    ] {
        assert!(matches!(
            presented(Some(header), true),
            Presented::Malformed
        ));
    }
}

#[test]
fn parameters_are_decoded_once() {
    for (raw, expected) in [
        ("*:development.c9", "*:development.c9"),
        ("%2A%3Adevelopment.c9", "*:development.c9"),
        ("%5B%5D:a%2Fb", "[]:a/b"),
        ("%5b%5d:x", "[]:x"),
        ("%252A", "%2A"),
        ("a+b", "a+b"),
        ("a%20b%2Fc", "a b/c"),
        ("%C3%A9", "é"),
        ("", ""),
    ] {
        assert_eq!(decode_parameter(raw).as_deref(), Ok(expected), "{raw}");
    }
    for broken in ["%zz", "%", "%2", "a%2Gb", "%%20", "%é", "%ff", "%C3"] {
        assert_eq!(decode_parameter(broken), Err(Undecodable), "{broken}");
    }
}

#[test]
fn init_tokens() {
    let tokens = parse_init_tokens(
        "default:development.a, *:production.b ,default:development.a,x:nodot",
        TokenType::Client,
    )
    .unwrap();
    let read: Vec<_> = tokens
        .iter()
        .map(|token| {
            (
                token.secret.expose(),
                token.project.as_str(),
                token.environment.as_str(),
            )
        })
        .collect();
    assert_eq!(
        read,
        [
            ("default:development.a", "default", "development"),
            ("*:production.b", "*", "production"),
            ("x:nodot", "x", "nodot"),
        ]
    );
    let admin = parse_init_tokens("*:*.unleash-admin-token", TokenType::Admin).unwrap();
    assert_eq!(
        (admin[0].project.as_str(), admin[0].environment.as_str()),
        ("*", "*")
    );
    assert!(
        parse_init_tokens("  ", TokenType::Admin)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn init_tokens_that_stop_the_start() {
    use InitTokenFault as Fault;
    for (setting, kind, position, fault) in [
        ("a:b.c,,d:e.f", TokenType::Backend, 2, Fault::Empty),
        (",", TokenType::Backend, 1, Fault::Empty),
        ("a:b.c\u{1}", TokenType::Backend, 1, Fault::Shape),
        ("nocolon", TokenType::Backend, 1, Fault::Form),
        (":development.x", TokenType::Backend, 1, Fault::Form),
        ("default:.x", TokenType::Frontend, 1, Fault::Form),
        (
            "[]:development.x",
            TokenType::Frontend,
            1,
            Fault::SeveralProjects,
        ),
        ("default:*.x", TokenType::Client, 1, Fault::AllEnvironments),
        ("*:*.x", TokenType::Client, 1, Fault::AllEnvironments),
        ("*:*x.y", TokenType::Client, 1, Fault::OtherKind),
        ("user:a.b", TokenType::Client, 1, Fault::OtherKind),
        ("a:b.c,default:*.x", TokenType::Admin, 1, Fault::AdminScope),
        (
            "*:*.a,*:development.x",
            TokenType::Admin,
            2,
            Fault::AdminScope,
        ),
        ("*:*x", TokenType::Admin, 1, Fault::AdminScope),
    ] {
        let error = parse_init_tokens(setting, kind).unwrap_err();
        assert_eq!(error, InitTokenError { position, fault }, "{setting}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("start-up token {position} "))
        );
    }
}

#[test]
fn debug_shows_no_secret() {
    let tokens = parse_init_tokens("default:development.hidden", TokenType::Client).unwrap();
    let header = presented(Some(b"default:development.hidden"), true);
    let error = parse_init_tokens("hidden", TokenType::Client).unwrap_err();
    let debug = format!("{tokens:?} {header:?} {error:?} {error}");
    assert!(!debug.contains("hidden"), "{debug}");
    assert!(debug.contains("SecretText"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,90}|[a-z*:.%_\\[\\],é]{0,90}") {
        let _ = (SecretKind::of(&text), ReadablePart::of(&text), selector_of(&text), SecretText::new(&text));
        let _ = (decode_parameter(&text), parse_init_tokens(&text, TokenType::Client));
    }

    #[test]
    fn no_header_makes_it_panic(header in proptest::collection::vec(any::<u8>(), 0..60), bearer: bool) {
        let _ = presented(Some(&header), bearer);
    }

    #[test]
    fn every_secret_can_be_presented(random: [u8; RANDOM_BYTES], bearer: bool) {
        let secret = mint(&names(&["default"]), "development", &random);
        prop_assert_eq!(secret_of(secret.as_bytes(), bearer), secret);
    }
}
