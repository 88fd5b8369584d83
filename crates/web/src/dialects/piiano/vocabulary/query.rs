//! The query string: from the raw, undecoded text to parameters.
//!
//! The one thing a newcomer would get wrong: arrays arrive in *two* forms, as repeated keys and as one value with
//! commas, and for `tags` the comma is also an ordinary character. So a tag list is split at a comma only where the
//! client wrote it raw; after decoding, `,` and `%2C` cannot be told apart. Hence this works on the raw query and
//! never on a decoded map.

use std::fmt;

/// Entries of one list. The same for every list: IDs, objects, tags, properties.
pub const LIST_ITEMS_MAX: usize = 1_000;
/// Bytes of the whole raw query. More than the longest list of UUIDs as repeated keys needs.
pub const BYTES_MAX: usize = 256 * 1024;

/// What is wrong with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryErrorKind {
    /// A broken escape, text that is not UTF-8, U+0000; a scalar given twice; a value that is not allowed.
    Invalid,
    /// The whole query, or a list in it, is longer than its limit.
    TooMany,
}

/// A query that was refused. Holds names and rules, never a parameter's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    pub kind: QueryErrorKind,
    /// The parameter's name; empty if the finding concerns none.
    pub parameter: String,
    pub message: String,
}

impl QueryError {
    /// Characters of a foreign parameter name that an error repeats.
    const NAME_CHARS_MAX: usize = 100;

    fn new(kind: QueryErrorKind, parameter: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            parameter: parameter.chars().take(Self::NAME_CHARS_MAX).collect(),
            message: message.into(),
        }
    }
}

/// The wording of the product's router for findings in a query.
impl fmt::Display for QueryError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "invalid request query param. parameter \"{}\" in query has an error: {}",
            self.parameter, self.message
        )
    }
}

impl std::error::Error for QueryError {}

/// A parsed query. Parameters that nobody asks for are ignored, as the product's router does.
pub struct Query {
    pairs: Vec<Pair>,
}

struct Pair {
    key: String,
    value: String,
    /// The value as it was sent, for the raw commas.
    raw: String,
}

/// A query can hold what the caller selects by; only names are printed.
impl fmt::Debug for Query {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.pairs.iter().map(|pair| &pair.key))
            .finish()
    }
}

impl Query {
    /// Parses the part of a target after `?`, without it. An absent query is the empty string.
    ///
    /// A plus sign is a blank, as in every form-encoded query. Broken escapes are refused in parameters nobody asks
    /// for, too: where a pair ends cannot be trusted otherwise.
    pub fn parse(raw: &str) -> Result<Self, QueryError> {
        if raw.len() > BYTES_MAX {
            let message = format!("a query has at most {BYTES_MAX} bytes");
            return Err(QueryError::new(QueryErrorKind::TooMany, "", message));
        }
        let mut pairs = Vec::new();
        for piece in raw.split('&').filter(|piece| !piece.is_empty()) {
            let (raw_key, raw_value) = piece.split_once('=').unwrap_or((piece, ""));
            let key = decode(raw_key)
                .map_err(|finding| QueryError::new(QueryErrorKind::Invalid, "", finding))?;
            let value = decode(raw_value)
                .map_err(|finding| QueryError::new(QueryErrorKind::Invalid, &key, finding))?;
            pairs.push(Pair {
                key,
                value,
                raw: raw_value.to_owned(),
            });
        }
        Ok(Self { pairs })
    }

    fn named<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q Pair> {
        self.pairs.iter().filter(move |pair| pair.key == name)
    }

    /// A parameter that may be given once. `None` is absent, `Some("")` is `key=` or `key`: for `expiration_secs`
    /// these mean different things.
    pub fn scalar(&self, name: &str) -> Result<Option<&str>, QueryError> {
        let mut found = self.named(name);
        let first = found.next();
        if found.next().is_some() {
            return Err(QueryError::new(
                QueryErrorKind::Invalid,
                name,
                "must be given only once",
            ));
        }
        Ok(first.map(|pair| pair.value.as_str()))
    }

