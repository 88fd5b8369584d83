//! Reads a transcript file: settings and defaults at its head, then named exchanges of request and expected answer.
//! The one thing a newcomer would get wrong: everything that can be wrong with the *file* is found here, before a server
//! is started, so that a misspelt name or header can never pass as a case that was tested.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::Settings;
use super::body;
use super::pattern::{ANONYMOUS, Template, next_hole};

#[derive(Debug, Default)]
pub(super) struct Transcript {
    pub(super) settings: Settings,
    pub(super) exchanges: Vec<Exchange>,
}

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) name: String,
    /// The line of its name, counted from 1.
    pub(super) line: usize,
    /// How far the server's clock moves before the request is sent.
    pub(super) advance: Option<Duration>,
    pub(super) compare: Compare,
    pub(super) request: Request,
    pub(super) answer: Expected,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// As it goes out: nothing is escaped or normalized.
    pub(super) path: Template,
    pub(super) headers: Vec<(String, Template)>,
    /// Without one, no `Content-Length` is sent either.
    pub(super) body: Option<Template>,
}

#[derive(Debug)]
pub(super) struct Expected {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, HeaderClaim)>,
    /// The text as written; without one the answer's body must be empty.
    pub(super) body: String,
}

#[derive(Debug, Clone)]
pub(super) enum HeaderClaim {
    Equals(Template),
    Absent,
    Unchecked,
}

/// How a body is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Compare {
    /// Byte for byte, holes aside.
    #[default]
    Text,
    /// As JSON: the order of an object's keys and white space mean nothing.
    Json,
    /// As JSON, and the order of arrays means nothing either.
    Set,
}

impl Compare {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "set" => Ok(Self::Set),
            _ => Err(format!("`@compare {text}`: text, json or set")),
        }
    }
}

/// Name and text of every `*.txt` in `directory`, by name. None at all is an error: an empty directory proves nothing.
pub(super) fn files_of(directory: &Path) -> Result<Vec<(String, String)>, String> {
    let trouble = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| trouble(directory, error))? {
        let path = entry.map_err(|error| trouble(directory, error))?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = std::fs::read_to_string(&path).map_err(|error| trouble(&path, error))?;
            files.push((path.display().to_string(), text));
        }
    }
    if files.is_empty() {
        return Err(format!("{}: no transcripts", directory.display()));
    }
    files.sort();
    Ok(files)
}

/// What the head of a file says about all of its exchanges.
#[derive(Debug, Default)]
struct Head {
    macros: BTreeMap<String, String>,
    headers: Vec<(String, Template)>,
    with_body: Vec<(String, HeaderClaim)>,
    without_body: Vec<(String, HeaderClaim)>,
    compare: Compare,
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    at: usize,
    head: Head,
    transcript: Transcript,
    /// Names that an earlier claim of the file captures.
    captured: BTreeSet<String>,
}

impl Transcript {
    /// The error begins with the line's number: `12: there is no kind …`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader {
            lines: text.lines().collect(),
            at: 0,
            head: Head::default(),
            transcript: Self::default(),
            captured: BTreeSet::new(),
        };
        match reader.read() {
            Ok(()) => Ok(reader.transcript),
            Err(finding) => Err(format!("{}: {finding}", reader.at)),
        }
    }
}

impl<'a> Reader<'a> {
    fn read(&mut self) -> Result<(), String> {
        self.read_head()?;
        while let Some(line) = self.next() {
            let name = line
                .strip_prefix("=== ")
                .ok_or("expected `=== <name of the exchange>`")?
                .trim();
            if self
                .transcript
                .exchanges
                .iter()
                .any(|exchange| exchange.name == name)
            {
                return Err(format!("a second exchange named `{name}`"));
            }
            let exchange = self.read_exchange(name)?;
            self.transcript.exchanges.push(exchange);
        }
        if self.transcript.exchanges.is_empty() {
            Err("no exchange".to_owned())
        } else {
            Ok(())
        }
    }

