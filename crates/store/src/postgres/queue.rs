//! Who may come in: a bound on the writes that wait, and the door that is shut at the end.
//!
//! The one thing to know: waiting for a place ends with a refusal that is certain – what got no place was not begun. What
//! has a [`Pass`] is waited for by [`Door::close`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::store::StoreError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::rows::closed;
use crate::columns::unavailable;

/// The door of a store.
#[derive(Clone)]
pub(super) struct Door {
    places: Arc<Semaphore>,
    wait: Duration,
    inside: Arc<Inside>,
}

struct Inside {
    state: Mutex<State>,
    empty: Notify,
}

#[derive(Default)]
struct State {
    closed: bool,
    passes: usize,
}

impl Inside {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by a write from its beginning to its end.
pub(super) struct Pass {
    inside: Arc<Inside>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.inside.state();
        state.passes -= 1;
        if state.passes == 0 {
            self.inside.empty.notify_waiters();
        }
    }
}

impl Door {
    /// So many may be inside, and another waits so long for one of them to leave.
    pub(super) fn new(places: usize, wait: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places.max(1))),
            wait,
            inside: Arc::new(Inside {
                state: Mutex::default(),
                empty: Notify::new(),
            }),
        }
    }

    pub(super) async fn enter(&self) -> Result<Pass, StoreError> {
        let place = Arc::clone(&self.places).acquire_owned();
        let place = tokio::time::timeout(self.wait, place)
            .await
            .map_err(|_| unavailable("too many calls are waiting for the store"))?
            .map_err(|_| closed())?;
        let mut state = self.inside.state();
        if state.closed {
            return Err(closed());
        }
        state.passes += 1;
        drop(state);
        Ok(Pass {
            inside: Arc::clone(&self.inside),
            _place: place,
        })
    }

    /// Lets nobody in any more, and returns when nobody is inside.
    pub(super) async fn close(&self) {
        loop {
            let left = self.inside.empty.notified();
            tokio::pin!(left);
            // From here on no notification is missed, also one that comes before it is waited for.
            left.as_mut().enable();
            {
                let mut state = self.inside.state();
                state.closed = true;
                self.places.close();
                if state.passes == 0 {
                    return;
                }
            }
            left.await;
        }
    }
}