    /// A scalar that is `true` or `false`; empty counts as absent.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, QueryError> {
        match self.scalar(name)? {
            None | Some("") => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(QueryError::new(
                QueryErrorKind::Invalid,
                name,
                "value must be a boolean",
            )),
        }
    }

    /// A list whose items never hold a comma (`token_ids`, `object_ids`, `ids`, `props`, `token_types`): all values of
    /// the key, each split at commas, without empty items. Not given is an empty list.
    pub fn list(&self, name: &str) -> Result<Vec<&str>, QueryError> {
        let items: Vec<&str> = self
            .named(name)
            .flat_map(|pair| pair.value.split(','))
            .filter(|item| !item.is_empty())
            .take(LIST_ITEMS_MAX + 1)
            .collect();
        within_limit(name, items)
    }

    /// The list `tags`, whose items may hold commas: repeated keys are one tag each; a single key is split at the
    /// commas that were written raw. Empty items are left out.
    pub fn tags(&self) -> Result<Vec<String>, QueryError> {
        const NAME: &str = "tags";
        let found: Vec<&Pair> = self.named(NAME).take(LIST_ITEMS_MAX + 1).collect();
        let tags: Vec<String> = match found.as_slice() {
            [single] => single
                .raw
                .split(',')
                .filter(|part| !part.is_empty())
                .take(LIST_ITEMS_MAX + 1)
                // Cannot fail after the whole value was decoded, but that is for `decode` to say.
                .map(|part| {
                    decode(part)
                        .map_err(|finding| QueryError::new(QueryErrorKind::Invalid, NAME, finding))
                })
                .collect::<Result<_, _>>()?,
            several => several
                .iter()
                .map(|pair| pair.value.clone())
                .filter(|tag| !tag.is_empty())
                .collect(),
        };
        within_limit(NAME, tags)
    }

    /// The list `options`, whose items must be unique and among `allowed`. The answer holds entries of `allowed`.
    pub fn options<'a>(&self, allowed: &[&'a str]) -> Result<Vec<&'a str>, QueryError> {
        const NAME: &str = "options";
        let mut options = Vec::new();
        for item in self.list(NAME)? {
            let Some(option) = allowed.iter().find(|option| **option == item) else {
                let message = format!(
                    "value is not one of the allowed values [{}]",
                    allowed
                        .iter()
                        .map(|option| format!("\"{option}\""))
                        .collect::<Vec<_>>()
                        .join(",")
                );
                return Err(QueryError::new(QueryErrorKind::Invalid, NAME, message));
            };
            if options.contains(option) {
                return Err(QueryError::new(
                    QueryErrorKind::Invalid,
                    NAME,
                    "duplicate items found",
                ));
            }
            options.push(*option);
        }
        Ok(options)
    }
}

fn within_limit<T>(name: &str, items: Vec<T>) -> Result<Vec<T>, QueryError> {
    if items.len() > LIST_ITEMS_MAX {
        let message = format!("maximum number of items is {LIST_ITEMS_MAX}");
        return Err(QueryError::new(QueryErrorKind::TooMany, name, message));
    }
    Ok(items)
}

/// Decodes one key or value. The finding says what is wrong, not with which text.
fn decode(raw: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (Some(high), Some(low)) =
                    (rest.next().and_then(nibble), rest.next().and_then(nibble))
                else {
                    return Err("a percent sign must be followed by two hexadecimal digits");
                };
                high << 4 | low
            }
            other => other,
        });
    }
    if bytes.contains(&0) {
        return Err("must not hold the character U+0000");
    }
    String::from_utf8(bytes).map_err(|_| "must be UTF-8")
}

