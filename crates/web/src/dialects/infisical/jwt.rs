//! The JWTs that are access tokens: made and checked.
//!
//! The one thing a newcomer would get wrong: a genuine JWT is only a name. It proves which token is meant; whether that
//! token is in force is decided by its row. The library's own clock is never asked: `exp` is compared with the engine's.

use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::error::{self, WireError};

/// The `authTokenType` of an identity's access token.
pub(super) const IDENTITY_ACCESS_TOKEN: &str = "identityAccessToken";

/// Bytes of a JWT at the most. Ours have about 900; what is longer costs no HMAC.
const BYTES_MAX: usize = 4096;

/// The text for what is no JWT.
pub(super) const MALFORMED: &str = "The provided access token is malformed. Please use a valid token or generate a new one and try again.";

/// The text for a JWT whose time has passed.
pub(super) const EXPIRED: &str = "Your token has expired. Please re-authenticate.";

const WRONG_SIGNATURE: &str = "invalid signature";

const WRONG_ALGORITHM: &str = "The access token is signed with an invalid algorithm. Please provide a valid token and try again.";

/// What an access token says. Clients show some of it; we read three of the claims back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Claims<'a> {
    pub identity_id: String,
    pub identity_name: &'a str,
    pub auth_method: &'a str,
    pub org_id: String,
    pub root_org_id: String,
    pub parent_org_id: String,
    pub client_secret_id: &'static str,
    pub identity_access_token_id: String,
    pub ip_restriction_enabled: bool,
    #[serde(rename = "accessTokenTTL")]
    pub access_token_ttl: u64,
    #[serde(rename = "accessTokenMaxTTL")]
    pub access_token_max_ttl: u64,
    pub access_token_period: u64,
    pub creation_epoch: i64,
    pub auth_token_type: &'static str,
    pub identity_auth: Empty,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_uses_limit: Option<u64>,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
}

/// `{}`.
#[derive(Debug, Serialize)]
pub(super) struct Empty {}

/// What is read of a genuine JWT.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Presented {
    /// Which kind of token it is.
    pub auth_token_type: Option<String>,
    /// The token it names.
    pub identity_access_token_id: Option<String>,
    /// The identity it was made for.
    pub identity_id: Option<String>,
    exp: Option<i64>,
}

/// The key of the installation's JWTs.
pub(super) struct Signer {
    signing: EncodingKey,
    checking: DecodingKey,
    rules: Validation,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// From the bytes of a key.
    pub(super) fn new(key: &[u8]) -> Self {
        // Exactly one algorithm: what a JWT's own header says about it is never believed.
        let mut rules = Validation::new(Algorithm::HS256);
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.leeway = 0;
        rules.required_spec_claims.clear();
        Self {
            signing: EncodingKey::from_secret(key),
            checking: DecodingKey::from_secret(key),
            rules,
        }
    }

    /// Signs.
    pub(super) fn sign(&self, claims: &Claims<'_>) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.signing)
            .expect("HMAC takes a key of any length, and claims are texts, numbers and booleans")
    }

    /// Checks signature and `exp`, in this order.
    ///
    /// # Errors
    /// 403 `TokenError` with what is wrong.
    pub(super) fn check(&self, text: &str, now_secs: i64) -> Result<Presented, WireError> {
        if text.is_empty() {
            return Err(error::token_error("jwt must be provided"));
        }
        if text.len() > BYTES_MAX {
            return Err(error::token_error(MALFORMED));
        }
        let decoded = jsonwebtoken::decode::<Presented>(text, &self.checking, &self.rules);
        let presented = decoded
            .map_err(|refusal| {
                error::token_error(match refusal.kind() {
                    ErrorKind::InvalidSignature => WRONG_SIGNATURE,
                    ErrorKind::InvalidAlgorithm => WRONG_ALGORITHM,
                    // What cannot even be decoded is the signature if the header can: it is checked before the claims.
                    ErrorKind::Base64(_) if has_header(text) => WRONG_SIGNATURE,
                    _ => MALFORMED,
                })
            })?
            .claims;
        if presented.exp.is_some_and(|exp| exp <= now_secs) {
            return Err(error::token_error(EXPIRED));
        }
        Ok(presented)
    }
}

