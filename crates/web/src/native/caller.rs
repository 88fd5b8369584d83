//! Who speaks on the control socket: somebody on this machine, named by the operating system.
//!
//! The one thing to know: there is no credential to check here. The socket's file mode and the peer's user id, which the
//! listener has looked at, decide who gets this far; a request without an [`Operator`] did not come from it and is refused.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use engine::caller::{Actor, Caller};
use engine::realm::RealmId;

use crate::kit::trace::Trace;
use crate::native::problem::Problem;

/// The operating system user behind a request; an extension of the request, put there by the control socket's listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator(pub String);

/// The operator, recognised, with the id of the request.
#[derive(Debug)]
pub(super) struct Speaker {
    name: String,
    request: String,
}

impl Speaker {
    /// The caller that acts in a realm.
    pub(super) fn in_realm(&self, realm: RealmId) -> Caller {
        Caller::operator(realm, &self.name, &self.request)
    }
}

impl<S: Sync> FromRequestParts<S> for Speaker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(Operator(name)) = parts.extensions.get::<Operator>().cloned() else {
            let detail = "these routes are spoken on the control socket only";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        };
        let trace = parts.extensions.get::<Trace>();
        if let Some(trace) = trace {
            trace.recognise(Actor::operator(&name));
        }
        let request = trace.map(|trace| trace.id().to_owned()).unwrap_or_default();
        Ok(Self { name, request })
    }
}
