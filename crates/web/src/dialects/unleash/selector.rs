//! Selectors: what names a token where its secret cannot be shown, and how management calls find a token by either.
//!
//! The one thing a newcomer would get wrong: the exact secret is looked for first. An operator may have chosen a secret
//! that looks like a selector, and that token must stay changeable.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::secret::Secret;
use engine::selection::{Selection, Which};
use engine::token::TokenId;
use uuid::Uuid;

use super::secret::selector_of;

/// The selector of a token: its id, 16 bytes, in base64url without padding.
pub(super) fn selector(id: TokenId) -> String {
    URL_SAFE_NO_PAD.encode(id.0.as_bytes())
}

/// What a path parameter of a management call may mean, in the order in which it is to be tried. Tokens are found however
/// they stand: an expired one can be changed, and so brought back.
pub(super) fn meanings(parameter: &str) -> Vec<Selection> {
    let secret = Secret::parse(parameter).ok().map(|secret| Selection {
        secret: Some(secret),
        which: Which::Any,
        ..Selection::default()
    });
    let selected = selector_of(parameter).and_then(|selector| {
        let bytes = URL_SAFE_NO_PAD.decode(selector).ok()?;
        Some(Selection::of(TokenId(Uuid::from_slice(&bytes).ok()?)))
    });
    secret.into_iter().chain(selected).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_leads_to_its_token_after_the_exact_secret() {
        let id = TokenId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        let text = selector(id);
        assert_eq!(text.len(), 22);
        let meanings = meanings(&text);
        assert!(meanings[0].secret.is_some() && meanings[0].ids.is_empty());
        assert!(meanings[1].secret.is_none() && meanings[1].ids == [id]);
        assert_eq!(meanings.len(), 2);
    }

    #[test]
    fn anything_else_is_a_secret_or_nothing() {
        assert_eq!(meanings("*:development.x").len(), 1);
        assert_eq!(meanings("a\0b").len(), 0);
        assert_eq!(meanings("").len(), 0);
        // 22 characters whose last one has bits beyond 16 bytes.
        assert_eq!(meanings(&"_".repeat(22)).len(), 1);
    }
}
