//! The task of a member: joins, renews its lease, lets go of what is held, and tidies up after those who have died.
//!
//! The one thing to know: it is one task, and each statement is awaited before the next is sent. So the holds that it
//! sees are never older than those it saw before, which is what lets it take a missing one for released.

use std::sync::{Arc, Weak};
use std::time::Duration;

use engine::clock::Timestamp;
use engine::live::LiveIndex;
use engine::store::{JoinError, Membership, Role, StoreError};
use tokio::sync::oneshot;

use super::super::trouble::Trouble;
use super::link::{ACKNOWLEDGEMENTS, HOLDS};
use super::table::Node;
use super::{Nodes, table};
use crate::nodes::member::{Member, Renewed};
use crate::nodes::tidying::{self, Renewals, STRAY, Strays};
use crate::nodes::{Hold, LEASE, LOOK, MARGIN, NodeId, RENEWAL, Renewal, Row};

/// How long leaving may take; what is left behind is taken away by others.
const LEAVING_MAX: Duration = Duration::from_secs(3);

/// How often what was said of holds that are gone is looked for.
const SWEEP: Duration = Duration::from_mins(1);

/// What the task remembers from one round to the next.
struct Rounds {
    /// None for a visitor without a memory: nobody waits for it, but it looks who is there.
    speaker: Option<Speaker>,
    /// When the lease is to be renewed, and who is there is to be looked at.
    renewal_due: Duration,
    sweep_due: Duration,
    strays: Strays,
    renewals: Renewals,
}

/// Who speaks for a memory, or for a server without one: the others must know which keys it holds.
struct Speaker {
    member: Member,
    live: Arc<LiveIndex>,
    membership: Membership,
    skewed: bool,
    /// Whether it was said that another node has other settings.
    disagrees: bool,
}

impl Nodes {
    /// Becomes a member, if there is something to speak for, and stays one. Returns when memory may answer.
    pub(in super::super) async fn join(
        self: &Arc<Self>,
        membership: &Membership,
    ) -> Result<(), JoinError> {
        self.agree(membership).await?;
        let speaks = |live: &Arc<LiveIndex>| live.remembers() || membership.role == Role::Server;
        let speaker = self.live().filter(speaks).map(|live| Speaker {
            member: Member::new(Arc::clone(&live), self.process),
            live,
            membership: membership.clone(),
            skewed: false,
            disagrees: false,
        });
        let speaks = speaker.is_some();
        let rounds = Rounds {
            speaker,
            renewal_due: Duration::ZERO,
            sweep_due: self.now() + SWEEP,
            strays: Strays::default(),
            renewals: Renewals::default(),
        };
        let (first, joined) = oneshot::channel();
        let task = tokio::spawn(run(Arc::downgrade(self), rounds, first));
        self.keep(task);
        if !speaks {
            return Ok(());
        }
        // It tries for as long as it takes; who cannot wait gives up by itself.
        let _ = joined.await;
        // Two that started at the same time with different settings have both seen nobody.
        let agreed = self.agree(membership).await;
        if agreed.is_err() {
            self.close().await;
        }
        agreed
    }

    /// Compares the settings with those of all nodes that live.
    async fn agree(&self, membership: &Membership) -> Result<(), JoinError> {
        let mut suspects: Option<Vec<(NodeId, i64, Vec<String>)>> = None;
        loop {
            let nodes = table::nodes(&self.lease).await.map_err(join_error)?;
            let differing: Vec<(NodeId, i64, Vec<String>)> = nodes
                .into_iter()
                .filter(|node| !node.row.expelled && node.row.process != self.process)
                .filter(|node| !node.agrees_with(membership))
                .map(|node| {
                    let names = node.other_settings(membership);
                    (node.row.id, node.renewals, names)
                })
                .collect();
            let Some(before) = suspects else {
                if differing.is_empty() {
                    return Ok(());
                }
                // It may have died without a word: whoever lives renews its lease meanwhile.
                suspects = Some(differing);
                tokio::time::sleep(LEASE + MARGIN).await;
                continue;
            };
            let alive = differing.iter().find(|node| !before.contains(node));
            if let Some((_, _, names)) = alive {
                let names = names.clone();
                return Err(JoinError::OtherSettings { names });
            }
            let dead: Vec<_> = differing
                .iter()
                .map(|(id, count, _)| (*id, *count))
                .collect();
            table::expel_unrenewed(&self.lease, &dead)
                .await
                .map_err(join_error)?;
            return Ok(());
        }
    }

