"""Kills the leader of three PostgreSQL under load, and counts what was lost: `drill.py PATH-OF-TOKENHOUSE`.

Two nodes of Tokenhouse write through HAProxy, which knows the leader only. Then all that the leader's machine runs is killed
at once. Exit code 0 only if no acknowledged write was lost, no answer was stale, and writes went on.

A newcomer would get this wrong: a write whose answer did not come may be there or not, and both are right. What must be there
is each write that was acknowledged, unless a later one of the same token is in doubt.
"""

import http.client
import itertools
import json
import signal
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

from servers import ADMIN, LEADER_SECS, Cluster, until

WRITERS_PER_NODE = 3
LOAD_SECS = 10
RECOVERY_SECS = 120
TOKENS = "/api/admin/api-tokens"
# A request may wait for the database as long as a node tries; a little more than that.
ANSWER_SECS = 40


class Client:
    """One kept connection to one node."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, secret: str, body: dict | None = None) -> tuple[int, dict | None]:
        """Status and body; status 0 if there was no answer."""
        headers = {"authorization": secret}
        if body is not None:
            headers["content-type"] = "application/json"
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.address, timeout=ANSWER_SECS)
            self.connection.request(method, path, body and json.dumps(body), headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection = None
            return 0, None
        return answer.status, json.loads(text) if text[:1] == b"{" else None

    def create(self, name: str) -> tuple[int, str | None]:
        body = {"tokenName": name, "type": "client", "environment": "development", "projects": ["default"]}
        status, made = self.ask("POST", TOKENS, ADMIN, body)
        return status, made["secret"] if status == 201 else None

    def expire(self, secret: str, at: str) -> int:
        return self.ask("PUT", f"{TOKENS}/{quote(secret, safe='')}", ADMIN, {"expiresAt": at})[0]

    def verify(self, secret: str) -> int:
        return self.ask("GET", "/api/client/features", secret)[0]


class Book:
    """What was acknowledged, by whom and when."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.acknowledged: list[float] = []
        # Of each token, by its name: its secret, and the expiries that it may have now.
        self.tokens: dict[str, set[str | None]] = {}
        self.refused = self.in_doubt = 0
        self.asked = self.stale = self.unanswered = 0

    def note(self, name: str, status: int, good: int, expiry: str | None) -> bool:
        """A write of this expiry was answered; says whether it was acknowledged."""
        with self.lock:
            if status == good:
                self.acknowledged.append(time.monotonic())
                self.tokens[name] = {expiry}
                return True
            # What was refused with certainty has changed nothing either, but there is no need to trust that.
            if name in self.tokens:
                self.tokens[name].add(expiry)
            self.in_doubt += status in (0, 500, 503)
            self.refused += status not in (0, 500, 503)
            return False

    def answer(self, status: int, good: bool) -> None:
        with self.lock:
            self.asked += 1
            if status in (200, 401):
                self.stale += (status == 200) is not good
            else:
                self.unanswered += 1


def write(cluster: Cluster, book: Book, number: int, over: threading.Event) -> None:
    """Makes tokens and changes them through one node, and asks both after each acknowledged write."""
    clients = [Client(address) for address in cluster.nodes]
    writer = clients[number % len(clients)]
    for count in itertools.count():
        if over.is_set():
            return
        name = f"writer-{number}-{count}"
        status, secret = writer.create(name)
        if not book.note(name, status, 201, None):
            over.wait(0.05)
            continue
        for change in range(4):
            past = change % 2 == 0
            # Each instant is another, so that each update can be told from the one before.
            at = f"{2001 + change if past else 2901 + change}-01-01T00:00:00.000Z"
            if not book.note(name, writer.expire(secret, at), 200, at):
                break
            for client in clients:
                book.answer(client.verify(secret), not past)


def watch(cluster: Cluster, book: Book, revoked: str, good: str, over: threading.Event) -> None:
    """Asks for what never changes, all the time: an old leader or an old memory would answer something else one day."""
    clients = [Client(address) for address in cluster.nodes]
    while not over.is_set():
        for client in clients:
            book.answer(client.verify(revoked), False)
            book.answer(client.verify(good), True)
        over.wait(0.01)


