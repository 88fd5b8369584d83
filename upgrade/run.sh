#!/usr/bin/env bash
# Builds the program of the schema before from the sources that are kept of it,
# and runs the tests in which it works beside the present one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
# A directory for each archive: what is built is told apart by its place.
digest=$(sha256sum <upgrade/former.tar.xz | cut -d ' ' -f 1)
sources=$target/former-$digest
if [ ! -e "$sources/Cargo.toml" ]; then
	unpacked=$(mktemp -d "$target/former.XXXXXX")
	# Python reads the archive everywhere; tar asks for a program that may be missing.
	python3 -m tarfile -e upgrade/former.tar.xz "$unpacked"
	mv "$unpacked" "$sources"
fi
CARGO_TARGET_DIR=$target ${CARGO:-cargo} build --locked --manifest-path "$sources/Cargo.toml" -p former-tokenhouse
${CARGO:-cargo} test --locked -p tokenhouse --test it -- --ignored nodes::upgrade
