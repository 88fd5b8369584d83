//! Who calls: from the bearer's key to a caller of the engine, with the tenants and the reason of the request.
//!
//! The one thing a newcomer would get wrong: an empty `X-Tenant-Id` is no restriction (a client sends it for an empty
//! list), while a tenant that does not fit fails the whole call. And the documented development key is refused outside
//! development even if somebody managed to store it.

use std::sync::Arc;

use axum::http::{Extensions, HeaderMap, header};
use engine::caller::{Actor, Caller};
use engine::error::{Error, Unauthenticated};
use engine::permission::Grants;
use engine::secret::Secret;
use engine::token::Token;
use utoipa::IntoParams;

use super::Vault;
use super::error::Failure;
use super::settings::DEVELOPMENT_KEY;
use super::vocabulary::query::{LIST_ITEMS_MAX, Query};
use crate::kit::trace::{ClientAddress, Trace};

/// The class of the access tokens that are this dialect's keys.
pub(super) const KEY_CLASS: &str = "api-key";
/// The capability that includes every other. Others come with roles and policies.
pub(super) const CAP_SYSTEM: &str = "CapSystem";

/// The tenants that a request is restricted to.
const TENANTS: &str = "x-tenant-id";
/// A role to act as.
const DELEGATION: &str = "x-pvault-delegation";

const REASONS: [&str; 10] = [
    "AppFunctionality",
    "Analytics",
    "Notifications",
    "Marketing",
    "ThirdPartyMarketing",
    "FraudPreventionSecurityAndCompliance",
    "AccountManagement",
    "Maintenance",
    "DataSubjectRequest",
    OTHER,
];
const OTHER: &str = "Other";
/// The reason of a call that gives none. Choice: the product's default is not known.
const DEFAULT_REASON: &str = "AppFunctionality";
/// Characters of a reason in the caller's own words, and of a text for the audit. Choice: they end up in every event.
const FREE_TEXT_CHARS_MAX: usize = 1_000;

/// The bearer of the key, if it is a good one.
pub(super) async fn recognise(
    vault: &Vault,
    headers: &HeaderMap,
    extensions: &Extensions,
    trace: &Trace,
) -> Result<Caller, Failure> {
    let secret = key(headers).map_err(Error::Unauthenticated)?;
    if !vault.settings.dev && secret.expose() == DEVELOPMENT_KEY {
        return Err(Failure::unauthorized());
    }
    let address = extensions
        .get::<ClientAddress>()
        .and_then(|address| address.0);
    let engine = &vault.engine;
    let token = engine.verify(vault.realm, &secret, address).await?.token;
    let actor = Actor::bearer(&token);
    trace.recognise(actor.clone());
    if token.class != KEY_CLASS {
        return Err(Failure::unauthorized());
    }
    // Acting as another role would take rights away; to ignore it would leave them.
    if headers.contains_key(DELEGATION) {
        return Err(Failure::not_implemented());
    }
    Ok(Caller {
        realm: vault.realm,
        actor,
        token: Some(token.id),
        grants: Arc::new(grants(&token)),
        may_widen_itself: false,
        tenants: None,
        request: trace.id().to_owned(),
        reason: None,
    })
}

fn key(headers: &HeaderMap) -> Result<Secret, Unauthenticated> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Unauthenticated::Absent)?;
    // Which of two keys would be meant?
    if values.next().is_some() {
        return Err(Unauthenticated::Malformed);
    }
    let text = value.to_str().map_err(|_| Unauthenticated::Malformed)?;
    let (scheme, key) = text.split_once(' ').ok_or(Unauthenticated::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Unauthenticated::Malformed);
    }
    Secret::parse(key.trim())
}

/// What a key may do. Only the administrator's capability exists; whatever else a key carries gives nothing.
fn grants(token: &Token) -> Grants {
    let all = token
        .access()
        .is_some_and(|access| access.permissions.iter().any(|one| one == CAP_SYSTEM));
    if all {
        Grants::all()
    } else {
        Grants::default()
    }
}

/// The tenants that the request is restricted to; `None` is no restriction.
pub(super) fn tenants(headers: &HeaderMap) -> Result<Option<Vec<String>>, Failure> {
    let mut tenants: Vec<String> = Vec::new();
    for value in headers.get_all(TENANTS) {
        let text = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Failure::invalid("X-Tenant-Id", "must be UTF-8"))?;
        for tenant in text.split(',').map(str::trim) {
            if !tenant.is_empty() && !tenants.iter().any(|known| known == tenant) {
                tenants.push(tenant.to_owned());
            }
        }
        if tenants.len() > LIST_ITEMS_MAX {
            let rule = format!("has at most {LIST_ITEMS_MAX} tenants");
            return Err(Failure::invalid("X-Tenant-Id", &rule));
        }
    }
    Ok((!tenants.is_empty()).then_some(tenants))
}

