//! What every dialect needs to speak HTTP, and no dialect's words.
//!
//! The one thing to know: the kit decides nothing about tokens and names no product. It reads bodies under a limit, paths
//! and JSON strictly, knows the client's address, and keeps the one log line of a request free of secrets.

pub mod body;
pub mod json;
pub mod path;
pub mod rest;
pub mod trace;
