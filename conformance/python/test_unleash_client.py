"""The server-side SDK of Unleash for Python against the client API.

A newcomer would get this wrong: this SDK never raises on a refusal, it logs and goes on, so what the server said is
taken from the answers themselves, through the response hook of the HTTP library beneath it.
"""

import threading
import time
import uuid
from datetime import datetime, timezone
from urllib.parse import urlsplit

import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from UnleashClient import UnleashClient
from UnleashClient.events import BaseEvent, UnleashEventType

# So long that no job runs by itself while a test looks: every fetch is one that the test asked for.
NEVER_SECS = 3600
# Of one wait; generous, because continuous integration shares two cores with a compiler.
WAIT_SECS = 20.0
PAST = "2020-01-01T00:00:00.000Z"
FUTURE = "2099-01-01T00:00:00.000Z"
FEATURES = "/api/client/features"
REGISTER = "/api/client/register"
METRICS = "/api/client/metrics"


class Observed:
    """One SDK, the answers that it got (path, status) and the events that it emitted, in order."""

    def __init__(self, base_url: str, secret: str, directory: str, **options: object) -> None:
        self._changed = threading.Condition()
        self.answers: list[tuple[str, int]] = []
        self.events: list[BaseEvent] = []
        self._finished: list[str] = []
        settings: dict[str, object] = {
            "refresh_interval": NEVER_SECS,
            "metrics_interval": NEVER_SECS,
            **options,
        }
        self.sdk = UnleashClient(
            url=f"{base_url}/api",
            app_name=f"app-{uuid.uuid4()}",
            instance_id=f"instance-{uuid.uuid4()}",
            custom_headers={"Authorization": secret},
            custom_options={"hooks": {"response": self._on_answer}},
            cache_directory=directory,
            event_callback=self._on_event,
            **settings,
        )
        self.sdk.unleash_scheduler.add_listener(self._on_job, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)

    def _on_answer(self, response, *_args, **_kwargs) -> None:
        with self._changed:
            self.answers.append((urlsplit(response.url).path, response.status_code))
            self._changed.notify_all()

    def _on_event(self, event: BaseEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def _on_job(self, event) -> None:
        with self._changed:
            self._finished.append(event.job_id)
            self._changed.notify_all()

    def statuses(self, path: str) -> list[int]:
        with self._changed:
            return [status for answered, status in self.answers if answered == path]

    def wait(self, what: str, condition) -> None:
        """Waits until the condition holds; fails with all that was seen when it does not."""
        deadline = time.monotonic() + WAIT_SECS
        with self._changed:
            while not condition():
                if time.monotonic() > deadline:
                    events = [event.event_type.value for event in self.events]
                    pytest.fail(f"{what}: not within {WAIT_SECS} s; answers {self.answers}, events {events}")
                # Looked at again soon in any case: a condition on the log is not announced here.
                self._changed.wait(0.05)

    def wait_for_event(self, event_type: UnleashEventType) -> BaseEvent:
        def found() -> list[BaseEvent]:
            return [event for event in self.events if event.event_type is event_type]

        self.wait(f"event {event_type.value}", found)
        return found()[0]

    def run_now(self, job, path: str) -> int:
        """Makes one of the SDK's own jobs due and waits for its end; the status that its request got."""
        before = len(self.statuses(path))
        runs = self._finished.count(job.id)
        # Without a grace time a job that a busy machine starts a second late would be left out.
        job.modify(next_run_time=datetime.now(timezone.utc), misfire_grace_time=None)
        # The end and not the answer: a job that is still at work is not started again.
        self.wait(f"the end of the job for {path}", lambda: self._finished.count(job.id) > runs)
        new = self.statuses(path)[before:]
        assert len(new) == 1, f"one job, one request; got {new}"
        return new[0]

    def fetch_now(self) -> int:
        return self.run_now(self.sdk.connector.job, FEATURES)


@pytest.fixture
def start(base_url, tmp_path):
    """Starts an SDK for a secret; all are destroyed when the test ends."""
    started: list[Observed] = []

    def start_one(secret: str, **options: object) -> Observed:
        # A directory each: a cache of an earlier client would make this one ready.
        directory = tmp_path / str(len(started))
        directory.mkdir()
        observed = Observed(base_url, secret, str(directory), **options)
        started.append(observed)
        observed.sdk.initialize_client()
        return observed

    yield start_one
    for observed in started:
        observed.sdk.destroy()


@pytest.mark.parametrize("token_type", ["backend", "client"])
def test_initializes_with_a_fresh_token(admin, start, token_type):
    client = start(admin.create(token_type, projects=["default"]))
    assert client.sdk.is_initialized
    assert client.wait_for_event(UnleashEventType.FETCHED).features == []
    client.wait_for_event(UnleashEventType.READY)
    assert client.statuses(REGISTER) == [202]
    assert client.statuses(FEATURES) == [200]
    assert client.sdk.feature_definitions() == {}
    assert client.sdk.is_enabled("no-such-feature") is False
    assert client.sdk.get_variant("no-such-feature")["name"] == "disabled"
    assert client.fetch_now() == 304, "the entity tag of the first answer is honoured"


def test_metrics_are_accepted(admin, start):
    client = start(admin.create())
    client.sdk.is_enabled("counted-feature")
    assert client.run_now(client.sdk.metric_job, METRICS) == 202


def test_an_expiry_set_by_put_holds_for_the_very_next_fetch(admin, start, caplog):
    secret = admin.create()
    client = start(secret)
    for flip in range(5):
        admin.set_expiry(secret, PAST)
        caplog.clear()
        assert client.fetch_now() == 401, f"flip {flip}"
        client.wait("the SDK's warning", lambda: "unexpected HTTP status code: 401" in caplog.text)
        admin.set_expiry(secret, FUTURE)
        assert client.fetch_now() == 304, f"flip {flip}"

    admin.set_expiry(secret, PAST)
    client.sdk.is_enabled("counted-feature")
    assert client.run_now(client.sdk.metric_job, METRICS) == 401, "metrics are refused as well"
    late = start(secret)
    assert late.statuses(REGISTER) == [401]
    assert late.statuses(FEATURES) == [401]
    assert late.events == []

    admin.set_expiry(secret, FUTURE)
    fresh = start(secret)
    fresh.wait_for_event(UnleashEventType.READY)
    assert fresh.statuses(REGISTER) == [202]
    assert fresh.statuses(FEATURES) == [200]


def test_a_client_that_polls_by_its_own_timer_is_refused_and_comes_back(admin, start):
    secret = admin.create()
    client = start(secret, refresh_interval=1, disable_metrics=True)
    client.wait("a poll", lambda: len(client.answers) >= 3)
    assert set(client.statuses(FEATURES)) == {200, 304}

    admin.set_expiry(secret, PAST)
    before = len(client.statuses(FEATURES))
    client.wait("a refused poll", lambda: (FEATURES, 401) in client.answers)
    served = [status for status in client.statuses(FEATURES)[before:] if status != 401]
    # A request that the server had answered before the update may still have been on its way.
    assert len(served) <= 1, f"served after the update had returned: {served}"

    admin.set_expiry(secret, FUTURE)
    client.wait("a good poll", lambda: client.answers[-1] == (FEATURES, 304))


@pytest.mark.parametrize(
    ("secret", "status"),
    [
        (f"default:development.{'0' * 56}", 401),
        ("default:development.unleash-frontend-token", 403),
        ("*:*.unleash-admin-token", 403),
    ],
)
def test_a_wrong_token_never_becomes_ready(start, secret, status):
    client = start(secret)
    assert client.statuses(REGISTER) == [status]
    assert client.statuses(FEATURES) == [status]
    assert client.fetch_now() == status
    assert client.events == []
    assert client.sdk.is_enabled("no-such-feature") is False


def test_a_token_born_expired_is_refused(admin, start):
    client = start(admin.create(expiresAt=PAST))
    assert client.statuses(REGISTER) == [401]
    assert client.statuses(FEATURES) == [401]
    assert client.events == []