    fn read_head(&mut self) -> Result<(), String> {
        while let Some(line) = self.peek() {
            if line.starts_with("=== ") {
                break;
            }
            self.at += 1;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (directive, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = self.expand(rest.trim())?;
            match directive {
                "@setting" => {
                    let (name, value) = rest
                        .split_once('=')
                        .ok_or("expected `@setting NAME=value`")?;
                    self.transcript
                        .settings
                        .insert(name.to_owned(), value.to_owned());
                }
                "@let" => {
                    let (name, text) = rest
                        .split_once(" = ")
                        .ok_or("expected `@let name = text`")?;
                    self.head.macros.insert(name.to_owned(), text.to_owned());
                }
                "@header" => {
                    let (name, value) = header(&rest)?;
                    self.head
                        .headers
                        .push((name.to_owned(), Template::parse(value)?));
                }
                "@with-body" => self.head.with_body.push(claim(&rest)?),
                "@without-body" => self.head.without_body.push(claim(&rest)?),
                "@compare" => self.head.compare = Compare::parse(&rest)?,
                _ => return Err(format!("`{directive}` is not known at the head of a file")),
            }
        }
        Ok(())
    }

    fn read_exchange(&mut self, name: &str) -> Result<Exchange, String> {
        let line = self.at;
        let mut advance = None;
        let mut compare = self.head.compare;
        // Directives and comments, up to the request line.
        let request_line = loop {
            let line = self.next().ok_or("the exchange has no request")?;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once(' ') {
                Some(("@clock", by)) => advance = Some(duration(by.trim())?),
                Some(("@compare", how)) => compare = Compare::parse(how.trim())?,
                _ if line.starts_with('@') => {
                    return Err(format!("`{line}` is not known in an exchange"));
                }
                _ => break self.expand(line)?,
            }
        };
        let request = self.read_request(&request_line)?;
        let answer = self.read_answer(compare)?;
        Ok(Exchange {
            name: name.to_owned(),
            line,
            advance,
            compare,
            request,
            answer,
        })
    }

    fn read_request(&mut self, request_line: &str) -> Result<Request, String> {
        let (method, path) = request_line
            .split_once(' ')
            .ok_or("expected `METHOD /path`")?;
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("`{method}` is not a method"));
        }
        if !path.starts_with('/') || path.contains(' ') {
            return Err(format!(
                "`{path}` is not a path (a blank is `%20` or `{{{{bytes:20}}}}`)"
            ));
        }
        let path = self.sent(path)?;
        // The file's default headers, unless the exchange gives or removes (`!Name`) one of the same name.
        let mut headers = Vec::new();
        let mut named = BTreeSet::new();
        while let Some(line) = self.next_header()? {
            if let Some(removed) = line.strip_prefix('!') {
                named.insert(removed.to_ascii_lowercase());
            } else {
                let (name, value) = header(&line)?;
                named.insert(name.to_ascii_lowercase());
                headers.push((name.to_owned(), self.sent(value)?));
            }
        }
        for (name, value) in self.head.headers.iter().rev() {
            if !named.contains(&name.to_ascii_lowercase()) {
                headers.insert(0, (name.clone(), value.clone()));
            }
        }
        let body = self.read_body()?;
        let body = if body.is_empty() {
            None
        } else {
            Some(self.sent(&body)?)
        };
        Ok(Request {
            method: method.to_owned(),
            path,
            headers,
            body,
        })
    }

    fn read_answer(&mut self, compare: Compare) -> Result<Expected, String> {
        let line = self.next().ok_or("the exchange has no answer")?;
        let status = line
            .strip_prefix("--- ")
            .ok_or("expected `--- <status>`")?
            .trim();
        let status = status
            .parse()
            .map_err(|_| format!("`{status}` is not a status"))?;
        let mut claims: Vec<(String, HeaderClaim)> = Vec::new();
        while let Some(line) = self.next_header()? {
            claims.push(claim(&line)?);
        }
        let body = self.read_body()?;
        let defaults = if body.is_empty() {
            &self.head.without_body
        } else {
            &self.head.with_body
        };
        let mut headers: Vec<_> = defaults
            .iter()
            .filter(|(name, _)| {
                !claims
                    .iter()
                    .any(|(claimed, _)| claimed.eq_ignore_ascii_case(name))
            })
            .cloned()
            .collect();
        headers.extend(claims);
        for (_, claim) in &headers {
            if let HeaderClaim::Equals(template) = claim {
                self.claimed(template)?;
            }
        }
        self.claimed(&Template::parse(&body)?)?;
        body::check(compare, &body)?;
        Ok(Expected {
            status,
            headers,
            body,
        })
    }

    /// A header's line, or nothing at the blank line or marker that ends the headers.
    fn next_header(&mut self) -> Result<Option<String>, String> {
        match self.peek() {
            None => Ok(None),
            Some(line) if line.is_empty() || is_marker(line) => Ok(None),
            Some(line) => {
                self.at += 1;
                self.expand(line).map(Some)
            }
        }
    }

    /// The lines up to the next marker, less the blank ones around them.
    fn read_body(&mut self) -> Result<String, String> {
        let start = self.at;
        while self.peek().is_some_and(|line| !is_marker(line)) {
            self.at += 1;
        }
        let lines = self.lines[start..self.at].join("\n");
        self.expand(lines.trim_matches('\n'))
    }

    /// A template that is sent: all of its holes must have been captured before.
    fn sent(&self, text: &str) -> Result<Template, String> {
        let template = Template::parse(text)?;
        for (name, has_kind) in template.names() {
            if has_kind {
                return Err(format!(
                    "`{name}` states a kind in a request, where nothing is captured"
                ));
            }
            if !self.captured.contains(name) {
                return Err(format!("nothing before this captures `{name}`"));
            }
        }
        Ok(template)
    }

    /// A template that is expected: a name is captured with a kind first and repeated without one afterwards.
    fn claimed(&mut self, template: &Template) -> Result<(), String> {
        for (name, has_kind) in template.names() {
            if has_kind && self.head.macros.contains_key(name) {
                return Err(format!("`{name}` is the name of a text of the head"));
            } else if has_kind {
                self.captured.insert(name.to_owned());
            } else if name == ANONYMOUS || !self.captured.contains(name) {
                return Err(format!(
                    "`{name}` has no kind and nothing before this captures it"
                ));
            }
        }
        Ok(())
    }

    /// Puts the file's `@let` texts in.
    fn expand(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, inner, after)) = next_hole(rest)? {
            expanded.push_str(before);
            if let Some(text) = self.head.macros.get(inner) {
                expanded.push_str(text);
            } else {
                expanded.push_str("{{");
                expanded.push_str(inner);
                expanded.push_str("}}");
            }
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'a str> {
        let line = self.peek()?;
        self.at += 1;
        Some(line)
    }
}

