"""The servers of the drill: etcd, three PostgreSQL under Patroni, HAProxy to their leader, nodes of Tokenhouse.

A newcomer would get this wrong: nothing here is a daemon. Each process is a child of this one and is ended by its own id, and
PostgreSQL, which refuses to be root, is run with its supervisors as the user `postgres`.
"""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ADMIN = "*:*.an-admin-token-for-the-drill"
# Of one step of the start; long, because continuous integration shares two cores with a compiler.
START_SECS = 120
# What Patroni is told. A leader that is silent for LEADER_SECS is replaced; Patroni allows no less.
LEADER_SECS, LOOP_SECS, RETRY_SECS = 20, 2, 5


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what: str, true, secs: float = START_SECS, pause: float = 0.2):
    """Waits until `true()` gives something, and gives that."""
    end = time.monotonic() + secs
    while time.monotonic() < end:
        found = true()
        if found:
            return found
        time.sleep(pause)
    raise RuntimeError(f"not within {secs} s: {what}")


class Cluster:
    """All of them; `close` ends what is left and removes the files."""

    def __init__(self, tokenhouse: Path) -> None:
        self.tokenhouse = tokenhouse
        self.home = Path(tempfile.mkdtemp(prefix="tokenhouse-ha-"))
        self.home.chmod(0o755)
        self.postgres_bin = max(
            Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name)
        )
        self.user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self.processes: list[subprocess.Popen] = []
        self.patronis: dict[str, subprocess.Popen] = {}
        self.ports: dict[str, tuple[int, int]] = {}
        self.proxy = free_port()
        self.nodes: list[str] = []

    def start(self, name: str, command: list, *, drop: bool = True, env: dict | None = None, stdout=None):
        """Starts a program whose log is a file; as the user `postgres` if `drop`."""
        more = {}
        if drop and self.user:
            more = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        with open(self.home / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=stdout or log,
                stderr=log,
                cwd="/",
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **(env or {})},
                # An interrupt from the keyboard goes to the drill, which ends them in order.
                start_new_session=True,
                **more,
            )
        self.processes.append(process)
        return process

    def directory(self, name: str) -> Path:
        path = self.home / name
        path.mkdir(mode=0o700)
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        return path

    def start_etcd(self) -> None:
        clients, peers = free_port(), free_port()
        self.etcd = f"127.0.0.1:{clients}"
        command = ["etcd", "--name", "only", "--data-dir", self.directory("etcd")]
        for flag in ("listen-client-urls", "advertise-client-urls"):
            command += [f"--{flag}", f"http://{self.etcd}"]
        for flag in ("listen-peer-urls", "initial-advertise-peer-urls"):
            command += [f"--{flag}", f"http://127.0.0.1:{peers}"]
        command += ["--initial-cluster", f"only=http://127.0.0.1:{peers}"]
        self.start("etcd", command)
        until("etcd", lambda: self.get(f"http://{self.etcd}/health") is not None)

    def start_patroni(self, name: str) -> None:
        port, rest = free_port(), free_port()
        self.ports[name] = (port, rest)
        place = self.directory(name)
        trust = [f"host {what} all 127.0.0.1/32 trust" for what in ("all", "replication")]
        settings = {
            "scope": "drill",
            "name": name,
            "restapi": {"listen": f"127.0.0.1:{rest}", "connect_address": f"127.0.0.1:{rest}"},
            "etcd3": {"host": self.etcd},
            "bootstrap": {
                "dcs": {
                    "ttl": LEADER_SECS,
                    "loop_wait": LOOP_SECS,
                    "retry_timeout": RETRY_SECS,
                    "synchronous_mode": True,
                    "synchronous_mode_strict": True,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "parameters": {"max_connections": 100, "shared_buffers": "32MB"},
                    },
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, {"auth": "trust"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{port}",
                "connect_address": f"127.0.0.1:{port}",
                "bin_dir": str(self.postgres_bin),
                "data_dir": str(place / "data"),
                "pgpass": str(place / "pgpass"),
                "pg_hba": trust,
                "authentication": {
                    "superuser": {"username": "postgres"},
                    "replication": {"username": "postgres"},
                    "rewind": {"username": "postgres"},
                },
                "parameters": {"unix_socket_directories": str(place)},
            },
            # The drill kills all of a machine at once, so no old leader can live on.
            "watchdog": {"mode": "off"},
        }
        # JSON is YAML.
        (place / "patroni.yml").write_text(json.dumps(settings))
        self.patronis[name] = self.start(f"patroni-{name}", ["patroni", place / "patroni.yml"])

    def start_haproxy(self) -> None:
        servers = "".join(
            f"    server {name} 127.0.0.1:{port} check port {rest}\n" for name, (port, rest) in self.ports.items()
        )
        text = f"""global
    maxconn 500
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
listen leader
    bind 127.0.0.1:{self.proxy}
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}"""
        (self.home / "haproxy.cfg").write_text(text)
        self.start("haproxy", ["/usr/sbin/haproxy", "-db", "-f", self.home / "haproxy.cfg"])

    def start_node(self) -> None:
        name = f"node-{len(self.nodes)}"
        command = [self.tokenhouse, "serve", "--listen", "127.0.0.1:0", "--data", self.home / name]
        command += ["--keyring", self.home / "keyring.json"]
        command += ["--store", f"postgres://postgres@127.0.0.1:{self.proxy}/tokenhouse?sslmode=disable"]
        command += ["--set", "environment.UNLEASH_API_TOKENS_LIMIT=1000000"]
        process = self.start(
            name, command, drop=False, env={"INIT_ADMIN_API_TOKENS": ADMIN}, stdout=subprocess.PIPE
        )
        line = process.stdout.readline().decode().strip()
        if not line.startswith("listening on http://"):
            raise RuntimeError(f"{name} does not listen: {line!r}")
        self.nodes.append(line.removeprefix("listening on http://"))

    @staticmethod
    def get(url: str) -> bytes | None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return answer.read()
        except OSError:
            return None

    def members(self) -> dict[str, dict]:
        for _, rest in self.ports.values():
            text = self.get(f"http://127.0.0.1:{rest}/cluster")
            if text:
                return {member["name"]: member for member in json.loads(text)["members"]}
        return {}

    def leader(self) -> str | None:
        names = [name for name, (_, rest) in self.ports.items() if self.get(f"http://127.0.0.1:{rest}/primary")]
        return names[0] if len(names) == 1 else None

    def is_whole(self) -> bool:
        """A leader, and two that follow it, one of them in step with every commit."""
        roles = sorted(member["role"] for member in self.members().values() if member.get("state") in ("running", "streaming"))
        return len(roles) == 3 and "leader" in roles and "sync_standby" in roles

    def sql(self, database: str, sql: str) -> str | None:
        """What the leader prints; nothing if there is none."""
        command = [self.postgres_bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql, "-d", database]
        command += ["-h", "127.0.0.1", "-p", str(self.proxy), "-U", "postgres"]
        env = {"PATH": os.environ["PATH"], "PGCONNECT_TIMEOUT": "2"}
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=30, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def kill_machine(self, name: str) -> None:
        """All that a machine runs, at once: Patroni, the first PostgreSQL process and its children."""
        postmaster = int((self.home / name / "data" / "postmaster.pid").read_text().split()[0])
        # It starts nobody any more while its children are looked up.
        os.kill(postmaster, signal.SIGSTOP)
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        self.patronis[name].kill()
        for pid in [postmaster, *map(int, children)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.patronis[name].wait()

    def show_logs(self) -> None:
        for log in sorted(self.home.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-12:]
            print(f"--- {log.name}", *lines, sep="\n", file=sys.stderr)

    def close(self) -> None:
        """The last that was started is the first to end; Patroni stops its PostgreSQL."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for name in self.ports:
            # One that Patroni did not live to stop.
            pid_file = self.home / name / "data" / "postmaster.pid"
            if pid_file.exists() and name in self.patronis:
                try:
                    pid = int(pid_file.read_text().split()[0])
                    if str(self.home) in Path(f"/proc/{pid}/cmdline").read_text():
                        os.kill(pid, signal.SIGQUIT)
                        until("PostgreSQL ends", lambda pid=pid: not Path(f"/proc/{pid}").exists(), 30)
                except (OSError, RuntimeError):
                    pass
        shutil.rmtree(self.home, ignore_errors=True)
