#!/usr/bin/env bash
# Keeps the sources of a program whose schema is about to become the former one,
# so that `run.sh` can build it beside its successors:
#
#   upgrade/freeze.sh COMMIT
#
# What is kept is what the program is built from, and its lock file. There is
# one archive, of the program before this one: what an older one met, its own
# successor was tested with.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

commit=${1:?usage: upgrade/freeze.sh COMMIT}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

git archive "$commit" Cargo.toml Cargo.lock rust-toolchain.toml \
	$(for crate in engine store web tokenhouse; do echo "crates/$crate/Cargo.toml" "crates/$crate/src"; done) |
	tar -x -C "$work"
# Neither its tests nor their dependencies.
sed -i '/^\[dev-dependencies\]/,/^$/d; /^\[\[test\]\]/,/^$/d' "$work"/crates/*/Cargo.toml
sed -i 's/, "bench", "harness"\]/]/; s/^members = .*"crates\/engine".*/members = ["crates\/*"]/' "$work/Cargo.toml"
# Under names and paths of their own, so that both programs fit into one build
# directory and share what they depend on: cargo tells the crates of two
# workspaces apart by name, version and path below the root, and by nothing else.
sed -i 's/^name = "tokenhouse"/name = "former-tokenhouse"/; $a [lib]\nname = "tokenhouse"' "$work/crates/tokenhouse/Cargo.toml"
mv "$work/crates" "$work/former"
sed -i 's/"crates\//"former\//g' "$work/Cargo.toml"
(cd "$work" && cargo update --workspace --offline --quiet)
# The same bytes whoever makes it.
tar -c -C "$work" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner . |
	xz -9e >upgrade/former.tar.xz
git rev-parse "$commit" >upgrade/former.commit
