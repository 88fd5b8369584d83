#!/usr/bin/env bash
# Runs the products' real clients against a running server, once on each store: `run.sh [PATH-OF-TOKENHOUSE]`.
# Exit code 0 only if each server came up, every client passed, and the server was still there at the end.
# A newcomer would get this wrong: ports are chosen by the system and told by the servers on their standard output;
# nothing here knows them beforehand, so runs beside each other do not meet.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
built=${CARGO_TARGET_DIR:-$here/../target}/debug
binary=${1:-$built/tokenhouse}
if [[ ! -x $binary || -d $binary ]]; then
  echo "conformance: no program at $binary; build it (cargo build -p tokenhouse) or give its path as the argument" >&2
  exit 2
fi
# Starts a private PostgreSQL, prints the URL of a database, and stops it when its input closes.
private_postgres=$built/private-postgres
if [[ ! -x $private_postgres ]]; then
  echo "conformance: no program at $private_postgres; build it (cargo build -p postgres-server)" >&2
  exit 2
fi
binary=$(cd "$(dirname "$binary")" && pwd)/$(basename "$binary")
if ! java -version >/dev/null 2>&1; then
  echo "conformance: a Java runtime (11 or newer) is needed to generate a client and \`java\` does not run;" \
    "install one (Debian: apt-get install default-jre-headless)" >&2
  exit 2
fi

# Install. The stamp is a copy of the lock file, written last, so an interrupted installation is done again.
stamp=$here/node/node_modules/.installed-lock
if ! cmp -s "$here/node/package-lock.json" "$stamp"; then
  (cd "$here/node" && npm ci --ignore-scripts --no-audit --no-fund)
  cp "$here/node/package-lock.json" "$stamp"
fi
# Two Python environments: the Infisical SDK wants an older pydantic than what is generated today.
install_python() {
  local venv=$1 lock=$2
  if cmp -s "$lock" "$venv/installed-requirements" && "$venv/bin/python" -c '' 2>/dev/null; then
    return
  fi
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "conformance: Python 3.11 or newer is needed, found $(python3 --version 2>&1)" >&2
    exit 2
  fi
  python3 -m venv --clear "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
  cp "$lock" "$venv/installed-requirements"
}
venv=$here/.venv
venv_infisical=$here/.venv-infisical
install_python "$venv" "$here/python/requirements.txt"
install_python "$venv_infisical" "$here/python/requirements-infisical.txt"

# What is started here is always stopped by the one process id that is ours.
work=$(mktemp -d)
server=
postgres=
log=
failed=()

stop_server() {
  [[ -n $server ]] || return 0
  local pid=$server
  server=
  kill "$pid" 2>/dev/null || true
  for ((tenths = 0; tenths < 100; tenths++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  if kill -KILL "$pid" 2>/dev/null; then
    failed+=("the server, which did not stop within 10 s of SIGTERM and was killed")
  fi
  wait "$pid" 2>/dev/null || true
}
stop_postgres() {
  [[ -n $postgres ]] || return 0
  local pid=$postgres
  postgres=
  exec {hold}>&-
  wait "$pid" 2>/dev/null || true
}
finish() {
  local code=$?
  trap - EXIT
  stop_server
  stop_postgres
  if ((code == 0)); then
    rm -rf "$work"
  elif [[ -s $log ]]; then
    echo "conformance: end of the server's log ($log):" >&2
    tail -n 40 "$log" >&2
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Starts `serve` with these arguments, its files below $work/NAME, and sets BASE_URL: start_server NAME ARGUMENT…
start_server() {
  local place=$work/$1 output=$work/$1/stdout line
  shift
  log=$place/log
  mkdir "$place"
  : >"$output" # there before the first look at it
  # Its temporary data go below $place, where the command line finds them. And it waits long for the next request of a
  # connection: a client that sends just when an idle connection is closed has no answer, which is not what is looked at.
  TMPDIR=$place "$binary" serve --listen 127.0.0.1:0 --set head_timeout=10m "$@" >"$output" 2>"$log" </dev/null &
  server=$!
  BASE_URL=
  for ((tenths = 0; tenths < 600; tenths++)); do
    while IFS= read -r line; do
      if [[ $line == 'listening on http://'* ]]; then
        BASE_URL=${line#listening on }
        break
      fi
    done <"$output"
    [[ -z $BASE_URL ]] || break
    if ! kill -0 "$server" 2>/dev/null; then
      echo "conformance: the server ended before it listened" >&2
      exit 1
    fi
    sleep 0.1
  done
  if [[ -z $BASE_URL ]]; then
    echo "conformance: no line 'listening on http://…' on the server's standard output within 60 s" >&2
    exit 1
  fi
  export BASE_URL
}

# All clients against the server that runs, and an end of it: run_clients NAME. What fails is noted.
run_clients() {
  local name=$1 data test_infisical=test_infisical_sdk.py
  echo "conformance: $binary on $name at $BASE_URL"
  (cd "$here/node" && node --test --test-reporter=spec) || failed+=("$name: node --test")
  (cd "$here/python" && "$venv/bin/python" -m pytest -q -p no:cacheprovider --ignore="$test_infisical") ||
    failed+=("$name: pytest")
  # The instance can be set up once, and that has been done; whoever comes later gets a token from the command line.
  data=$(dirname "$(find "$work/$name" -name control.sock -print -quit)")
  if INFISICAL_TOKEN=$("$binary" token issue --realm infisical --data "$data" --json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["secret"])'); then
    export INFISICAL_TOKEN
    (cd "$here/python" && "$venv_infisical/bin/python" -m pytest -q -p no:cacheprovider "$test_infisical") ||
      failed+=("$name: pytest $test_infisical")
  else
    failed+=("$name: a token for $test_infisical from the command line")
  fi
  if ! kill -0 "$server" 2>/dev/null; then
    failed+=("$name: the server, which ended while its clients were at work")
  fi
  stop_server
  if ((${#failed[@]} > 0)); then
    printf 'conformance: failed: %s\n' "${failed[@]}" >&2
    exit 1
  fi
}

# The clients honour proxies; the server is on the loopback.
export NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}" no_proxy="127.0.0.1,localhost${no_proxy:+,$no_proxy}"

start_server sqlite --dev
run_clients sqlite

# A server for real tokens refuses the development credentials, so this one gets others, as an operator gives them, and the
# clients are told what the first start has handed over.
coproc POSTGRES { exec "$private_postgres"; }
postgres=$POSTGRES_PID hold=${POSTGRES[1]}
if ! IFS= read -r store <&"${POSTGRES[0]}"; then
  echo "conformance: no private PostgreSQL" >&2
  exit 1
fi
export VAULT_KEY=a-key-of-the-conformance-run
PVAULT_SERVICE_ADMIN_API_KEY=$VAULT_KEY \
  INIT_ADMIN_API_TOKENS='*:*.unleash-admin-token' \
  INIT_CLIENT_API_TOKENS=default:development.unleash-client-token \
  INIT_FRONTEND_API_TOKENS=default:development.unleash-frontend-token \
  start_server postgres --data "$work/postgres/data" --store "$store" --set openapi=true
handed_over() {
  sed -n "s/^$1: //p" "$work/postgres/data/first-credentials.txt"
}
MINDBRIDGE_TOKEN=$(handed_over 'MindBridge API token with all permissions')
INFISICAL_TOKEN=$(handed_over 'Infisical instance admin token')
export MINDBRIDGE_TOKEN INFISICAL_TOKEN
run_clients postgres
stop_postgres
echo "conformance: all clients passed on each store"