fn nibble(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn query(raw: &str) -> Query {
        Query::parse(raw).unwrap()
    }

    fn refused<T: fmt::Debug>(result: Result<T, QueryError>) -> (QueryErrorKind, String) {
        let error = result.unwrap_err();
        (error.kind, error.parameter)
    }

    #[test]
    fn repeated_keys_and_commas_give_the_same_list() {
        for raw in [
            "token_ids=a&token_ids=b",
            "token_ids=a,b",
            "token_ids=a%2Cb",
            "token_ids=a&x=1&token%5Fids=,b,&token_ids=",
        ] {
            assert_eq!(query(raw).list("token_ids").unwrap(), ["a", "b"], "{raw}");
        }
        for raw in [
            "",
            "token_ids=",
            "token_ids",
            "token_ids=,&token_ids=",
            "other=a",
            "&&",
        ] {
            assert!(query(raw).list("token_ids").unwrap().is_empty(), "{raw}");
        }
    }

    #[test]
    fn tags_split_only_at_a_raw_comma_of_a_single_key() {
        for (raw, expected) in [
            ("tags=a,b", vec!["a", "b"]),
            ("tags=a%2Cb", vec!["a,b"]),
            ("tags=a%2cb,c", vec!["a,b", "c"]),
            ("tags=a,b&tags=c", vec!["a,b", "c"]),
            ("tags=x%2Cy&tags=z", vec!["x,y", "z"]),
            ("tags=a,,b,", vec!["a", "b"]),
            ("tags=", vec![]),
            ("tags=&tags=", vec![]),
            ("tag=a", vec![]),
            ("tags=a+b%20c%2B", vec!["a b c+"]),
        ] {
            assert_eq!(query(raw).tags().unwrap(), expected, "{raw}");
        }
    }

    #[test]
    fn scalars_tell_absent_from_empty_and_come_once() {
        assert_eq!(query("").scalar("expiration_secs").unwrap(), None);
        assert_eq!(
            query("expiration_secs=").scalar("expiration_secs").unwrap(),
            Some("")
        );
        assert_eq!(
            query("expiration_secs").scalar("expiration_secs").unwrap(),
            Some("")
        );
        assert_eq!(
            query("expiration_secs=0&a=1")
                .scalar("expiration_secs")
                .unwrap(),
            Some("0")
        );
        assert_eq!(query("a=b=c").scalar("a").unwrap(), Some("b=c"));
        assert_eq!(
            refused(query("reason=Other&reason=Other").scalar("reason")),
            (QueryErrorKind::Invalid, "reason".to_owned())
        );
        assert!(
            query("zzz=1&zzz=2").scalar("reason").is_ok(),
            "unknown ones are ignored"
        );
        assert_eq!(
            query("reload_cache=true").boolean("reload_cache").unwrap(),
            Some(true)
        );
        assert_eq!(
            query("reload_cache=").boolean("reload_cache").unwrap(),
            None
        );
        assert!(query("reload_cache=1").boolean("reload_cache").is_err());
    }

    #[test]
    fn options_are_unique_and_known() {
        let allowed = ["archived", "include_metadata"];
        assert!(query("options=").options(&allowed).unwrap().is_empty());
        for raw in [
            "options=archived&options=include_metadata",
            "options=archived,include_metadata",
        ] {
            assert_eq!(query(raw).options(&allowed).unwrap(), allowed, "{raw}");
        }
        let error = query("options=archived")
            .options(&["include_metadata"])
            .unwrap_err();
        assert_eq!(
            error.message,
            "value is not one of the allowed values [\"include_metadata\"]"
        );
        assert_eq!(
            error.to_string(),
            "invalid request query param. parameter \"options\" in query has an error: value is not one of the allowed values [\"include_metadata\"]"
        );
        for raw in [
            "options=archived,archived",
            "options=archived&options=archived",
            "options=Archived",
        ] {
            assert!(query(raw).options(&allowed).is_err(), "{raw}");
        }
    }

    #[test]
    fn broken_text_names_its_parameter() {
        for (raw, parameter) in [
            ("a=%", "a"),
            ("a=%2", "a"),
            ("a=%zz", "a"),
            ("a=%+1", "a"),
            ("a=%ff", "a"),
            ("a=%C3", "a"),
            ("a=x%00", "a"),
            ("unknown=%00", "unknown"),
            ("%=a", ""),
            ("%00=a", ""),
        ] {
            assert_eq!(
                refused(Query::parse(raw)),
                (QueryErrorKind::Invalid, parameter.to_owned()),
                "{raw}"
            );
        }
        // A comma inside an escaped character: whole it is not UTF-8 either, so this never reaches a tag.
        assert!(Query::parse("tags=%C3,%A9").is_err());
        assert_eq!(query("a=%C3%A9é").scalar("a").unwrap(), Some("éé"));
    }

    #[test]
    fn limits() {
        let ids = "a,".repeat(LIST_ITEMS_MAX);
        assert_eq!(
            query(&format!("ids={ids}")).list("ids").unwrap().len(),
            LIST_ITEMS_MAX
        );
        assert_eq!(
            refused(query(&format!("ids={ids}b")).list("ids")).0,
            QueryErrorKind::TooMany
        );
        assert_eq!(
            query(&format!("tags={ids}")).tags().unwrap().len(),
            LIST_ITEMS_MAX
        );
        assert_eq!(
            refused(query(&format!("tags={ids}b")).tags()).0,
            QueryErrorKind::TooMany
        );
        let keys = "tags=a&".repeat(LIST_ITEMS_MAX + 1);
        assert_eq!(refused(query(&keys).tags()).0, QueryErrorKind::TooMany);
        assert_eq!(
            refused(Query::parse(&"a".repeat(BYTES_MAX + 1))).0,
            QueryErrorKind::TooMany
        );
        let error = Query::parse(&format!("{}=%", "k".repeat(5000))).unwrap_err();
        assert_eq!(error.parameter.len(), 100);
    }

    #[test]
    fn debug_shows_names_only() {
        assert_eq!(
            format!("{:?}", query("tags=secret&a=b")),
            "[\"tags\", \"a\"]"
        );
    }

    fn escaped(text: &str) -> String {
        let escapes: Vec<String> = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        escapes.concat()
    }

    proptest! {
        #[test]
        fn never_panics(raw: String, like in "([a-z]{1,5}(=[a-z%,+é0-9A-F]{0,9})?&?){0,9}") {
            for raw in [&raw, &like] {
                if let Ok(query) = Query::parse(raw) {
                    let _ = (query.list("a"), query.tags(), query.scalar("a"), query.options(&["a"]), query.boolean("a"));
                }
            }
        }

        #[test]
        fn escaped_tags_come_through_whole(tags in proptest::collection::vec("[^\0]{1,20}", 1..6)) {
            let repeated: Vec<String> = tags.iter().map(|tag| format!("tags={}", escaped(tag))).collect();
            prop_assert_eq!(&query(&repeated.join("&")).tags().unwrap(), &tags);
            let joined: Vec<String> = tags.iter().map(|tag| escaped(tag)).collect();
            prop_assert_eq!(&query(&format!("tags={}", joined.join(","))).tags().unwrap(), &tags);
        }
    }
}
