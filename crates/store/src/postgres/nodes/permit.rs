//! Permits: what a group of writes needs before its transaction may change anything that others remember.
//!
//! The one thing to know: a permit is a hold that is committed and that every node has let go of. The transaction proves,
//! under the lock of its realm, that the hold is still there; so one that somebody takes away under that lock can have
//! no transaction below it, however late that would come.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use engine::live::{Held, LiveIndex, LiveKey};
use engine::realm::RealmId;
use tokio::sync::mpsc;

use super::super::transaction;
use super::super::trouble::{Trouble, of_statement};
use super::link::HOLDS;
use super::{Nodes, table};
use crate::nodes::{Assent, Hold, HoldId, Row, Step};

/// Keys of one hold. Beyond them the whole realm is held: every node would have to forget each of them.
const KEYS_MAX: usize = 2_000;

/// Realms of which this process says at the same time that it is alone there.
const STANDING_MAX: usize = 64;

/// How long acknowledgements are waited for without looking, where notices do not come.
const LOOK: Duration = Duration::from_millis(10);

/// How often it is looked who of them is still there.
const ROWS_LOOK: Duration = Duration::from_millis(50);

/// What a transaction may change.
#[derive(Clone, Debug)]
pub(in super::super) struct Permit {
    realm: RealmId,
    under: Under,
}

#[derive(Clone, Debug)]
enum Under {
    /// Only what nobody can remember.
    Nothing,
    /// A hold of its own.
    Own(Arc<Own>, Covered),
    /// The hold on the realm that stays while this process is alone.
    Standing(Arc<Own>),
}

#[derive(Clone, Debug)]
enum Covered {
    Realm,
    Keys(Arc<BTreeSet<LiveKey>>),
}

/// A hold that was placed for one group. When nobody needs it any more, it is taken away.
#[derive(Debug)]
pub(super) struct Own {
    realm: RealmId,
    id: HoldId,
    over: mpsc::UnboundedSender<(RealmId, HoldId)>,
}

impl Drop for Own {
    fn drop(&mut self) {
        // Who is told has ended with the store; then leaving takes the hold away.
        let _ = self.over.send((self.realm, self.id));
    }
}

impl Permit {
    /// The hold that must still be there when the transaction has locked its realm.
    pub(in super::super) fn hold(&self) -> Option<HoldId> {
        match &self.under {
            Under::Nothing => None,
            Under::Own(own, _) | Under::Standing(own) => Some(own.id),
        }
    }

    /// Whether it lets all of these be changed.
    pub(in super::super) fn covers(&self, keys: &[LiveKey]) -> bool {
        match &self.under {
            Under::Nothing => keys.is_empty(),
            Under::Standing(_) | Under::Own(_, Covered::Realm) => true,
            Under::Own(_, Covered::Keys(held)) => keys.iter().all(|key| held.contains(key)),
        }
    }
}

/// Keys that this process itself does not remember while the outcome of its own commit is open. Dropping it says that
/// the outcome is certain.
#[derive(Debug)]
pub(in super::super) struct Mine {
    live: Option<Arc<LiveIndex>>,
    held: Held,
}

impl Drop for Mine {
    fn drop(&mut self) {
        if let Some(live) = &self.live {
            live.release(&self.held);
        }
    }
}

impl Nodes {
    /// To be called before COMMIT is sent.
    pub(in super::super) fn mine(&self, keys: Vec<LiveKey>) -> Mine {
        let held = Held::Keys(keys);
        let live = self.live().filter(|live| live.remembers());
        if let Some(live) = &live {
            live.hold(&held);
        }
        Mine { live, held }
    }

