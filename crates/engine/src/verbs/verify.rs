//! Verify: is this secret good, here and now?
//!
//! The one thing to know: it answers from the live index and reads the clock itself, after the request was parsed. A miss
//! costs one read of the store; an answer is never older than the last acknowledged write. That holds for the records it
//! hands out as well: what a dialect decides from them (a role, say) needs no look-up of its own to be up to date.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::engine::Engine;
use crate::error::{Error, Forbidden, Unauthenticated};
use crate::limits;
use crate::live::{LiveEntry, LiveKey};
use crate::realm::RealmId;
use crate::record::Record;
use crate::secret::{Proof, Secret};
use crate::store::{Lookup, Query};
use crate::token::{Standing, Token, TokenId, ancestors};

/// A token that is in force, and what it was found to hang from: all as it is in the live index, so that a change of any of
/// them holds for the next verify.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The token.
    pub token: Arc<Token>,
    /// The records above it, nearest first; each is there, active and unexpired. Empty for a token that hangs from nothing.
    pub records: Vec<Arc<Record>>,
}

impl Verified {
    /// The nearest record of a kind above the token, if there is one.
    #[must_use]
    pub fn above(&self, kind: &str) -> Option<&Record> {
        let mut records = self.records.iter();
        records
            .find(|record| record.kind == kind)
            .map(AsRef::as_ref)
    }
}

/// A token with everything above it, not judged yet.
type Chain = (Arc<Token>, Vec<Arc<Record>>);

impl Engine {
    /// The token with this secret and what is above it, if it is in force and may be used from `address`. Counts as a use.
    ///
    /// # Errors
    /// `Unauthenticated` with the cause, `Forbidden(Address)`, or what the store says.
    pub async fn verify(
        &self,
        realm: RealmId,
        secret: &Secret,
        address: Option<IpAddr>,
    ) -> Result<Verified, Error> {
        let chain = self.chain(realm, secret).await?;
        self.admit(realm, chain, address).await
    }

    /// The same for a credential that names its token and that its dialect has found to be genuine (a signed one).
    ///
    /// # Errors
    /// As [`Engine::verify`]; a token that has a secret of its own is `Unknown` here.
    pub async fn verify_signed(
        &self,
        realm: RealmId,
        id: TokenId,
        address: Option<IpAddr>,
    ) -> Result<Verified, Error> {
        let remembered = self.0.live.may_answer().then(|| self.live_chain(realm, id));
        let chain = match remembered.flatten() {
            Some(chain) => Some(chain),
            None => self.stored_chain(realm, Lookup::Token(id)).await?,
        };
        let signed =
            |(token, _): &Chain| token.access().is_some_and(|access| access.proof.is_none());
        let chain = chain
            .filter(signed)
            .ok_or(Error::Unauthenticated(Unauthenticated::Unknown))?;
        self.admit(realm, chain, address).await
    }

    /// Judges a token that was found, and counts the use last: what is refused uses nothing up.
    async fn admit(
        &self,
        realm: RealmId,
        (token, records): Chain,
        address: Option<IpAddr>,
    ) -> Result<Verified, Error> {
        let now = self.now();
        match Standing::below(&token, records.iter().map(AsRef::as_ref), now) {
            Standing::Live => {}
            Standing::Expired => return Err(Error::Unauthenticated(Unauthenticated::Expired)),
            Standing::Inactive => return Err(Error::Unauthenticated(Unauthenticated::Revoked)),
            Standing::Orphaned => return Err(Error::Unauthenticated(Unauthenticated::Orphaned)),
        }
        let own = token.access().map_or(&[][..], |access| &access.addresses);
        let lists = records.iter().map(|record| record.addresses.as_slice());
        if !lists.chain([own]).all(|list| allows(list, address)) {
            return Err(Error::Forbidden(Forbidden::Address));
        }
        if let Some(max) = token.access().and_then(|access| access.uses_max) {
            if !self.0.store.spend(realm, token.id, max, now).await? {
                return Err(Error::Unauthenticated(Unauthenticated::Exhausted));
            }
        } else if self.0.usage.count(realm, token.id, now) {
            let engine = self.clone();
            self.in_background(async move { engine.flush_usage().await });
        }
        Ok(Verified { token, records })
    }