/// Why a call is made, as its query says it; not yet judged.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Purpose {
    /// Why the data is accessed: AppFunctionality, Analytics, Notifications, Marketing, ThirdPartyMarketing,
    /// FraudPreventionSecurityAndCompliance, AccountManagement, Maintenance, DataSubjectRequest or Other.
    reason: Option<String>,
    /// The reason in own words; required with Other.
    adhoc_reason: Option<String>,
    /// A text for the audit trail.
    custom_audit: Option<String>,
    /// Accepted and without effect: one process has no cache that could lag.
    #[allow(
        dead_code,
        reason = "there is nothing to reload; it is checked and described"
    )]
    reload_cache: Option<bool>,
}

impl Purpose {
    /// Reads the parameters that every call of the data plane takes.
    pub(super) fn read(query: &Query) -> Result<Self, Failure> {
        let text = |name| free_text(query, name);
        Ok(Self {
            reason: text("reason")?,
            adhoc_reason: text("adhoc_reason")?,
            custom_audit: text("custom_audit")?,
            reload_cache: query.boolean("reload_cache")?,
        })
    }

    /// What the event will say.
    pub(super) fn judge(self, required: bool) -> Result<String, Failure> {
        let reason = match self.reason.as_deref() {
            None if required => return Err(Failure::reason_missing()),
            None => DEFAULT_REASON,
            Some(given) if REASONS.contains(&given) => given,
            Some(_) => return Err(Failure::reason_unknown()),
        };
        let mut said = reason.to_owned();
        match self.adhoc_reason {
            Some(words) => said = format!("{said}: {words}"),
            None if reason == OTHER => return Err(Failure::reason_missing()),
            None => {}
        }
        if let Some(audit) = self.custom_audit {
            said = format!("{said} ({audit})");
        }
        Ok(said)
    }
}

/// The text for the audit trail, which calls of the control plane take too.
pub(super) fn custom_audit(query: &Query) -> Result<Option<String>, Failure> {
    free_text(query, "custom_audit")
}

/// Empty is absent.
fn free_text(query: &Query, name: &'static str) -> Result<Option<String>, Failure> {
    let text = query.scalar(name)?.filter(|text| !text.is_empty());
    if text.is_some_and(|text| text.chars().count() > FREE_TEXT_CHARS_MAX) {
        let rule = format!("has at most {FREE_TEXT_CHARS_MAX} characters");
        return Err(Failure::invalid(name, &rule));
    }
    Ok(text.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn keys_are_bearers_and_come_once() {
        let key = |values: &[&[u8]]| {
            key(&headers("authorization", values)).map(|secret| secret.expose().to_owned())
        };
        assert_eq!(key(&[b"Bearer abc"]), Ok("abc".to_owned()));
        assert_eq!(key(&[b"bearer  abc "]), Ok("abc".to_owned()));
        assert_eq!(key(&[]), Err(Unauthenticated::Absent));
        assert_eq!(key(&[b"Bearer "]), Err(Unauthenticated::Absent));
        for bad in [&b"abc"[..], b"Basic abc", b"Bearer \xff", b""] {
            assert_eq!(key(&[bad]), Err(Unauthenticated::Malformed));
        }
        assert_eq!(
            key(&[b"Bearer abc", b"Bearer abc"]),
            Err(Unauthenticated::Malformed)
        );
    }

    #[test]
    fn tenants_are_split_and_trimmed_and_empty_is_absent() {
        let read = |values: &[&[u8]]| tenants(&headers(TENANTS, values)).unwrap();
        let owned = |list: &[&str]| Some(list.iter().map(|one| (*one).to_owned()).collect());
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[b""]), None);
        assert_eq!(read(&[b" , ,"]), None);
        assert_eq!(read(&[b"t1, t2,t1,"]), owned(&["t1", "t2"]));
        assert_eq!(read(&[b"t1", b"t2"]), owned(&["t1", "t2"]));
        assert_eq!(read(&["é".as_bytes()]), owned(&["é"]));
        assert!(tenants(&headers(TENANTS, &[b"\xff"])).is_err());
        let many: Vec<String> = (0..=LIST_ITEMS_MAX).map(|n| n.to_string()).collect();
        assert!(tenants(&headers(TENANTS, &[many.join(",").as_bytes()])).is_err());
    }

    #[test]
    fn reasons() {
        let judge = |raw: &str, required| {
            Purpose::read(&Query::parse(raw).unwrap()).and_then(|reason| reason.judge(required))
        };
        assert_eq!(judge("", false).unwrap(), DEFAULT_REASON);
        assert_eq!(judge("reason=", false).unwrap(), DEFAULT_REASON);
        assert_eq!(judge("", true), Err(Failure::reason_missing()));
        assert_eq!(judge("reason=Nope", false), Err(Failure::reason_unknown()));
        assert_eq!(
            judge("reason=analytics", true),
            Err(Failure::reason_unknown())
        );
        assert_eq!(judge("reason=Other", false), Err(Failure::reason_missing()));
        assert_eq!(
            judge("reason=Other&adhoc_reason=a+b&custom_audit=x", true).unwrap(),
            "Other: a b (x)"
        );
        for shape in [
            "reason=Other&reason=Other",
            "reload_cache=maybe",
            &format!("custom_audit={}", "x".repeat(1_001)),
        ] {
            let refused = judge(shape, false).unwrap_err();
            assert!(format!("{refused:?}").contains("PV1012"), "{shape}");
        }
    }
}
