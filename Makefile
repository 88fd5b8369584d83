# The few commands there are. `.ci/run` calls only these, so that what CI does
# can be done at a desk; anything longer than a line belongs into a script or
# into the program.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
# Every target uses the same build directory and most of them both processors.
.NOTPARALLEL:

.PHONY: help demo test test-ha lint gen bench conformance check prerequisites

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: prerequisites ## build the program and watch a token of each family being updated
	$(CARGO) run --locked -p tokenhouse -- demo

test: prerequisites check ## install what the tests need, then format check, lints, all tests, real clients
	$(CARGO) test --workspace --locked
	upgrade/run.sh
	$(CARGO) build --locked -p tokenhouse -p postgres-server
	conformance/run.sh

test-ha: prerequisites ## kill the leader of three PostgreSQL under load; installs patroni, etcd and haproxy
	$(CARGO) build --locked -p tokenhouse
	ha/run.sh $(TARGET_DIR)/debug/tokenhouse

lint: prerequisites check ## format check and lints; licences and bans too where cargo-deny is installed
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny --offline check bans licenses sources; \
	else \
		echo "lint: cargo-deny is not installed: the tests hold deny.toml to this platform's crates only"; \
	fi

gen: prerequisites ## regenerate the reference pages in docs/generated
	$(CARGO) run --locked -p tokenhouse -- generate-docs

bench: prerequisites ## measure against a bare handler; options in BENCH="--seconds 10 --output FILE"
	$(CARGO) build --profile fast --locked -p tokenhouse -p bench
	$(TARGET_DIR)/fast/bench --tokenhouse $(TARGET_DIR)/fast/tokenhouse $(BENCH)
	$(TARGET_DIR)/fast/bench nodes --tokenhouse $(TARGET_DIR)/fast/tokenhouse

conformance: prerequisites ## run the products' real clients against the program
	$(CARGO) build --locked -p tokenhouse -p postgres-server
	conformance/run.sh

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# A C compiler builds SQLite and the cryptography; cmake and pkg-config are asked
# for by the latter on some machines only, so their absence alone stops nobody.
# The tests need a PostgreSQL, the real clients Python and a Java runtime that
# generates one of them. Installed here is only what is missing, and only by root.
postgresql :=
clients :=
test bench conformance: postgresql := postgresql
test conformance: clients := python3-venv default-jre-headless

prerequisites:
	@set -eu; \
	missing=""; optional=""; \
	command -v cc >/dev/null || missing="$$missing gcc libc6-dev"; \
	command -v cmake >/dev/null || optional="$$optional cmake"; \
	command -v pkg-config >/dev/null || optional="$$optional pkg-config"; \
	[ -z "$(postgresql)" ] || command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	[ -z "$(clients)" ] || python3 -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	[ -z "$(clients)" ] || command -v java >/dev/null || missing="$$missing default-jre-headless"; \
	if [ -n "$$missing$$optional" ] && [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -q; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing $$optional; \
		missing=""; \
	fi; \
	[ -z "$$missing" ] || { echo "missing on this machine; install (as Debian calls them):$$missing" >&2; exit 1; }; \
	command -v $(CARGO) >/dev/null || { echo "the Rust toolchain is missing: see CONTRIBUTING.md" >&2; exit 1; }; \
	$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt; \
	$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