fn has_header(text: &str) -> bool {
    jsonwebtoken::decode_header(text).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    /// Claims that name a token, good until 100.
    fn claims() -> Claims<'static> {
        Claims {
            identity_id: "i".to_owned(),
            identity_name: "x",
            auth_method: "token-auth",
            org_id: "o".to_owned(),
            root_org_id: "o".to_owned(),
            parent_org_id: "o".to_owned(),
            client_secret_id: "",
            identity_access_token_id: "t".to_owned(),
            ip_restriction_enabled: false,
            access_token_ttl: 60,
            access_token_max_ttl: 60,
            access_token_period: 0,
            creation_epoch: 40,
            auth_token_type: IDENTITY_ACCESS_TOKEN,
            identity_auth: Empty {},
            num_uses_limit: None,
            iat: 40,
            exp: 100,
            jti: "t".to_owned(),
        }
    }

    fn refused(signer: &Signer, text: &str, now: i64) -> String {
        let refusal = signer.check(text, now).unwrap_err();
        assert_eq!(refusal.status, 403);
        assert_eq!(refusal.error, "TokenError");
        refusal.message().as_str().unwrap().to_owned()
    }

    #[test]
    fn a_token_is_good_until_the_second_that_it_names() {
        let signer = Signer::new(b"key");
        let token = signer.sign(&claims());
        let presented = signer.check(&token, 99).unwrap();
        assert_eq!(presented.identity_access_token_id.as_deref(), Some("t"));
        assert_eq!(refused(&signer, &token, 100), EXPIRED);
    }

    #[test]
    fn the_claims_are_those_that_clients_read() {
        let token = Signer::new(b"key").sign(&claims());
        let payload = token.split('.').nth(1).unwrap();
        let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        assert_eq!(
            payload,
            r#"{"identityId":"i","identityName":"x","authMethod":"token-auth","orgId":"o","rootOrgId":"o","parentOrgId":"o","clientSecretId":"","identityAccessTokenId":"t","ipRestrictionEnabled":false,"accessTokenTTL":60,"accessTokenMaxTTL":60,"accessTokenPeriod":0,"creationEpoch":40,"authTokenType":"identityAccessToken","identityAuth":{},"iat":40,"exp":100,"jti":"t"}"#
        );
    }

    #[test]
    fn forged_ones_are_told_apart() {
        let signer = Signer::new(b"key");
        let token = signer.sign(&claims());
        assert_eq!(
            refused(&Signer::new(b"other"), &token, 50),
            "invalid signature"
        );
        let key = EncodingKey::from_secret(b"key");
        let longer = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims(), &key).unwrap();
        assert_eq!(refused(&signer, &longer, 50), WRONG_ALGORITHM);
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let (_, rest) = token.split_once('.').unwrap();
        let (payload, _) = rest.split_once('.').unwrap();
        for bad in [
            format!("{none}.{payload}."),
            "x".to_owned(),
            "a.b.c".to_owned(),
            "x".repeat(BYTES_MAX + 1),
        ] {
            assert_eq!(refused(&signer, &bad, 50), MALFORMED);
        }
        assert_eq!(refused(&signer, "", 50), "jwt must be provided");
        for cut in [1, 2, 10] {
            let cut = &token[..token.len() - cut];
            assert_eq!(refused(&signer, cut, 50), "invalid signature", "{cut}");
        }
        let plus = format!("{token}+");
        assert_eq!(refused(&signer, &plus, 50), "invalid signature");
    }

    #[test]
    fn debug_says_nothing() {
        assert_eq!(format!("{:?}", Signer::new(b"key")), "Signer");
    }
}
