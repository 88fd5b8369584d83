#!/usr/bin/env bash
# Installs what the drill needs where it is missing, and runs it: `run.sh [PATH-OF-TOKENHOUSE]`.
# A newcomer would get this wrong: Debian starts a server of its own after an installation. The drill touches none of them;
# it starts everything itself, on ports that are free, below a temporary directory.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=${1:-${CARGO_TARGET_DIR:-$here/../target}/debug/tokenhouse}
missing=()
[[ -x /usr/bin/patroni ]] || missing+=(patroni)
[[ -x /usr/bin/etcd ]] || missing+=(etcd-server)
[[ -x /usr/sbin/haproxy ]] || missing+=(haproxy)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
if ((${#missing[@]} > 0)); then
  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    echo "ha: missing: ${missing[*]}; install them (Debian: apt-get install ${missing[*]})" >&2
    exit 2
  fi
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
exec python3 "$here/drill.py" "$binary"