    /// A permit for anything in a realm, if this process is alone. `None`: say by [`Nodes::permit`] what is to be changed.
    pub(in super::super) async fn permit_alone(
        &self,
        realm: RealmId,
    ) -> Result<Option<Permit>, Trouble> {
        if let Some(own) = self.state().standing.get(&realm) {
            let under = Under::Standing(Arc::clone(own));
            return Ok(Some(Permit { realm, under }));
        }
        if self.has_company() {
            return Ok(None);
        }
        let (own, hold) = self.new_hold(realm, Held::Realm(realm));
        let others = self.announce(&hold).await?;
        if others.is_empty() {
            let under = Under::Standing(self.stand(own));
            return Ok(Some(Permit { realm, under }));
        }
        self.wait(&hold, &others).await?;
        let under = Under::Own(own, Covered::Realm);
        Ok(Some(Permit { realm, under }))
    }

    /// Lets a hold on a realm stay for the groups to come.
    fn stand(&self, own: Arc<Own>) -> Arc<Own> {
        let mut state = self.state();
        // Every look reads all of them, and who joins has to let go of each.
        let former_all = if state.standing.len() >= STANDING_MAX {
            std::mem::take(&mut state.standing)
        } else {
            HashMap::new()
        };
        let former = state.standing.insert(own.realm, Arc::clone(&own));
        drop(state);
        drop(former_all);
        // Another group may have done the same at the same time; that hold goes when its group is done.
        drop(former);
        own
    }

    /// A permit to change these keys, once every node has let go of them.
    pub(in super::super) async fn permit(
        &self,
        realm: RealmId,
        keys: BTreeSet<LiveKey>,
    ) -> Result<Permit, Trouble> {
        if keys.is_empty() {
            let under = Under::Nothing;
            return Ok(Permit { realm, under });
        }
        if keys.len() > KEYS_MAX {
            return self.permit_all(realm).await;
        }
        let listed = Held::Keys(keys.iter().copied().collect());
        let own = self.granted(realm, listed).await?;
        let under = Under::Own(own, Covered::Keys(Arc::new(keys)));
        Ok(Permit { realm, under })
    }

    /// A permit to change anything in a realm, beside others.
    pub(in super::super) async fn permit_all(&self, realm: RealmId) -> Result<Permit, Trouble> {
        let own = self.granted(realm, Held::Realm(realm)).await?;
        let under = Under::Own(own, Covered::Realm);
        Ok(Permit { realm, under })
    }

    /// A hold that every other node has let go of.
    async fn granted(&self, realm: RealmId, held: Held) -> Result<Arc<Own>, Trouble> {
        let (own, placed) = self.new_hold(realm, held);
        let others = self.announce(&placed).await?;
        self.wait(&placed, &others).await?;
        Ok(own)
    }

    fn new_hold(&self, realm: RealmId, held: Held) -> (Arc<Own>, Hold) {
        let id = HoldId(self.random());
        self.state().own.insert(id);
        let over = self.over.clone();
        let placed = Hold {
            id,
            realm,
            owner: self.process,
            held,
        };
        (Arc::new(Own { realm, id, over }), placed)
    }

    /// Commits a hold and reads, after that, who is to let go of it.
    async fn announce(&self, hold: &Hold) -> Result<Vec<Row>, Trouble> {
        table::place(&self.durable, hold).await?;
        self.rows().await
    }

    /// The other nodes, read now.
    async fn rows(&self) -> Result<Vec<Row>, Trouble> {
        let nodes = table::nodes(&self.durable).await?;
        Ok(self.saw(&nodes, self.now()))
    }

