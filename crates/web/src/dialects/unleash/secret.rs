//! How this product's secrets look, and how they arrive: minted, in a header, in a path, in start-up settings.
//!
//! The one thing a newcomer would get wrong: what a secret's text says about its scope is a hint for people and for
//! Edge. Only its *kind* (personal, admin, other) is ever decided by the text, before any look-up; scope and
//! environment of a token are those that were stored with it.

use std::fmt::{self, Write as _};

use percent_encoding::percent_decode_str;

use super::date_time::is_ecmascript_blank;
use super::wire::TokenType;

/// Bytes of a secret. Minted ones have 57 beside scope and environment, which the product keeps under 100 each; the
/// rest is room for secrets that an operator chose.
pub(super) const SECRET_BYTES_MAX: usize = 1024;

/// Random bytes of a minted secret.
pub(super) const RANDOM_BYTES: usize = 28;

/// Characters of a selector: 16 bytes in base64url without padding.
const SELECTOR_CHARS: usize = 22;
/// Characters of the secret part beside a selector: 32 bytes likewise.
const VERIFIED_CHARS: usize = 43;
const SELECTOR_PREFIX: &str = ".v2_";

/// A text that could be a secret: not empty, not too long, no control characters. Nothing is looked up before that.
#[derive(Clone)]
pub(super) struct SecretText(String);

impl SecretText {
    /// `None` if the text cannot be a secret.
    pub(super) fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= SECRET_BYTES_MAX;
        (fits && !text.chars().any(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// The text itself.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// What its text says it is.
    pub(super) fn kind(&self) -> SecretKind {
        SecretKind::of(&self.0)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// What a secret is by its text alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretKind {
    /// `user:…`: a personal access token.
    Personal,
    /// `*:*…`: an admin token. The client and frontend APIs refuse it unseen.
    Admin,
    /// Any other API token.
    Api,
}

impl SecretKind {
    /// Reads the kind off a text.
    pub(super) fn of(text: &str) -> Self {
        if text.starts_with("user:") {
            Self::Personal
        } else if text.starts_with("*:*") {
            Self::Admin
        } else {
            Self::Api
        }
    }
}

/// The readable part of a secret, `<scope>:<environment>.…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadablePart<'a> {
    /// A project, `*` for all of them, `[]` for several.
    pub scope: &'a str,
    /// An environment, `*` for all of them.
    pub environment: &'a str,
}

impl<'a> ReadablePart<'a> {
    /// `None` for personal tokens and for old ones without a colon.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        if SecretKind::of(text) == SecretKind::Personal {
            return None;
        }
        let (scope, rest) = text.split_once(':')?;
        let end = rest.find(['.', ':']).unwrap_or(rest.len());
        Some(Self {
            scope,
            environment: &rest[..end],
        })
    }
}

/// A new secret, `<scope>:<environment>.<56 hex digits>`. `projects` are those of the token; more than one is written `[]`.
pub(super) fn mint(projects: &[String], environment: &str, random: &[u8; RANDOM_BYTES]) -> String {
    // No projects must not read as all of them, so `[]` stands for that as well.
    let scope = match projects {
        [one] => one.as_str(),
        _ => "[]",
    };
    let mut secret = String::with_capacity(scope.len() + environment.len() + 2 + 2 * RANDOM_BYTES);
    write!(secret, "{scope}:{environment}.").expect("writing to a string cannot fail");
    for byte in random {
        write!(secret, "{byte:02x}").expect("writing to a string cannot fail");
    }
    secret
}

/// The selector in a text, if it is one (22 characters) or a secret with one (`….v2_<22>_<43>`).
///
/// Only for look-ups by management calls, and only after no token with exactly this secret was found: a secret that an
/// operator chose may have 22 characters too.
pub(super) fn selector_of(text: &str) -> Option<&str> {
    let is_selector = |part: &str| part.len() == SELECTOR_CHARS && is_url_safe(part);
    if is_selector(text) {
        return Some(text);
    }
    let tail_bytes = SELECTOR_PREFIX.len() + SELECTOR_CHARS + 1 + VERIFIED_CHARS;
    let tail = text.get(text.len().checked_sub(tail_bytes)?..)?;
    let (selector, verified) = tail
        .strip_prefix(SELECTOR_PREFIX)?
        .split_at_checked(SELECTOR_CHARS)?;
    (is_selector(selector) && verified.strip_prefix('_').is_some_and(is_url_safe))
        .then_some(selector)
}

fn is_url_safe(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// What the `Authorization` header of a request brings.
#[derive(Debug, Clone)]
pub(super) enum Presented {
    /// No header, or an empty one.
    Absent,
    /// Something that cannot be a secret. Answered as an unknown one, without a look-up.
    Malformed,
    /// What may be a secret. A scheme other than `Bearer` is part of the text, which nobody then has.
    Secret(SecretText),
}

/// Reads an `Authorization` header: the raw secret, or where `bearer` is allowed (paths under `/api`) `Bearer` in any
/// case, blanks, and the secret.
pub(super) fn presented(header: Option<&[u8]>, bearer: bool) -> Presented {
    let Ok(text) = std::str::from_utf8(header.unwrap_or_default()) else {
        return Presented::Malformed;
    };
    let text = text.trim_matches(is_ecmascript_blank);
    if text.is_empty() {
        return Presented::Absent;
    }
    let secret = if bearer { without_bearer(text) } else { text };
    SecretText::new(secret).map_or(Presented::Malformed, Presented::Secret)
}

fn without_bearer(text: &str) -> &str {
    const SCHEME: &str = "bearer";
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => {
            let secret = rest.trim_start_matches(is_ecmascript_blank);
            // Without a blank, `Bearer` is the beginning of a secret.
            if secret.len() < rest.len() {
                secret
            } else {
                text
            }
        }
        _ => text,
    }
}

