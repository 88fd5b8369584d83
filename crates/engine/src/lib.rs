//! What a token is and what may be done with it.
//!
//! The one thing to know: this crate knows nobody – no HTTP, no SQL, no product's name. A rule is written here once, and
//! holds in every dialect. [`Engine`] is the whole API: one verb per file under `verbs/`.

pub(crate) mod agreement;
pub mod batch;
pub mod caller;
pub mod clock;
mod draft;
mod engine;
pub mod entropy;
pub mod error;
pub mod event;
pub mod guard;
pub mod key_list;
pub mod keyring;
mod lease;
pub mod limits;
pub mod live;
pub mod locator;
pub mod permission;
pub mod realm;
pub mod record;
pub mod refusal;
pub mod seal;
pub mod secret;
pub mod selection;
pub mod store;
pub mod tags;
pub mod token;
mod usage;
pub mod value;
pub mod verbs;

pub use engine::{Engine, Parts};
pub use error::Error;