fn is_marker(line: &str) -> bool {
    line.starts_with("=== ") || line.starts_with("--- ")
}

/// `Name: value`; the blanks around the value are not part of it.
fn header(line: &str) -> Result<(&str, &str), String> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| format!("`{line}` is not a header"))?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("`{name}` is not a header's name"));
    }
    Ok((name, value.trim()))
}

/// `Name: value`, `!Name` (must be absent) or `?Name` (not checked).
fn claim(line: &str) -> Result<(String, HeaderClaim), String> {
    if let Some(name) = line.strip_prefix('!') {
        return Ok((name.to_owned(), HeaderClaim::Absent));
    }
    if let Some(name) = line.strip_prefix('?') {
        return Ok((name.to_owned(), HeaderClaim::Unchecked));
    }
    let (name, value) = header(line)?;
    Ok((
        name.to_owned(),
        HeaderClaim::Equals(Template::parse(value)?),
    ))
}

/// `+3600s`, `+90m`, `+720h`, `+30d`, `+250ms`
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`@clock {text}`: expected `+<number>` and one of ms, s, m, h, d");
    let text_after_plus = text.strip_prefix('+').ok_or_else(wrong)?;
    let digits = text_after_plus
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(wrong)?;
    let (number, unit) = text_after_plus.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(milliseconds)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}