/// A parameter of a path whose percent escapes are broken, or give no UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undecodable;

/// Decodes a parameter of a path, once. `+` stays `+`.
///
/// # Errors
/// [`Undecodable`]; the answer to it repeats the parameter as it was sent.
pub(super) fn decode_parameter(raw: &str) -> Result<String, Undecodable> {
    // The decoder leaves broken escapes as they are; here they are an error.
    let escapes_are_whole = raw.split('%').skip(1).all(|after| {
        let mut bytes = after.bytes();
        let mut next_is_hex = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        next_is_hex() && next_is_hex()
    });
    if !escapes_are_whole {
        return Err(Undecodable);
    }
    percent_decode_str(raw)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Undecodable)
}

/// A token that the operator asks for at the first start.
#[derive(Debug, Clone)]
pub(super) struct InitToken {
    /// Its secret, chosen by the operator.
    pub secret: SecretText,
    /// Its project, `*` for all.
    pub project: String,
    /// Its environment, `*` for admin tokens.
    pub environment: String,
}

/// Which item of an `INIT_…_API_TOKENS` setting is wrong, and how. Does not show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InitTokenError {
    /// Counted from one.
    pub position: usize,
    /// The rule that it breaks.
    pub fault: InitTokenFault,
}

/// A rule for start-up tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InitTokenFault {
    /// Nothing between two commas.
    Empty,
    /// Too long, or with control characters.
    Shape,
    /// Not `<project>:<environment>.<text>`, or project or environment are empty.
    Form,
    /// `[]` says that there are several projects, but not which.
    SeveralProjects,
    /// An admin token is for all projects and environments: `*:*.<text>`.
    AdminScope,
    /// A token that is no admin token is for one environment.
    AllEnvironments,
    /// Its beginning is that of another kind of token (`user:`, `*:*`), as which it would be refused.
    OtherKind,
}

impl fmt::Display for InitTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match self.fault {
            InitTokenFault::Empty => "is empty",
            InitTokenFault::Shape => "is too long or has control characters in it",
            InitTokenFault::Form => "must look like <project>:<environment>.<text>",
            InitTokenFault::SeveralProjects => "must name its project; `[]` names none",
            InitTokenFault::AdminScope => "must begin with `*:*.`, as every admin token",
            InitTokenFault::AllEnvironments => "must name one environment, not `*`",
            InitTokenFault::OtherKind => "begins as a token of another kind (`user:` or `*:*`)",
        };
        write!(f, "start-up token {} {rule}", self.position)
    }
}

impl std::error::Error for InitTokenError {}

/// Reads an `INIT_…_API_TOKENS` setting: secrets parted by commas, blanks around them dropped, repetitions ignored. An
/// empty setting has no tokens. `kind` is the type that its tokens will have.
///
/// # Errors
/// The first item that breaks a rule. The server must then not start: a token that is silently missing is found out
/// only when a client is refused.
pub(super) fn parse_init_tokens(
    setting: &str,
    kind: TokenType,
) -> Result<Vec<InitToken>, InitTokenError> {
    let mut tokens: Vec<InitToken> = Vec::new();
    if setting.trim().is_empty() {
        return Ok(tokens);
    }
    for (index, item) in setting.split(',').enumerate() {
        let token = parse_init_token(item.trim(), kind).map_err(|fault| InitTokenError {
            position: index + 1,
            fault,
        })?;
        let known = tokens
            .iter()
            .any(|known| known.secret.expose() == token.secret.expose());
        if !known {
            tokens.push(token);
        }
    }
    Ok(tokens)
}

fn parse_init_token(text: &str, kind: TokenType) -> Result<InitToken, InitTokenFault> {
    if text.is_empty() {
        return Err(InitTokenFault::Empty);
    }
    let secret = SecretText::new(text).ok_or(InitTokenFault::Shape)?;
    if secret.kind() == SecretKind::Personal {
        return Err(InitTokenFault::OtherKind);
    }
    let part = ReadablePart::of(text).ok_or(InitTokenFault::Form)?;
    if part.scope.is_empty() || part.environment.is_empty() {
        return Err(InitTokenFault::Form);
    }
    if kind == TokenType::Admin {
        if (part.scope, part.environment) != ("*", "*") {
            return Err(InitTokenFault::AdminScope);
        }
    } else if part.environment == "*" {
        return Err(InitTokenFault::AllEnvironments);
    } else if part.scope == "[]" {
        return Err(InitTokenFault::SeveralProjects);
    } else if secret.kind() == SecretKind::Admin {
        return Err(InitTokenFault::OtherKind);
    }
    Ok(InitToken {
        project: part.scope.to_owned(),
        environment: part.environment.to_owned(),
        secret,
    })
}

#[cfg(test)]
mod tests;
