//! The verbs, one per file: input, output, `impl Engine`.
//!
//! The one thing to know: every write has the same shape – select, authorize, check the expected version, change, record,
//! put in force – and ends in [`crate::Engine::transact`].

pub mod count;
pub mod delete;
pub mod find;
pub mod history;
pub mod issue;
pub mod keys;
pub mod purge;
pub mod realms;
pub mod records;
pub mod refuse;
pub mod revoke;
pub mod tokenize;
pub mod update;
pub mod verify;