    async fn chain(&self, realm: RealmId, secret: &Secret) -> Result<Chain, Error> {
        // Normally there is one digest key, so one proof.
        let proofs: Vec<Proof> = self.0.keyring.proofs(realm, secret).collect();
        let remembered = if self.0.live.may_answer() {
            &proofs[..]
        } else {
            &[]
        };
        for proof in remembered {
            let known = self.0.live.get(&secret_key(realm, proof));
            if let Some(LiveEntry::Secret(id)) = known
                && let Some(chain) = self.live_chain(realm, id)
                && proves(proof, &chain.0)
            {
                return Ok(chain);
            }
        }
        for proof in &proofs {
            let chain = self
                .stored_chain(realm, Lookup::Located(proof.place()))
                .await?;
            if let Some(chain) = chain.filter(|(token, _)| proves(proof, token)) {
                return Ok(chain);
            }
        }
        // "Nobody has this secret" may only be said by one who holds the key that it would be found under.
        self.holds_all_keys().await?;
        Err(Error::Unauthenticated(Unauthenticated::Unknown))
    }

    fn live_chain(&self, realm: RealmId, id: TokenId) -> Option<Chain> {
        let live = &self.0.live;
        let LiveEntry::Token(token) = live.get(&LiveKey::Token(realm, id))? else {
            return None;
        };
        let mut records = Vec::new();
        let mut next = token.parent;
        while let Some(id) = next {
            let LiveEntry::Record(record) = live.get(&LiveKey::Record(realm, id))? else {
                return None;
            };
            if records.len() == limits::ANCESTORS_MAX {
                return None;
            }
            next = record.parent;
            records.push(record);
        }
        Some((token, records))
    }

    /// Reads the one token of a look-up with what is above it, and keeps them in the live index.
    async fn stored_chain(&self, realm: RealmId, lookup: Lookup) -> Result<Option<Chain>, Error> {
        let ticket = self.0.live.begin();
        let query = Query {
            realm,
            lookups: vec![lookup],
            entries: false,
            sealed: false,
            limit: 1,
        };
        let rows = self.0.store.fetch(query).await?;
        let Some(token) = rows.tokens.into_values().next() else {
            return Ok(None);
        };
        let token = Arc::new(token);
        // A chain that cannot be followed is a dead token.
        let above = ancestors(token.parent, &rows.records)
            .ok_or(Error::Unauthenticated(Unauthenticated::Orphaned))?;
        let records: Vec<Arc<Record>> = above.into_iter().cloned().map(Arc::new).collect();
        let found = records.iter().map(|record| {
            let key = LiveKey::Record(realm, record.id);
            (key, LiveEntry::Record(Arc::clone(record)))
        });
        let own = LiveEntry::Token(Arc::clone(&token));
        let proof = token.access().and_then(|access| access.proof).map(Proof);
        let secret = proof.map(|proof| (secret_key(realm, &proof), LiveEntry::Secret(token.id)));
        let fill = found
            .chain([(LiveKey::Token(realm, token.id), own)])
            .chain(secret);
        self.0.live.fill(&ticket, fill);
        Ok(Some((token, records)))
    }
}

/// Whether a token is the one that a secret with this proof belongs to.
fn proves(proof: &Proof, token: &Token) -> bool {
    token
        .access()
        .is_some_and(|access| proof.matches(access.proof.as_ref()))
}

fn secret_key(realm: RealmId, proof: &Proof) -> LiveKey {
    let mut key = [0; 16];
    key.copy_from_slice(&proof.0[..16]);
    LiveKey::Secret(realm, key)
}

/// An empty list allows any address; an address that is not known is on no list.
fn allows(list: &[IpNet], address: Option<IpAddr>) -> bool {
    // An IPv4 client on a dual-stack socket appears as ::ffff:a.b.c.d.
    let address = address.map(|address| address.to_canonical());
    list.is_empty() || address.is_some_and(|address| list.iter().any(|net| net.contains(&address)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lists_fail_closed() {
        let list: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let from = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert!(allows(&list, from("10.1.2.3")));
        assert!(allows(&list, from("::ffff:10.1.2.3")));
        assert!(allows(&list, from("::1")));
        assert!(!allows(&list, from("11.0.0.1")));
        assert!(!allows(&list, None));
        assert!(allows(&[], None));
    }
}