    /// What each server that is there, or whose lease may last, has said of its keys.
    pub(in super::super) async fn reports(&self) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let nodes = table::nodes(&self.durable).await;
        let nodes = nodes.map_err(store_error)?;
        // The rows of the expelled stay until their leases are over.
        Ok(nodes.into_iter().map(|node| node.keys).collect())
    }

    /// Leaves: memory answers no more, and nothing in the store speaks of this process.
    pub(super) async fn leave(&self) {
        if let Some(live) = self.live() {
            live.require_lease();
            live.clear();
        }
        // What cannot be taken away now is taken away by others.
        let tidy = async {
            let nodes = table::nodes(&self.lease).await?;
            let mine: Vec<NodeId> = nodes
                .iter()
                .filter(|node| node.row.process == self.process)
                .map(|node| node.row.id)
                .collect();
            table::remove(&self.lease, &mine).await?;
            // Under the lock: a transaction whose outcome nobody has waited for may still be under way.
            let holds = table::holds(&self.lease).await?;
            for hold in holds.iter().filter(|hold| hold.owner == self.process) {
                self.release_under_lock(hold.realm, hold.id).await?;
            }
            let _ = table::wake(&self.quick, HOLDS).await;
            // Nobody may be left who would do it from time to time.
            table::forget_stray(&self.quick).await
        };
        match tokio::time::timeout(LEAVING_MAX, tidy).await {
            Ok(Ok(())) => {}
            left => tracing::debug!(?left, "left without a word"),
        }
    }

    /// Joins or renews if it is time, and lets go of what is held.
    async fn round(&self, rounds: &mut Rounds) -> Result<(), Trouble> {
        let now = self.now();
        let due = now >= rounds.renewal_due;
        let asked_at = match &mut rounds.speaker {
            Some(speaker) => {
                let asked_at = speaker.live.clocks();
                let renewed = self.keep_up(speaker, due).await?;
                renewed.then_some(asked_at)
            }
            None => None,
        };
        let renewed = asked_at.is_some();
        let nodes = if renewed || (due && rounds.speaker.is_none()) {
            Some(self.read_nodes().await?)
        } else {
            None
        };
        let holds = table::holds(&self.lease).await?;
        if let Some(speaker) = &mut rounds.speaker {
            self.let_go(speaker, &holds).await?;
            if let (Some(asked_at), Some(nodes)) = (asked_at, &nodes) {
                self.take_lease(speaker, nodes, asked_at).await?;
            }
        }
        let Some(nodes) = nodes else { return Ok(()) };
        rounds.renewal_due = now + RENEWAL;
        self.expel_the_dead(rounds, &nodes).await?;
        self.tidy(rounds, &nodes, &holds).await
    }

    async fn read_nodes(&self) -> Result<Vec<Node>, Trouble> {
        let nodes = table::nodes(&self.lease).await?;
        self.saw(&nodes, self.now());
        Ok(nodes)
    }

    /// Joins or renews; says whether it did, and so may take a lease.
    async fn keep_up(&self, speaker: &mut Speaker, due: bool) -> Result<bool, Trouble> {
        let member = &mut speaker.member;
        let Some(id) = member.present() else {
            let id = NodeId(self.random());
            let remembers = speaker.live.remembers();
            let membership = &speaker.membership;
            table::join(&self.lease, id, self.process, membership, remembers).await?;
            member.joined(id);
            return Ok(true);
        };
        if !due {
            return Ok(false);
        }
        if table::renew(&self.lease, id).await? {
            return Ok(true);
        }
        tracing::warn!("this node was expelled because it was too slow to answer; it joins anew");
        self.lose(speaker, id).await?;
        Ok(false)
    }

    /// Lets go of what is held, and says so.
    async fn let_go(&self, speaker: &mut Speaker, holds: &[Hold]) -> Result<(), Trouble> {
        let answers = speaker.member.saw(holds);
        let Some(id) = speaker.member.present().filter(|_| !answers.is_empty()) else {
            return Ok(());
        };
        let said = table::acknowledge(&self.quick, id, &answers).await;
        if said.is_err() {
            let unsent = answers.iter().map(|(_, hold)| *hold);
            speaker.member.unsent(unsent);
            return said;
        }
        // A notice that is lost, or that the engine does not know, is made up for by everybody's own looking.
        let _ = table::wake(&self.quick, ACKNOWLEDGEMENTS).await;
        Ok(())
    }

    async fn take_lease(
        &self,
        speaker: &mut Speaker,
        nodes: &[Node],
        asked_at: (Duration, Timestamp),
    ) -> Result<(), Trouble> {
        let Some(id) = speaker.member.present() else {
            return Ok(());
        };
        let others = nodes.iter().filter(|node| node.row.process != self.process);
        let mut others = others.filter(|node| !node.row.expelled);
        if let Some(other) = others.find(|node| !node.agrees_with(&speaker.membership)) {
            // It was so slow that another one has taken its place meanwhile.
            speaker.live.require_lease();
            if !speaker.disagrees {
                tracing::error!(
                    settings = other.other_settings(&speaker.membership).join(", "),
                    "another node of this store runs with other settings or keys: until one of them is stopped, every \
                     token is looked up in the database"
                );
            }
            speaker.disagrees = true;
            return Ok(());
        }
        speaker.disagrees = false;
        let (incarnation, store_time) = table::incarnation(&self.lease).await?;
        let renewal = Renewal {
            asked_at,
            answered_at: speaker.live.clocks().1,
            store_time,
            incarnation,
        };
        match speaker.member.renewed(&renewal) {
            Renewed::Leased => speaker.skewed = false,
            Renewed::Skewed(micros) => {
                if !speaker.skewed {
                    tracing::error!(
                        milliseconds = micros / 1000,
                        "the clock of this machine is that far ahead of the database's (behind, if negative): \
                         until it is set right, every token is looked up in the database"
                    );
                }
                speaker.skewed = true;
            }
            Renewed::Lost => {
                tracing::warn!("the database was restarted or replaced; this node joins anew");
                self.lose(speaker, id).await?;
            }
        }
        Ok(())
    }

    /// The membership is over, and memory empty: nobody need wait for it.
    async fn lose(&self, speaker: &mut Speaker, id: NodeId) -> Result<(), Trouble> {
        speaker.member.lost();
        table::remove(&self.lease, &[id]).await
    }

    /// Marks members that do not renew: otherwise what they have left behind would stay until a write waits for them.
    async fn expel_the_dead(&self, rounds: &mut Rounds, nodes: &[Node]) -> Result<(), Trouble> {
        let others = nodes
            .iter()
            .filter(|node| node.row.process != self.process && !node.row.expelled)
            .map(|node| (node.row.id, node.renewals));
        let dead = rounds.renewals.dead(others, self.now());
        if !dead.is_empty() {
            let ids: Vec<NodeId> = dead.iter().map(|(id, _)| *id).collect();
            tracing::warn!(nodes = ?ids, "nodes do not renew their leases and are expelled");
            table::expel_unrenewed(&self.lease, &dead).await?;
        }
        Ok(())
    }

    /// Takes away what is of no use any more: rows of the expelled and holds of the dead.
    async fn tidy(
        &self,
        rounds: &mut Rounds,
        nodes: &[Node],
        holds: &[Hold],
    ) -> Result<(), Trouble> {
        let now = self.now();
        let mut over = self.state().roster.over(now);
        let rows: Vec<Row> = nodes.iter().map(|node| node.row).collect();
        let speaker = rounds.speaker.as_ref();
        let present = speaker.and_then(|speaker| speaker.member.present());
        over.extend(tidying::former(&rows, self.process, present));
        if !over.is_empty() {
            table::remove(&self.lease, &over).await?;
        }
        let forgotten = {
            let state = self.state();
            tidying::forgotten(holds, self.process, |id| state.own.contains(id))
        };
        for hold in forgotten {
            // Released, but that was lost with a crash of the database, which need not keep it.
            table::release(&self.quick, hold.realm, &[hold.id]).await?;
        }
        let strays = &mut rounds.strays;
        for hold in strays.old(holds, &rows, self.process, now, STRAY) {
            self.is_stray(hold.realm, hold.id);
        }
        if now >= rounds.sweep_due {
            rounds.sweep_due = now + SWEEP;
            table::forget_stray(&self.quick).await?;
        }
        Ok(())
    }
}

