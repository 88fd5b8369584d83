//! New access tokens: the row and the JWT that names it, made together.
//!
//! The one thing a newcomer would get wrong: three lives are bounded by each other – the configured one, its maximum, and
//! the installation's cap – and 0 means "no bound" in the first two. The row has the result, the JWT the configuration.

use engine::clock::Timestamp;
use engine::record::RecordId;
use engine::verbs::issue::{Credential, Issue};
use engine::{Error, secret::Secret};

use super::Infisical;
use super::jwt::{Claims, Empty, IDENTITY_ACCESS_TOKEN};
use super::records::{Attributes, TOKEN_AUTH, TokenAuth, json};

/// A token to be made.
#[derive(Debug)]
pub(super) struct NewToken<'a> {
    /// The token auth it hangs from.
    pub parent: RecordId,
    /// What that says about new tokens.
    pub auth: &'a TokenAuth,
    /// Whether there is a list of addresses.
    pub restricted: bool,
    /// Whose it is.
    pub identity: RecordId,
    /// What that is called.
    pub identity_name: &'a str,
    /// What the token is called.
    pub name: Option<String>,
    /// When it ends, in place of what the token auth says.
    pub expires_at: Option<Timestamp>,
}

/// Seconds that a token lives.
fn effective_ttl(auth: &TokenAuth, cap: u64) -> u64 {
    let bounds = [auth.ttl_secs, auth.ttl_secs_max];
    let bounds = bounds.into_iter().filter(|bound| *bound > 0);
    bounds.chain([cap]).min().unwrap_or(cap)
}

impl Infisical {
    /// What the engine is to issue, and the JWT for it.
    pub(super) fn mint_token(&self, new: NewToken<'_>) -> Result<(Issue, Secret), Error> {
        let id = self.engine().new_token_id();
        let iat = self.engine().now().as_micros().div_euclid(1_000_000);
        let cap = self.settings().ttl_secs_max;
        let ttl = match new.expires_at {
            // An end that has passed makes a token that is born expired.
            Some(at) => u64::try_from(at.as_micros().div_euclid(1_000_000) - iat).unwrap_or(0),
            None => effective_ttl(new.auth, cap),
        };
        let exp = iat.saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX));
        let expires_at = exp
            .checked_mul(1_000_000)
            .and_then(Timestamp::from_micros)
            .ok_or_else(|| Error::invalid("expires_at", "the end lies beyond the year 9999"))?;
        let organization = self.realm().to_string();
        let uses_max = (new.auth.uses_max > 0).then_some(new.auth.uses_max);
        let jwt = self.signer().sign(&Claims {
            identity_id: new.identity.0.to_string(),
            identity_name: new.identity_name,
            auth_method: TOKEN_AUTH,
            root_org_id: organization.clone(),
            parent_org_id: organization.clone(),
            org_id: organization,
            client_secret_id: "",
            identity_access_token_id: id.0.to_string(),
            ip_restriction_enabled: new.restricted,
            access_token_ttl: new.auth.ttl_secs,
            access_token_max_ttl: new.auth.ttl_secs_max,
            access_token_period: 0,
            creation_epoch: iat,
            auth_token_type: IDENTITY_ACCESS_TOKEN,
            identity_auth: Empty {},
            num_uses_limit: uses_max,
            iat,
            exp,
            jti: id.0.to_string(),
        });
        let attributes = Attributes::new(new.identity.0, ttl, new.auth.ttl_secs_max);
        let issue = Issue {
            id: Some(id),
            class: TOKEN_AUTH.to_owned(),
            name: new.name,
            parent: Some(new.parent),
            tags: engine::tags::Tags::default(),
            expires_at: Some(expires_at),
            permissions: Vec::new(),
            addresses: Vec::new(),
            uses_max,
            locators: Vec::new(),
            attributes: json(&attributes),
            records: Vec::new(),
            credential: Credential::Signed,
        };
        let jwt = Secret::parse(&jwt).map_err(|_| {
            tracing::error!("a JWT came out longer than a secret may be");
            Error::Internal
        })?;
        Ok((issue, jwt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_bound_counts_and_zero_is_none() {
        let ttl = |ttl, max| effective_ttl(&TokenAuth::new(ttl, max, 0, Vec::new()), 1_000);
        assert_eq!(ttl(60, 120), 60);
        assert_eq!(ttl(0, 120), 120);
        assert_eq!(ttl(60, 0), 60);
        assert_eq!(ttl(0, 0), 1_000);
        assert_eq!(ttl(5_000, 6_000), 1_000);
    }
}