def found(cluster: Cluster) -> dict[str, str | None]:
    """Expiries by name, as a node tells them."""
    status, body = Client(cluster.nodes[0]).ask("GET", TOKENS, ADMIN)
    if status != 200:
        raise RuntimeError(f"the list was answered with {status}")
    return {token["tokenName"]: token.get("expiresAt") for token in body["tokens"]}


def lost(book: Book, present: dict[str, str | None]) -> list[str]:
    return [name for name, expiries in book.tokens.items() if name not in present or present[name] not in expiries]


def memberships(cluster: Cluster) -> set[str]:
    """Of nodes that have renewed their lease on this leader at least once."""
    rows = cluster.sql("tokenhouse", "SELECT id FROM node WHERE NOT expelled AND renewals > 0")
    return set((rows or "").split())


def start(cluster: Cluster) -> None:
    cluster.start_etcd()
    for name in ("a", "b", "c"):
        cluster.start_patroni(name)
    cluster.start_haproxy()
    until("three PostgreSQL, one of them in step", cluster.is_whole)
    make = "CREATE DATABASE tokenhouse ENCODING 'UTF8' TEMPLATE template0"
    until("a database", lambda: cluster.sql("postgres", make) is not None)
    cluster.start_node()
    cluster.start_node()
    until("two leases", lambda: len(memberships(cluster)) == 2)


def drill(cluster: Cluster) -> bool:
    start(cluster)
    book, over = Book(), threading.Event()
    client = Client(cluster.nodes[0])
    (_, revoked), (_, good) = client.create("revoked"), client.create("good")
    if client.expire(revoked, "2001-01-01T00:00:00.000Z") != 200:
        raise RuntimeError("the database does not accept writes")
    threads = [
        threading.Thread(target=write, args=(cluster, book, number, over))
        for number in range(WRITERS_PER_NODE * len(cluster.nodes))
    ]
    threads.append(threading.Thread(target=watch, args=(cluster, book, revoked, good, over)))
    for thread in threads:
        thread.start()
    try:
        time.sleep(LOAD_SECS)
        before, old = memberships(cluster), cluster.leader()
        cluster.kill_machine(old)
        killed = time.monotonic()
        leader = until("another leader", cluster.leader, RECOVERY_SECS)
        until("both nodes on it", lambda: len(memberships(cluster) - before) == 2, RECOVERY_SECS, 0.05)
        leased = time.monotonic()
        until("writes go on", lambda: any(at > leased for at in book.acknowledged), RECOVERY_SECS)
        time.sleep(LOAD_SECS)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    times = sorted(book.acknowledged)
    pause = max(later - earlier for earlier, later in itertools.pairwise(times) if later > killed)
    gone = lost(book, found(cluster))
    print_table(
        [
            ("writes acknowledged before the kill", sum(at <= killed for at in times)),
            ("writes acknowledged after it", sum(at > killed for at in times)),
            ("writes whose outcome was not told", book.in_doubt),
            ("writes refused (must be 0)", book.refused),
            ("acknowledged writes lost (must be 0)", len(gone)),
            ("answers to verify", book.asked - book.unanswered),
            ("stale answers (must be 0)", book.stale),
            ("questions not answered meanwhile", book.unanswered),
            (f"time without writes (an old leader counts as dead after {LEADER_SECS} s)", f"{pause:.1f} s"),
            ("from the kill until both nodes have a lease again", f"{leased - killed:.1f} s"),
        ]
    )
    print(f"ha: the leader was {old}, it is {leader}")
    for name in gone[:10]:
        print(f"ha: lost: {name} must be one of {book.tokens[name]}", file=sys.stderr)
    worked = times[0] < killed < times[-1]
    return worked and not gone and book.stale == 0 and book.refused == 0


def print_table(rows: list[tuple[str, object]]) -> None:
    width = max(len(name) for name, _ in rows)
    rows = [("", "measured"), ("-" * width, "-" * 7 + ":"), *rows]
    print(*(f"| {name:<{width}} | {value!s:>8} |" for name, value in rows), sep="\n", flush=True)


def main() -> int:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        print("ha: give the path of the program (cargo build -p tokenhouse makes it)", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cluster = Cluster(Path(sys.argv[1]).resolve())
    try:
        return 0 if drill(cluster) else 1
    except Exception as error:
        cluster.show_logs()
        print(f"ha: {error!r}", file=sys.stderr)
        return 1
    finally:
        cluster.close()


if __name__ == "__main__":
    sys.exit(main())
