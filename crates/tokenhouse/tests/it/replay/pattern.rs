//! Texts with holes, `{{name:kind}}`: what a transcript expects, and the same texts filled in for requests.
//! The one thing a newcomer would get wrong: a hole's kind is a *claim*, not a hint. A captured value that is not of its
//! kind is a mismatch, and a name that is already captured must occur again byte for byte.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// What has been captured so far in a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bindings(BTreeMap<String, String>);

impl Bindings {
    /// Names that begin with `_` live for one exchange only.
    pub(super) fn forget_locals(&mut self) {
        self.0.retain(|name, _| !name.starts_with('_'));
    }

    fn with(&self, name: &str, value: &str) -> Self {
        let mut more = self.clone();
        if name != ANONYMOUS {
            more.0.insert(name.to_owned(), value.to_owned());
        }
        more
    }
}

/// The name that is never remembered.
pub(super) const ANONYMOUS: &str = "any";

/// Where a template is matched, which decides where a `text` hole must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A header's value or an unescaped JSON string: a hole may hold quotes.
    Line,
    /// A body as it came: a `text` hole ends before the next unescaped quote, so that it cannot swallow further fields.
    Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Hole { name: String, kind: Option<Kind> },
}

/// What a hole may hold. The list is part of the format: see the README beside the transcripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    All,
    Uuid,
    Hex(usize),
    Digits(usize),
    Int,
    Time,
    MaybeTime,
    EntityTag,
    VaultCode,
    OwnCode,
    Json,
    Strings,
}

/// Literal bytes and holes, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

impl Template {
    /// Reads a text of a transcript. The error is a sentence for the writer of the transcript.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some((before, inner, after)) = next_hole(rest)? {
            literal.extend_from_slice(before.as_bytes());
            rest = after;
            if let Some(arguments) = inner.strip_prefix("repeat:") {
                literal.extend_from_slice(&repeated(arguments)?);
            } else if let Some(digits) = inner.strip_prefix("bytes:") {
                literal.extend_from_slice(&bytes(digits)?);
            } else {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(hole(inner)?);
            }
        }
        literal.extend_from_slice(rest.as_bytes());
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names of the holes with whether each states a kind, in order: the parser's check that no name is used unheard.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Hole { name, kind } => Some((name.as_str(), kind.is_some())),
        })
    }

    /// The bytes to send; `Err` is the name of a hole that nothing has been captured for.
    pub(super) fn fill(&self, bindings: &Bindings) -> Result<Vec<u8>, String> {
        let mut filled = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => filled.extend_from_slice(bytes),
                Piece::Hole { name, .. } => {
                    filled.extend_from_slice(
                        bindings.0.get(name).ok_or_else(|| name.clone())?.as_bytes(),
                    );
                }
            }
        }
        Ok(filled)
    }

    /// The template as a person reads it: captures put in, open holes left as they are written.
    pub(super) fn shown(&self, bindings: &Bindings) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
                Piece::Hole { name, kind } => match (bindings.0.get(name), kind) {
                    (Some(value), _) => text.push_str(value),
                    (None, Some(kind)) => {
                        let _ = write!(text, "{{{{{name}:{}}}}}", kind.name());
                    }
                    (None, None) => {
                        let _ = write!(text, "{{{{{name}}}}}");
                    }
                },
            }
        }
        text
    }

    /// Matches the whole of `text`; the bindings afterwards, or nothing if it does not fit.
    pub(super) fn matches(
        &self,
        text: &str,
        place: Place,
        bindings: &Bindings,
    ) -> Option<Bindings> {
        matches_from(&self.0, text, place, bindings)
    }

    /// A template that is one single hole fits a whole JSON value of any type (`{{n:int}}` outside quotes).
    pub(super) fn matches_value(&self, value: &Value, bindings: &Bindings) -> Option<Bindings> {
        let text = match value {
            Value::String(text) if !self.states_quotes() => text.clone(),
            other => other.to_string(),
        };
        self.matches(&text, Place::Line, bindings)
    }

    /// Kinds that describe JSON as written, quotes and all.
    fn states_quotes(&self) -> bool {
        matches!(
            self.0.as_slice(),
            [Piece::Hole {
                kind: Some(Kind::Json | Kind::Strings | Kind::MaybeTime),
                ..
            }]
        )
    }
}

