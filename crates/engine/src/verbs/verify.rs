//! Verify: is this secret good, here and now?
//!
//! The one thing to know: it answers from the live index and reads the clock itself, after the request was parsed. A miss
//! costs one read of the store; an answer is never older than the last acknowledged write.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::engine::Engine;
use crate::error::{Error, Forbidden, Unauthenticated};
use crate::limits;
use crate::live::{LiveEntry, LiveKey};
use crate::locator::Holder;
use crate::realm::RealmId;
use crate::record::Record;
use crate::secret::{Proof, Secret};
use crate::store::{Lookup, Query};
use crate::token::{Standing, Token, ancestors};

/// A token with everything above it.
type Chain = (Arc<Token>, Vec<Arc<Record>>);

impl Engine {
    /// The token with this secret, if it is in force and may be used from `address`. Counts as a use.
    ///
    /// # Errors
    /// `Unauthenticated` with the cause, `Forbidden(Address)`, or what the store says.
    pub async fn verify(
        &self,
        realm: RealmId,
        secret: &Secret,
        address: Option<IpAddr>,
    ) -> Result<Arc<Token>, Error> {
        let (token, records) = self.chain(realm, secret).await?;
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
        if self.0.usage.count(realm, token.id, now) {
            let engine = self.clone();
            self.in_background(async move { engine.flush_usage().await });
        }
        Ok(token)
    }

    async fn chain(&self, realm: RealmId, secret: &Secret) -> Result<Chain, Error> {
        // Normally there is one digest key, so one proof.
        let proofs: Vec<Proof> = self.0.keyring.proofs(realm, secret).collect();
        for proof in &proofs {
            if let Some(chain) = self.live_chain(realm, proof) {
                return Ok(chain);
            }
        }
        for proof in &proofs {
            if let Some(chain) = self.stored_chain(realm, proof).await? {
                return Ok(chain);
            }
        }
        Err(Error::Unauthenticated(Unauthenticated::Unknown))
    }

    fn live_chain(&self, realm: RealmId, proof: &Proof) -> Option<Chain> {
        let live = &self.0.live;
        let LiveEntry::Secret(id) = live.get(&secret_key(realm, proof))? else {
            return None;
        };
        let LiveEntry::Token(token) = live.get(&LiveKey::Token(realm, id))? else {
            return None;
        };
        if !proof.matches(&token.access()?.proof) {
            return None;
        }
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

    async fn stored_chain(&self, realm: RealmId, proof: &Proof) -> Result<Option<Chain>, Error> {
        let ticket = self.0.live.begin();
        let place = proof.place();
        let query = Query {
            realm,
            lookups: vec![Lookup::Located(place.clone())],
            entries: false,
            sealed: false,
            limit: 1,
        };
        let rows = self.0.store.fetch(query).await?;
        let Some(Holder::Token(id)) = rows.located.get(&place).copied() else {
            return Ok(None);
        };
        let Some(token) = rows.tokens.get(&id) else {
            return Ok(None);
        };
        if !token
            .access()
            .is_some_and(|access| proof.matches(&access.proof))
        {
            return Ok(None);
        }
        let token = Arc::new(token.clone());
        // A chain that cannot be followed is a dead token.
        let above = ancestors(token.parent, &rows.records)
            .ok_or(Error::Unauthenticated(Unauthenticated::Orphaned))?;
        let records: Vec<Arc<Record>> = above.into_iter().cloned().map(Arc::new).collect();
        let found = records.iter().map(|record| {
            let key = LiveKey::Record(realm, record.id);
            (key, LiveEntry::Record(Arc::clone(record)))
        });
        let fill = found.chain([
            (
                LiveKey::Token(realm, id),
                LiveEntry::Token(Arc::clone(&token)),
            ),
            (secret_key(realm, proof), LiveEntry::Secret(id)),
        ]);
        self.0.live.fill(&ticket, fill);
        Ok(Some((token, records)))
    }
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
