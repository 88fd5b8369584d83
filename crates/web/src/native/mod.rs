//! The house's own words: problem details, the first native routes, and the pages every server has.
//!
//! The one thing to know: the native routes are spoken on the control socket only, whose file mode is their credential;
//! the public listener has health, readiness and, if a setting says so, metrics and the OpenAPI documents.

mod caller;
mod house;
mod issue_token;
mod list_keys;
mod list_realms;
mod list_tokens;
pub mod problem;
mod realms;
mod revoke_token;
mod show_token;
mod token_history;
mod update_token;
mod wire;

use std::fmt;
use std::sync::Arc;

use engine::Engine;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::dialects::Dialect;

pub use caller::Operator;
pub use house::{House, MetricsText, Stopping, house};
pub use realms::default_realm;

/// What the native routes work with.
#[derive(Clone)]
pub struct Control {
    /// The engine.
    pub engine: Engine,
    /// The dialects that are spoken: each mints its own kind of secret.
    pub dialects: Arc<[Arc<dyn Dialect>]>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("dialects", &self.dialects)
            .finish_non_exhaustive()
    }
}

/// The routes of the control socket, to be mounted there and nowhere else: whoever reaches them may do everything.
pub fn control(control: Control) -> OpenApiRouter {
    routes_of_control().with_state(control)
}

fn routes_of_control() -> OpenApiRouter<Control> {
    OpenApiRouter::new()
        .routes(routes!(issue_token::handler, list_tokens::handler))
        .routes(routes!(show_token::handler, update_token::handler))
        .routes(routes!(revoke_token::handler))
        .routes(routes!(token_history::handler))
        .routes(routes!(list_realms::handler))
        .routes(routes!(list_keys::handler))
}