fn matches_from(
    pieces: &[Piece],
    text: &str,
    place: Place,
    bindings: &Bindings,
) -> Option<Bindings> {
    let Some((piece, later)) = pieces.split_first() else {
        return text.is_empty().then(|| bindings.clone());
    };
    let (name, kind) = match piece {
        Piece::Literal(bytes) => {
            let literal = std::str::from_utf8(bytes).ok()?;
            return matches_from(later, text.strip_prefix(literal)?, place, bindings);
        }
        Piece::Hole { name, kind } => (name, *kind),
    };
    if let Some(known) = bindings.0.get(name) {
        return matches_from(later, text.strip_prefix(known.as_str())?, place, bindings);
    }
    // A name without a kind is only ever a repeat (the parser sees to it): unknown here, it fits nothing.
    let kind = kind?;
    let mut end = kind.longest(text, place);
    loop {
        // From the longest candidate down: a text may be followed by a literal that also occurs inside it.
        if text.is_char_boundary(end) && kind.accepts(&text[..end]) {
            let found = matches_from(
                later,
                &text[end..],
                place,
                &bindings.with(name, &text[..end]),
            );
            if found.is_some() {
                return found;
            }
        }
        end = end.checked_sub(1)?;
    }
}

impl Kind {
    fn parse(text: &str) -> Result<Self, String> {
        let sized = |prefix: &str| {
            text.strip_prefix(prefix)
                .and_then(|digits| digits.parse::<usize>().ok())
        };
        Ok(match text {
            "text" => Self::Text,
            "all" => Self::All,
            "uuid" => Self::Uuid,
            "int" => Self::Int,
            "time" => Self::Time,
            "maybe_time" => Self::MaybeTime,
            "etag" => Self::EntityTag,
            "pv" => Self::VaultCode,
            "th" => Self::OwnCode,
            "json" => Self::Json,
            "strings" => Self::Strings,
            _ => match (sized("hex"), sized("digits")) {
                (Some(length), _) => Self::Hex(length),
                (_, Some(length)) => Self::Digits(length),
                (None, None) => return Err(format!("there is no kind `{text}`")),
            },
        })
    }

    fn name(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::All => "all".to_owned(),
            Self::Uuid => "uuid".to_owned(),
            Self::Hex(length) => format!("hex{length}"),
            Self::Digits(length) => format!("digits{length}"),
            Self::Int => "int".to_owned(),
            Self::Time => "time".to_owned(),
            Self::MaybeTime => "maybe_time".to_owned(),
            Self::EntityTag => "etag".to_owned(),
            Self::VaultCode => "pv".to_owned(),
            Self::OwnCode => "th".to_owned(),
            Self::Json => "json".to_owned(),
            Self::Strings => "strings".to_owned(),
        }
    }

    /// The length of the longest prefix that could be of this kind.
    fn longest(self, text: &str, place: Place) -> usize {
        let run = |allowed: fn(char) -> bool| text.find(|c| !allowed(c)).unwrap_or(text.len());
        match self {
            Self::All => text.len(),
            Self::Text => text_end(text, place),
            Self::Uuid => text.len().min(36),
            Self::Hex(length) | Self::Digits(length) => text.len().min(length),
            Self::Int => run(|c| c == '-' || c.is_ascii_digit()),
            Self::Time => run(|c| c.is_ascii_digit() || "-:.TZ".contains(c)),
            Self::EntityTag => run(|c| c.is_ascii_alphanumeric() || "\"/+-".contains(c)),
            Self::VaultCode | Self::OwnCode => run(|c| c.is_ascii_alphanumeric()),
            Self::MaybeTime | Self::Json | Self::Strings => value_end(text),
        }
    }

    fn accepts(self, text: &str) -> bool {
        let lower_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        match self {
            Self::All => true,
            Self::Text => !text.is_empty(),
            Self::Uuid => {
                text.len() == 36
                    && text.char_indices().all(|(at, c)| match at {
                        8 | 13 | 18 | 23 => c == '-',
                        _ => lower_hex(c),
                    })
            }
            Self::Hex(length) => text.len() == length && text.chars().all(lower_hex),
            Self::Digits(length) => {
                text.len() == length && text.chars().all(|c| c.is_ascii_digit())
            }
            Self::Int => text.parse::<i64>().is_ok(),
            Self::Time => is_time(text),
            Self::MaybeTime => {
                text == "null"
                    || text
                        .strip_prefix('"')
                        .and_then(|t| t.strip_suffix('"'))
                        .is_some_and(is_time)
            }
            Self::EntityTag => is_weak_entity_tag(text),
            Self::VaultCode => text
                .strip_prefix("PV")
                .is_some_and(|rest| rest.len() == 4 && rest.chars().all(|c| c.is_ascii_digit())),
            Self::OwnCode => text
                .strip_prefix("TH")
                .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit())),
            Self::Json => serde_json::from_str::<Value>(text).is_ok(),
            Self::Strings => serde_json::from_str::<BTreeMap<String, String>>(text).is_ok(),
        }
    }
}

