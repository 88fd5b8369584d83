//! The house's own words: problem details, the first native routes, and the pages every server has.
//!
//! The one thing to know: the native routes are spoken on the control socket only, whose file mode is their credential;
//! the public listener has health, readiness and, if a setting says so, metrics and the OpenAPI documents.

pub mod problem;