    /// Waits until all have let go.
    async fn wait(&self, hold: &Hold, others: &[Row]) -> Result<(), Trouble> {
        if others.is_empty() {
            return Ok(());
        }
        let mut notices = self.quick.acknowledgements();
        notices.borrow_and_update();
        // One that is lost is made up for by everybody's own looking.
        let _ = table::wake(&self.quick, HOLDS).await;
        let mut assent = Assent::new(others, &self.state().roster, self.now());
        let mut rows_due = self.now() + ROWS_LOOK;
        loop {
            match assent.step(self.now()) {
                Step::Go => return Ok(()),
                Step::Expel(silent) => {
                    tracing::warn!(nodes = ?silent, "nodes did not answer and are expelled");
                    metrics::counter!("tokenhouse_nodes_expelled_total")
                        .increment(silent.len() as u64);
                    table::expel(&self.durable, &silent).await?;
                    assent.expelled(&silent, self.now());
                }
                Step::Wait(until) if !assent.asks() => {
                    tokio::time::sleep(until.saturating_sub(self.now())).await;
                }
                Step::Wait(until) => {
                    let pause = until.saturating_sub(self.now()).min(LOOK);
                    // Either a notice or the time.
                    let _ = tokio::time::timeout(pause, notices.changed()).await;
                    let by = table::acknowledgements(&self.quick, hold.realm, hold.id).await?;
                    assent.acknowledged(by);
                    if self.now() >= rows_due {
                        // Somebody may have left, or been expelled by another.
                        assent.remaining(&self.rows().await?, self.now());
                        rows_due = self.now() + ROWS_LOOK;
                    }
                }
            }
        }
    }

    /// A permit's hold was not there any more: the permit is worth nothing.
    pub(in super::super) fn is_gone(&self, permit: &Permit) {
        if let Under::Standing(gone) = &permit.under {
            let mut state = self.state();
            let standing = state.standing.get(&permit.realm);
            if standing.is_some_and(|own| own.id == gone.id) {
                state.standing.remove(&permit.realm);
            }
        }
    }

    /// Has a hold taken away whose process is gone. The one who sees it must not wait for the lock.
    pub(super) fn is_stray(&self, realm: RealmId, hold: HoldId) {
        // What finds no place is seen again.
        let _ = self.strays.try_send((realm, hold));
    }

    /// Takes a hold away under the lock of its realm: no transaction of its owner can be below it any more, and none that
    /// comes later finds it.
    pub(super) async fn release_under_lock(
        &self,
        realm: RealmId,
        hold: HoldId,
    ) -> Result<(), Trouble> {
        let session = transaction::locked(&self.writers, realm).await?;
        session
            .execute(table::RELEASE, &[&realm.0, &hold.0])
            .await
            .map_err(of_statement)?;
        session
            .batch_execute("COMMIT")
            .await
            .map_err(of_statement)?;
        session.keep();
        Ok(())
    }
}

/// Takes away holds whose transactions have ended, as many at a time as have gathered.
pub(super) async fn release_when_over(
    nodes: Weak<Nodes>,
    mut over: mpsc::UnboundedReceiver<(RealmId, HoldId)>,
) {
    while let Some(first) = over.recv().await {
        let mut gathered: HashMap<RealmId, Vec<HoldId>> = HashMap::new();
        let mut next = Some(first);
        while let Some((realm, hold)) = next {
            gathered.entry(realm).or_default().push(hold);
            next = over.try_recv().ok();
        }
        let Some(nodes) = nodes.upgrade() else { return };
        for (realm, holds) in gathered {
            let mut pause = Duration::from_millis(20);
            loop {
                match table::release(&nodes.quick, realm, &holds).await {
                    Ok(()) => break,
                    // Not by asking again; the next look finds them.
                    Err(Trouble::Refused(error)) => {
                        tracing::warn!(%error, "holds could not be taken away");
                        break;
                    }
                    Err(error) => tracing::debug!(?error, "holds could not be taken away yet"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            let mut state = nodes.state();
            for hold in &holds {
                state.own.remove(hold);
            }
        }
        let _ = table::wake(&nodes.quick, HOLDS).await;
    }
}

/// Takes away holds of processes that are gone, one after the other.
pub(super) async fn release_strays(
    nodes: Weak<Nodes>,
    mut strays: mpsc::Receiver<(RealmId, HoldId)>,
) {
    while let Some((realm, hold)) = strays.recv().await {
        let Some(nodes) = nodes.upgrade() else { return };
        match nodes.release_under_lock(realm, hold).await {
            Ok(()) => tracing::info!("took away what a process that is gone was about to change"),
            // It is seen again.
            Err(error) => tracing::debug!(?error, "a stray hold could not be taken away yet"),
        }
    }
}
