//! Entity tags: the weak one that every JSON answer carries, and the strong one of the feature list.
//!
//! The one thing a newcomer would get wrong: SHA-1 stands here because it is on the wire, not to protect anything. A tag
//! only says "you have seen these bytes"; nothing may rest on it being hard to forge.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::wire::FeatureQuery;

/// Characters of a base64 SHA-1 before its padding.
const DIGEST_CHARS: usize = 27;

/// The tag of a body: `W/"<length in bytes, hex>-<base64 of its SHA-1 without padding>"`.
pub(super) fn weak(body: &[u8]) -> String {
    let digest = STANDARD.encode(Sha1::digest(body));
    format!("W/\"{:x}-{}\"", body.len(), &digest[..DIGEST_CHARS])
}

/// Eight hex digits (rarely nine) that stand for the query of a feature list: what `hash-sum`, a package of JavaScript,
/// says of the object in which the product keeps that query.
///
/// The object's members go in by name. Besides those of the query it has two that are there and undefined, as `project` is
/// for a token of all projects.
pub(super) fn query_hash(query: &FeatureQuery<'_>) -> String {
    let inline = if query.inline_segment_constraints {
        "true"
    } else {
        "false"
    };
    let mut sum = HashSum::default();
    sum.begin("", "[object Object]", "object");
    sum.scalar(
        "environment",
        "[object String]",
        "string",
        query.environment,
    );
    sum.scalar(
        "inlineSegmentConstraints",
        "[object Boolean]",
        "boolean",
        inline,
    );
    sum.undefined("namePrefix");
    match query.project {
        None => sum.undefined("project"),
        Some(projects) => {
            sum.begin("project", "[object Array]", "object");
            let mut items: Vec<(String, &String)> = projects
                .iter()
                .enumerate()
                .map(|(index, project)| (index.to_string(), project))
                .collect();
            // Indexes are names too, so that 10 comes before 2.
            items.sort();
            for (index, project) in &items {
                sum.scalar(index, "[object String]", "string", project);
            }
            sum.fold(&projects.join(","));
        }
    }
    sum.undefined("tag");
    sum.fold("[object Object]");
    format!("{:08x}", sum.0)
}

/// The state of a `hash-sum`: up to 33 bits, never negative between two texts.
#[derive(Debug, Default)]
struct HashSum(i64);

impl HashSum {
    /// 31 times the sum plus each UTF-16 unit, in 32 bits with a sign; a negative result is doubled and made positive.
    fn fold(&mut self, text: &str) {
        for unit in text.encode_utf16() {
            let shifted = i64::from(low_word(self.0).wrapping_shl(5));
            self.0 = i64::from(low_word(shifted - self.0 + i64::from(unit)));
        }
        if self.0 < 0 {
            self.0 *= -2;
        }
    }

    /// What comes before every value: its name, and what JavaScript says of its class and type.
    fn begin(&mut self, name: &str, class: &str, kind: &str) {
        for text in [name, class, kind] {
            self.fold(text);
        }
    }

    fn scalar(&mut self, name: &str, class: &str, kind: &str, text: &str) {
        self.begin(name, class, kind);
        self.fold(text);
    }

    fn undefined(&mut self, name: &str) {
        self.scalar(name, "[object Undefined]", "undefined", "undefined");
    }
}

/// The lower 32 bits with a sign, as JavaScript's operators on bits see a number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "cutting off is what this does"
)]
const fn low_word(number: i64) -> i32 {
    number as i32
}

/// The tag of a feature list: `"<query hash>:<revision>:v1"`, quotes included.
pub(super) fn strong(query_hash: &str, revision: u64) -> String {
    format!("\"{query_hash}:{revision}:v1\"")
}

/// Whether `If-None-Match` says that the caller has what `etag` names already, so that 304 is enough.
///
/// Compared weakly, as RFC 9110 asks for this header (section 13.1.2). Several header lines are to be joined with a
/// comma. `Cache-Control: no-cache` beats it wherever the product honours that, which the feature list does not: pass
/// `None` there.
pub(super) fn is_fresh(
    if_none_match: Option<&str>,
    cache_control: Option<&str>,
    etag: &str,
) -> bool {
    let Some(wanted) = if_none_match else {
        return false;
    };
    let no_cache = cache_control.is_some_and(|header| {
        header
            .split(',')
            .any(|directive| directive.trim() == "no-cache")
    });
    if no_cache {
        return false;
    }
    // The product's tags hold no comma, so cutting at commas cannot cut through one of them.
    wanted.trim() == "*"
        || wanted
            .split(',')
            .any(|tag| opaque(tag.trim()) == opaque(etag))
}

