//! Uses of tokens that may be used so often and no more: those of one token that have gathered are one statement.
//!
//! The one thing to know: uses have connections of their own share. The row of a token that everybody uses is written by
//! one transaction after another, and if each use took a connection to wait there, no other write would find one.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use engine::clock::Timestamp;
use engine::realm::RealmId;
use engine::store::StoreError;
use engine::token::TokenId;
use futures_util::FutureExt as _;
use tokio::sync::{Semaphore, oneshot};

use super::faults::CommitFaults;
use super::queue::Pass;
use super::rows::closed;
use super::trouble::until_certain;
use super::usage::Count;
use crate::columns::{defect, unavailable};

/// Uses in one statement; it is as fast with any number, so this only bounds how many outcomes one lost answer leaves open.
const USES_MAX: usize = 512;

/// What uses have in common that can be counted together: the token and its limit.
type Spent = (RealmId, TokenId, u64);

/// One call.
struct Use {
    at: Timestamp,
    reply: oneshot::Sender<Result<bool, StoreError>>,
    _pass: Pass,
}

impl Use {
    fn answer(self, answer: Result<bool, StoreError>) {
        // Nobody waits for the answer of a dropped future.
        let _ = self.reply.send(answer);
    }
}

/// All uses that are under way.
pub(super) struct Spending {
    pool: Pool,
    faults: Option<Arc<dyn CommitFaults>>,
    /// Time for one statement, with its repetitions.
    deadline: Duration,
    /// How many tokens may be written at the same time.
    places: Semaphore,
    /// How long a token waits for such a place.
    wait: Duration,
    /// What has gathered, for each token of which uses are under way.
    lines: Mutex<HashMap<Spent, VecDeque<Use>>>,
}

impl Spending {
    /// Takes half of the connections of a pool of `size` at the most.
    pub(super) fn new(
        pool: Pool,
        size: usize,
        faults: Option<Arc<dyn CommitFaults>>,
        deadline: Duration,
        wait: Duration,
    ) -> Self {
        Self {
            pool,
            faults,
            deadline,
            places: Semaphore::new((size / 2).max(1)),
            wait,
            lines: Mutex::default(),
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Spent, VecDeque<Use>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one use, with others, unless the limit is reached; goes on if it is not waited for.
    pub(super) async fn spend(
        self: &Arc<Self>,
        spent: Spent,
        at: Timestamp,
        pass: Pass,
    ) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        let one = Use {
            at,
            reply,
            _pass: pass,
        };
        let begins = {
            let mut lines = self.lines();
            let begins = !lines.contains_key(&spent);
            lines.entry(spent).or_default().push_back(one);
            begins
        };
        if begins {
            tokio::spawn(Arc::clone(self).run(spent));
        }
        answer.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable {
                message: "the use was counted or not, without an answer".to_owned(),
                unknown: true,
            })
        })
    }

    /// Works until nobody uses this token any more.
    async fn run(self: Arc<Self>, spent: Spent) {
        while let Some(uses) = self.next(spent) {
            // A defect must not leave a token that is never counted again; its callers learn it by the end of their
            // channels.
            let counted = AssertUnwindSafe(self.count(spent, uses)).catch_unwind();
            if counted.await.is_err() {
                tracing::error!("counting uses panicked");
            }
        }
    }

    /// Those who are in line; if there are none, the one who asks is to end.
    fn next(&self, spent: Spent) -> Option<VecDeque<Use>> {
        let mut lines = self.lines();
        let line = lines.get_mut(&spent)?;
        if line.is_empty() {
            lines.remove(&spent);
            return None;
        }
        let count = line.len().min(USES_MAX);
        Some(line.drain(..count).collect())
    }

    /// Counts and answers all of these.
    ///
    /// They are counted together or not at all. If that would go beyond the limit, it is tried with half of them, and so
    /// on down to one: the first uses are granted, as many as there is room for.
    async fn count(&self, spent: Spent, mut uses: VecDeque<Use>) {
        let place = match tokio::time::timeout(self.wait, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            refused => {
                let error = || match refused {
                    Ok(_) => closed(),
                    Err(_) => unavailable("too many tokens are being used"),
                };
                for one in uses {
                    one.answer(Err(error()));
                }
                return;
            }
        };
        let mut together = uses.len();
        let mut narrowing = false;
        while !uses.is_empty() {
            let tried: VecDeque<Use> = uses.drain(..together.min(uses.len())).collect();
            match self.try_together(spent, &tried).await {
                Ok(true) => tried.into_iter().for_each(|one| one.answer(Ok(true))),
                Ok(false) if tried.len() == 1 => {
                    // The number of uses never falls, so there is no room for those behind it either.
                    let refused = tried.into_iter().chain(uses);
                    refused.for_each(|one| one.answer(Ok(false)));
                    break;
                }
                Ok(false) => {
                    narrowing = true;
                    let mut back = tried;
                    back.append(&mut uses);
                    uses = back;
                }
                Err(error) => {
                    fail(tried, uses, &error);
                    break;
                }
            }
            if narrowing {
                together = (together / 2).max(1);
            }
        }
        drop(place);
    }

    /// Whether all of them were counted; otherwise none was.
    async fn try_together(
        &self,
        (realm, token, max): Spent,
        uses: &VecDeque<Use>,
    ) -> Result<bool, StoreError> {
        let Some(last) = uses.iter().map(|one| one.at).max() else {
            return Ok(true);
        };
        let count = uses.len() as u64;
        let faults = self.faults.as_ref();
        let mut spend = Count::spend(&self.pool, faults, (realm, token), (count, max), last);
        let counted = until_certain(&mut spend, self.deadline).await;
        counted.map(|rows| rows == 1)
    }
}

/// Tells those of a statement that failed, and those who were still to come and would meet the same.
fn fail(tried: VecDeque<Use>, others: VecDeque<Use>, error: &StoreError) {
    let told = |tried: bool| match error {
        StoreError::Unavailable { message, unknown } => StoreError::Unavailable {
            message: message.clone(),
            unknown: *unknown && tried,
        },
        other => defect(other.to_string()),
    };
    for one in tried {
        one.answer(Err(told(true)));
    }
    for one in others {
        one.answer(Err(told(false)));
    }
}