fn join_error(trouble: Trouble) -> JoinError {
    JoinError::Store(store_error(trouble))
}

fn store_error(trouble: Trouble) -> StoreError {
    match trouble {
        Trouble::Refused(error) => error,
        Trouble::Again(message) | Trouble::Unreachable(message) => StoreError::Unavailable {
            message,
            unknown: false,
        },
    }
}

async fn run(nodes: Weak<Nodes>, mut rounds: Rounds, first: oneshot::Sender<()>) {
    let mut first = Some(first);
    let mut troubled = false;
    loop {
        let Some(present) = nodes.upgrade() else {
            return;
        };
        let mut notices = present.quick.holds();
        notices.borrow_and_update();
        let round = present.round(&mut rounds).await;
        let outside = rounds
            .speaker
            .as_ref()
            .is_some_and(|speaker| speaker.member.present().is_none());
        match round {
            Ok(()) => {
                troubled = false;
                if let Some(first) = first.take_if(|_| !outside) {
                    // Who waited may have given up.
                    let _ = first.send(());
                }
            }
            Err(error) => {
                if !troubled {
                    tracing::warn!(?error, "the database does not answer this node");
                }
                troubled = true;
            }
        }
        let until_renewal = rounds.renewal_due.saturating_sub(present.now());
        let pause = if troubled {
            LOOK
        } else if outside {
            Duration::ZERO
        } else if present.has_company() && rounds.speaker.is_some() {
            until_renewal.min(LOOK)
        } else {
            until_renewal
        };
        drop(present);
        let _ = tokio::time::timeout(pause, notices.changed()).await;
    }
}