/// A tag without its mark of weakness.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies as the product answered them, with the tags it gave them.
    const RECORDED: [(&str, &str); 9] = [
        (r#"{"tokens":[]}"#, r#"W/"d-EzsVGk6mdsy6JAdqDBCDhB4HxZE""#),
        (r#"{"toggles":[]}"#, r#"W/"e-s5xwV9+7QhSQAlOjSJ/Y5v+WCp4""#),
        (
            r#"{"message":"request entity too large"}"#,
            r#"W/"26-9OXe+kVecYqf1YxXhLh+N9hDIoY""#,
        ),
        (
            r#"{"message":"Unexpected end of JSON input"}"#,
            r#"W/"2a-KqBpO0Z5KQeod29UY2/xxiBDDME""#,
        ),
        (
            r#"{"message":"invalid token: expected a different token type for this endpoint"}"#,
            r#"W/"4e-jt5pdNmry+4oIyoRuLQ0uCE+BA8""#,
        ),
        (
            r#"{"id":"ad7e0639-8ffa-46b2-ba63-e025600e28d0","name":"UnauthorizedError","message":"You must log in to use Unleash.","details":[{"message":"You must log in to use Unleash."}]}"#,
            r#"W/"ae-MHQw+zpSdkFOUVefVySedK+TD1Y""#,
        ),
        (
            r#"{"tokenName":"наме-名-😀","projects":["*"],"environment":"development","secret":"*:development.ed6468b7af273af5c45a46a7e0a6a4b41992da5dc77d4600ffff02f6","type":"client","alias":null,"project":"*","createdAt":"2026-11-22T01:46:38.396Z","secure":false}"#,
            r#"W/"101-W5OsdqwntMcjBT+tCP6MH52m4k8""#,
        ),
        (
            r#"{"tokens":[{"secret":"default:development.unleash-client-token","tokenName":"admin","type":"client","project":"default","projects":["default"],"environment":"development","expiresAt":null,"createdAt":"2026-11-22T01:46:36.526Z","alias":null,"seenAt":null,"secure":false},{"secret":"default:development.unleash-frontend-token","tokenName":"admin","type":"frontend","project":"default","projects":["default"],"environment":"development","expiresAt":null,"createdAt":"2026-11-22T01:46:36.533Z","alias":null,"seenAt":null,"secure":false},{"secret":"*:*.unleash-admin-token","tokenName":"admin","type":"admin","project":"*","projects":["*"],"environment":"*","expiresAt":null,"createdAt":"2026-11-22T01:46:36.526Z","alias":null,"seenAt":null,"secure":false}]}"#,
            r#"W/"2f1-SW293w2yBTJsJ8Ioyu1v3ME8qfw""#,
        ),
        (
            "GET,HEAD,PUT,DELETE",
            r#"W/"13-dU6690u+/fZ3lEqFItU6CiBI3Wo""#,
        ),
    ];

    #[test]
    fn weak_tags_are_those_that_were_recorded() {
        for (body, etag) in RECORDED {
            assert_eq!(weak(body.as_bytes()), etag, "{body}");
        }
    }

    #[test]
    fn if_none_match_is_compared_weakly() {
        let etag = weak(br#"{"tokens":[]}"#);
        for fresh in [
            r#"W/"d-EzsVGk6mdsy6JAdqDBCDhB4HxZE""#,
            r#""d-EzsVGk6mdsy6JAdqDBCDhB4HxZE""#,
            r#""x", W/"d-EzsVGk6mdsy6JAdqDBCDhB4HxZE""#,
            r#" "a" ,W/"d-EzsVGk6mdsy6JAdqDBCDhB4HxZE" , "b""#,
            "*",
        ] {
            assert!(is_fresh(Some(fresh), None, &etag), "{fresh}");
        }
        for stale in [
            "",
            r#""x""#,
            r#"W/"d-EzsVGk6mdsy6JAdqDBCDhB4HxZE"x"#,
            r#"xW/"d-EzsVGk6mdsy6JAdqDBCDhB4HxZE""#,
            r#"w/"d-EzsVGk6mdsy6JAdqDBCDhB4HxZE""#,
            "W/d-EzsVGk6mdsy6JAdqDBCDhB4HxZE",
            r#""x", *"#,
        ] {
            assert!(!is_fresh(Some(stale), None, &etag), "{stale}");
        }
        assert!(!is_fresh(None, None, &etag));
    }

    #[test]
    fn no_cache_beats_if_none_match() {
        let etag = weak(b"{}");
        for (cache_control, fresh) in [
            ("no-cache", false),
            ("max-age=0, no-cache", false),
            ("max-age=0", true),
            ("x-no-cache", true),
        ] {
            assert_eq!(
                is_fresh(Some(&etag), Some(cache_control), &etag),
                fresh,
                "{cache_control}"
            );
        }
    }

    #[test]
    fn a_strong_tag_matches_itself_also_when_a_proxy_weakened_it() {
        let etag = strong("6ef7ec5a", 0);
        assert_eq!(etag, "\"6ef7ec5a:0:v1\"");
        assert!(is_fresh(Some("\"6ef7ec5a:0:v1\""), None, &etag));
        assert!(is_fresh(Some("W/\"6ef7ec5a:0:v1\""), None, &etag));
        assert!(!is_fresh(Some("\"6ef7ec5a:1:v1\""), None, &etag));
    }

    #[test]
    fn query_hashes_are_those_that_were_recorded() {
        let of = |projects: Option<&[&str]>, environment, inline_segment_constraints| {
            let projects: Option<Vec<String>> =
                projects.map(|names| names.iter().map(|&name| name.to_owned()).collect());
            query_hash(&FeatureQuery {
                project: projects.as_deref(),
                environment,
                inline_segment_constraints,
            })
        };
        for (projects, environment, inline, hash) in [
            (Some(&["default"][..]), "development", true, "6ef7ec5a"),
            (Some(&["default"]), "development", false, "1fc12c72"),
            (Some(&["default"]), "production", true, "9e6ab8a8"),
            (Some(&["two", "default"]), "development", true, "226ce5e0"),
            (None, "development", true, "76d8bb0e"),
            (None, "development", false, "537b2ba0"),
        ] {
            assert_eq!(of(projects, environment, inline), hash);
        }
    }
}
