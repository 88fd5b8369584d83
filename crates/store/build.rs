//! Rebuilds when a migration is added: the macro that embeds the files would not notice a new one by itself.

fn main() {
    println!("cargo::rerun-if-changed=src/sqlite/migrations");
}
