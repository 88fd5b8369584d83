//! Paths, read as they were sent.
//!
//! The one thing to know: the router's own decoding lets `%zz` pass unnoticed and answers `%ff` in its own words; what
//! matters in a path is therefore decoded here, from the raw text, once.

use axum::http::Uri;
use percent_encoding::percent_decode_str;

/// A percent sign without two hexadecimal digits, or bytes that are no UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path has a broken escape")]
pub struct BadEscape;

/// Decodes one piece of a path or query, strictly.
pub fn decode(raw: &str) -> Result<String, BadEscape> {
    let bytes = raw.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = bytes.get(at + 1..at + 3).ok_or(BadEscape)?;
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return Err(BadEscape);
            }
            at += 3;
        } else {
            at += 1;
        }
    }
    let text = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| BadEscape)?;
    Ok(text.into_owned())
}

/// The segment of the raw path with this number, counted from 0, decoded. A missing one is empty.
pub fn segment(uri: &Uri, number: usize) -> Result<String, BadEscape> {
    decode(raw_segment(uri, number))
}

/// The same as it was sent.
pub fn raw_segment(uri: &Uri, number: usize) -> &str {
    uri.path().split('/').nth(number + 1).unwrap_or_default()
}

/// Whether `path` is `prefix` or lies below it, at a segment boundary. A prefix that ends with a slash is only below.
pub fn is_below(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// The path without its last slash, which all dialects accept without a redirect; the root stays.
pub fn without_trailing_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let shorter = path
        .strip_suffix('/')
        .filter(|shorter| !shorter.is_empty())?;
    let text = uri
        .query()
        .map_or_else(|| shorter.to_owned(), |query| format!("{shorter}?{query}"));
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_decoded_once_and_strictly() {
        assert_eq!(decode("%2A%3Ax.%2525").unwrap(), "*:x.%25");
        for bad in ["%", "%2", "%zz", "%ff", "a%e2%28"] {
            assert_eq!(decode(bad), Err(BadEscape), "{bad}");
        }
    }

    #[test]
    fn prefixes_end_at_segments() {
        assert!(is_below("/api/pvlt/1.0", "/api/pvlt/"));
        assert!(is_below("/health", "/health"));
        assert!(!is_below("/healthz", "/health"));
        assert!(!is_below("/api/pvltx", "/api/pvlt"));
    }

    #[test]
    fn one_slash_goes() {
        let shorter =
            |text: &str| without_trailing_slash(&text.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(shorter("/a/b/?x=1").as_deref(), Some("/a/b?x=1"));
        assert_eq!(shorter("/a/b"), None);
        assert_eq!(shorter("/"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            let _ = decode(&text);
        }
    }
}
