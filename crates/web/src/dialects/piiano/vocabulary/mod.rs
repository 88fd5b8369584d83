//! The words of Piiano Vault as pure code: data types, masks, schemas, PVSchema, query strings, expirations, templates.
//!
//! Nothing here reads a clock, draws a random number, opens a store or knows HTTP: times and random bytes arrive as
//! arguments, findings leave as error types that name a field and a rule. The one thing a newcomer would get wrong:
//! these errors carry no status and no `PV` code, and never a value. Turning a finding into an answer is the work of
//! the dialect's error border, so that one rule can be a 400 in one call and a failed row in a bulk call.
//!
//! Comments say "choice" where no source about the product decides and this is our own decision.

pub mod builtin;
pub mod data_type;
pub mod draft;
pub mod expiration;
mod formats;
mod luhn;
pub mod mask;
pub mod new_schema;
pub mod pvschema;
pub mod query;
pub mod schema;
pub mod template;
mod timestamp;