/// `YYYY-MM-DDTHH:MM:SS`, a fraction of up to nine digits or none, `Z`.
fn is_time(text: &str) -> bool {
    let Some((seconds, fraction)) = text
        .strip_suffix('Z')
        .and_then(|text| text.split_at_checked(19))
    else {
        return false;
    };
    let shape = seconds.char_indices().all(|(at, c)| match at {
        4 | 7 => c == '-',
        10 => c == 'T',
        13 | 16 => c == ':',
        _ => c.is_ascii_digit(),
    });
    let fraction = fraction.is_empty()
        || fraction.strip_prefix('.').is_some_and(|digits| {
            (1..=9).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit())
        });
    shape && fraction
}

/// `W/"<length of the body in hex>-<27 characters of base64>"`.
fn is_weak_entity_tag(text: &str) -> bool {
    let inner = text
        .strip_prefix("W/\"")
        .and_then(|text| text.strip_suffix('"'));
    inner
        .and_then(|inner| inner.split_once('-'))
        .is_some_and(|(length, digest)| {
            !length.is_empty()
                && length.chars().all(|c| c.is_ascii_hexdigit())
                && digest.len() == 27
                && digest
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+/".contains(c))
        })
}

/// Up to the next unescaped quote in a body, to the end of the line elsewhere.
fn text_end(text: &str, place: Place) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\n' | '\r' => return at,
            '"' if place == Place::Body && !escaped => return at,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// The end of the JSON value that `text` begins with; 0 if it begins with none.
fn value_end(text: &str) -> usize {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(_)) => values.byte_offset(),
        _ => 0,
    }
}

/// Splits at the next `{{…}}`. Of three braces in a row the first is literal, so that `{{{name}}` opens a JSON object.
pub(super) fn next_hole(text: &str) -> Result<Option<(&str, &str, &str)>, String> {
    let Some(mut start) = text.find("{{") else {
        return Ok(None);
    };
    while text[start + 1..].starts_with("{{") {
        start += 1;
    }
    let inner = &text[start + 2..];
    let end = inner
        .find("}}")
        .ok_or_else(|| "`{{` without `}}`".to_owned())?;
    Ok(Some((&text[..start], &inner[..end], &inner[end + 2..])))
}

fn hole(inner: &str) -> Result<Piece, String> {
    let (name, kind) = match inner.split_once(':') {
        Some((name, kind)) => (name, Some(Kind::parse(kind)?)),
        None => (inner, None),
    };
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("`{name}` is not a name (letters, digits, `_`)"));
    }
    Ok(Piece::Hole {
        name: name.to_owned(),
        kind,
    })
}

/// `{{repeat:<count>:<text>}}`
fn repeated(arguments: &str) -> Result<Vec<u8>, String> {
    let (count, text) = arguments
        .split_once(':')
        .ok_or("`repeat` needs a count and a text: {{repeat:3:ab}}")?;
    let count = count
        .parse::<usize>()
        .map_err(|_| format!("`{count}` is not a count"))?;
    Ok(text.as_bytes().repeat(count))
}

/// `{{bytes:<hex>}}`
fn bytes(digits: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{digits}` is not an even number of hex digits");
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return Err(wrong());
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong()))
        .collect()
}
