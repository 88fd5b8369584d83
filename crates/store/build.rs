//! Rebuilds when a migration is added.
//!
//! The one thing to know: without it nothing would: the macro that embeds the files does not notice a new one by itself.

fn main() {
    println!("cargo::rerun-if-changed=src/sqlite/migrations");
}
