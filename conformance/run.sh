#!/usr/bin/env bash
# Runs the products' real clients against one running server: `run.sh [PATH-OF-TOKENHOUSE]`.
# Exit code 0 only if the server came up, every client passed, and the server was still there at the end.
# A newcomer would get this wrong: the port is chosen by the system and told by the server on its standard output;
# nothing here knows it beforehand, so runs beside each other do not meet.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=${1:-${CARGO_TARGET_DIR:-$here/../target}/debug/tokenhouse}
if [[ ! -x $binary || -d $binary ]]; then
  echo "conformance: no program at $binary; build it (cargo build -p tokenhouse) or give its path as the argument" >&2
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

# Start, and always stop by the one pid that is ours.
work=$(mktemp -d)
server=
finish() {
  local code=$?
  trap - EXIT
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    for ((tenths = 0; tenths < 100; tenths++)); do
      kill -0 "$server" 2>/dev/null || break
      sleep 0.1
    done
    if kill -KILL "$server" 2>/dev/null; then
      echo "conformance: the server did not stop within 10 s of SIGTERM and was killed" >&2
      code=1
    fi
    wait "$server" 2>/dev/null || true
  fi
  if ((code == 0)); then
    rm -rf "$work"
  elif [[ -s $work/log ]]; then
    echo "conformance: end of the server's log ($work/log):" >&2
    tail -n 40 "$work/log" >&2
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

: >"$work/stdout" # there before the first look at it
# Its temporary data go below $work, where the command line finds them.
TMPDIR=$work "$binary" serve --dev --listen 127.0.0.1:0 >"$work/stdout" 2>"$work/log" </dev/null &
server=$!

BASE_URL=
for ((tenths = 0; tenths < 600; tenths++)); do
  while IFS= read -r line; do
    if [[ $line == 'listening on http://'* ]]; then
      BASE_URL=${line#listening on }
      break
    fi
  done <"$work/stdout"
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
echo "conformance: $binary at $BASE_URL"
export BASE_URL
# The clients honour proxies; the server is on the loopback.
export NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}" no_proxy="127.0.0.1,localhost${no_proxy:+,$no_proxy}"

failed=()
(cd "$here/node" && node --test --test-reporter=spec) || failed+=("node --test")
test_infisical=test_infisical_sdk.py
(cd "$here/python" && "$venv/bin/python" -m pytest -q -p no:cacheprovider --ignore="$test_infisical") || failed+=("pytest")
# The instance can be set up once, and the Node client has done it; whoever comes later gets a token from the command line.
data=$(dirname "$(find "$work" -name control.sock -print -quit)")
if INFISICAL_TOKEN=$("$binary" token issue --realm infisical --data "$data" --json |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["secret"])'); then
  export INFISICAL_TOKEN
  (cd "$here/python" && "$venv_infisical/bin/python" -m pytest -q -p no:cacheprovider "$test_infisical") ||
    failed+=("pytest $test_infisical")
else
  failed+=("a token for $test_infisical from the command line")
fi

if ! kill -0 "$server" 2>/dev/null; then
  failed+=("the server, which ended while its clients were at work")
fi
if ((${#failed[@]} > 0)); then
  printf 'conformance: failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "conformance: all clients passed"
