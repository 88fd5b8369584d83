//! Tables of what a claim fits and what it does not, and of what a transcript may not say.
//! The one thing a newcomer would get wrong: a new kind or directive needs a row that *fails* here, not only one that holds.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::super::pattern::{Bindings, Place, Template};
use super::super::transcript::{Transcript, files_of};
use super::replay;

/// Pairs that differ in one respect each: how they compare as text, as JSON, as sets.
#[tokio::test]
async fn the_three_comparisons() {
    let cases = [
        (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#, [true, true, true]),
        (r#"{"b":2,"a":1}"#, r#"{"a":1,"b":2}"#, [false, true, true]),
        (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, [false, false, false]),
        (r#"{"a":1,"b":2}"#, r#"{"a":1}"#, [false, false, false]),
        (
            r#"{"a":1,"c":2}"#,
            r#"{"a":1,"b":2}"#,
            [false, false, false],
        ),
        (
            r#"{"a":1,"...":""}"#,
            r#"{"a":1,"b":2}"#,
            [false, true, true],
        ),
        ("[1,2]", "[2,1]", [false, false, true]),
        ("[1,2,2]", "[2,1,1]", [false, false, false]),
        ("[1,2]", "[2,1,1]", [false, false, false]),
        (
            r#"["{{x:text}}","{{x}}"]"#,
            r#"["a","b"]"#,
            [false, false, false],
        ),
        (
            r#"[["{{x:text}}"],["b","{{x}}"]]"#,
            r#"[["a"],["b","a"]]"#,
            [true, true, true],
        ),
        // The second claim only holds if the first takes the second item: choices are taken back.
        (
            r#"["{{any:text}}","a"]"#,
            r#"["a","b"]"#,
            [false, false, true],
        ),
        ("1", "1.0", [false, false, false]),
        ("1", "\"1\"", [false, false, false]),
        (r#""{{any:int}}""#, "1", [false, false, false]),
        ("{{any:int}}", "1", [true, true, true]),
        ("{{any:strings}}", r#"{"a":"b"}"#, [true, true, true]),
        ("{{any:strings}}", "{}", [true, true, true]),
        ("{{any:strings}}", r#"{"a":{}}"#, [false, false, false]),
        ("{{any:strings}}", "null", [false, false, false]),
        ("{{any:maybe_time}}", "null", [true, true, true]),
        (
            "{{any:maybe_time}}",
            "\"2026-01-01T00:00:00.000Z\"",
            [true, true, true],
        ),
        ("{{any:maybe_time}}", "\"never\"", [false, false, false]),
        (
            r#"{"m":"{{any:text}}"}"#,
            r#"{"m":"a%20\"b\""}"#,
            [true, true, true],
        ),
        (
            r#"{"m":"{{any:text}}"}"#,
            r#"{"m":"a","n":"b"}"#,
            [false, false, false],
        ),
        ("1", "no%20json", [false, false, false]),
    ];
    for (expected, got, verdicts) in cases {
        for (how, holds) in ["text", "json", "set"].into_iter().zip(verdicts) {
            let text = format!("=== x\n@compare {how}\nGET /json?{got}\n--- 200\n\n{expected}");
            let outcome = replay(&[&text]).await;
            assert_eq!(
                outcome.is_ok(),
                holds,
                "{how}: {expected} against {got}: {outcome:?}"
            );
        }
    }
}

#[test]
fn kinds_are_claims() {
    let long = "0".repeat(56);
    let cases = [
        ("uuid", "d27923c6-5d16-41e3-89ee-118b05a25372", true),
        ("uuid", "D27923C6-5d16-41e3-89ee-118b05a25372", false),
        ("uuid", "d27923c65d16-41e3-89ee-118b05a25372", false),
        ("hex56", &long, true),
        ("hex55", &long, false),
        ("hex4", "00fg", false),
        ("digits6", "012345", true),
        ("digits6", "01234a", false),
        ("int", "-12", true),
        ("int", "12.5", false),
        ("int", "", false),
        ("time", "2026-01-01T00:00:00Z", true),
        ("time", "2026-01-01T00:00:00.123456Z", true),
        ("time", "2026-01-01T00:00:00.Z", false),
        ("time", "2026-01-01T00:00:00", false),
        ("time", "2026-01-01", false),
        ("time", "2026-01-01 00:00:00Z", false),
        ("etag", "W/\"d-EzsVGk6mdsy6JAdqDBCDhB4HxZE\"", true),
        ("etag", "\"d-EzsVGk6mdsy6JAdqDBCDhB4HxZE\"", false),
        ("etag", "W/\"d-EzsVGk6mdsy6JAdqDBCDhB4HxZ\"", false),
        ("pv", "PV1012", true),
        ("pv", "PV101", false),
        ("pv", "TH0001", false),
        ("th", "TH0001", true),
        ("th", "TH", false),
        ("th", "PV1012", false),
        ("text", "anything \"at\" all", true),
        ("text", "", false),
        ("text", "two\nlines", false),
        ("all", "two\nlines", true),
        ("all", "", true),
    ];
    for (kind, value, holds) in cases {
        let template = Template::parse(&format!("<{{{{x:{kind}}}}}>")).unwrap();
        let matched = template.matches(&format!("<{value}>"), Place::Line, &Bindings::default());
        assert_eq!(matched.is_some(), holds, "{kind}: {value:?}");
    }
}

#[test]
fn mistakes_in_a_file_are_found_before_anything_is_sent() {
    let exchange = "=== x\nGET /\n--- 200";
    let cases = [
        ("", "no exchange"),
        ("# only a comment\n", "no exchange"),
        ("@colour blue\n", "`@colour` is not known at the head"),
        ("@setting NAME\n", "expected `@setting NAME=value`"),
        ("@let x=y\n", "expected `@let name = text`"),
        ("stray\n=== x\n", "`stray` is not known at the head"),
        ("=== x\n", "1: the exchange has no request"),
        ("=== x\nGET /\n", "2: the exchange has no answer"),
        ("=== x\nGET\n--- 200", "expected `METHOD /path`"),
        ("=== x\nget /\n--- 200", "`get` is not a method"),
        ("=== x\nGET /a b\n--- 200", "is not a path"),
        ("=== x\nGET x\n--- 200", "is not a path"),
        (
            "=== x\nGET /\nno header\n--- 200",
            "`no header` is not a header",
        ),
        (
            "=== x\nGET /\nX Y: z\n--- 200",
            "`X Y` is not a header's name",
        ),
        ("=== x\nGET /\n--- fine", "`fine` is not a status"),
        ("=== x\nGET /\n\nbody\n=== y\n", "expected `--- <status>`"),
        ("=== x\n@clock 5s\nGET /\n--- 200", "`@clock 5s`: expected"),
        (
            "=== x\n@clock +5weeks\nGET /\n--- 200",
            "`@clock +5weeks`: expected",
        ),
        (
            "=== x\n@compare loosely\nGET /\n--- 200",
            "`@compare loosely`",
        ),
        (
            "=== x\n@wait +5s\nGET /\n--- 200",
            "`@wait +5s` is not known in an exchange",
        ),
        (
            "=== x\nGET /{{y}}\n--- 200",
            "nothing before this captures `y`",
        ),
        (
            "=== x\nGET /{{y:uuid}}\n--- 200",
            "`y` states a kind in a request",
        ),
        (
            "=== x\nGET /\n--- 200\n\n{{y}}",
            "`y` has no kind and nothing before this captures it",
        ),
        ("=== x\nGET /\n--- 200\n\n{{any}}", "`any` has no kind"),
        (
            "@let y = z\n=== x\nGET /\n--- 200\n\n{{y:text}}",
            "`y` is the name of a text of the head",
        ),
        (
            "=== x\nGET /\n--- 200\n\n{{y:colour}}",
            "there is no kind `colour`",
        ),
        (
            "=== x\nGET /\n--- 200\n\n{{y z:text}}",
            "`y z` is not a name",
        ),
        ("=== x\nGET /\n--- 200\n\n{{y:text", "`{{` without `}}`"),
        ("=== x\nGET /\n\n{{bytes:f}}\n--- 200", "hex digits"),
        (
            "=== x\nGET /\n\n{{repeat:x:y}}\n--- 200",
            "`x` is not a count",
        ),
        (
            "=== x\n@compare json\nGET /\n--- 200\n\n{not json}",
            "the expected body is not JSON",
        ),
        (
            &format!("{exchange}\n{exchange}"),
            "4: a second exchange named `x`",
        ),
    ];
    for (text, finding) in cases {
        let error = Transcript::parse(text).expect_err(text);
        assert!(error.contains(finding), "{text:?}: {error}");
    }
    assert!(Transcript::parse(exchange).is_ok());
}

/// Needs no server: a transcript that cannot be read is found by this test even where the replay itself does not run.
#[test]
fn the_transcripts_of_the_project_can_be_read() {
    let transcripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut exchanges = 0;
    for dialect in std::fs::read_dir(&transcripts)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_dir())
    {
        for (name, text) in files_of(&dialect.path()).unwrap() {
            match Transcript::parse(&text) {
                Ok(transcript) => exchanges += transcript.exchanges.len(),
                Err(finding) => panic!("{name}:{finding}"),
            }
        }
    }
    assert!(exchanges > 0, "{}", transcripts.display());
}

/// The README's example must stay one.
#[test]
fn the_example_in_the_readme_is_a_transcript() {
    let readme = include_str!("../../../transcripts/README.md");
    let (_, rest) = readme.split_once("```text\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let transcript = Transcript::parse(example).unwrap();
    assert_eq!(transcript.exchanges.len(), 3);
}
