"""What the tests share: where the server is, and its admin API.

A newcomer would get this wrong: the server is shared by all tests and never reset, so every test makes its own token.
"""

import os
import uuid
from urllib.parse import quote

import pytest
import requests

# The credential that `serve --dev` documents.
ADMIN_SECRET = "*:*.unleash-admin-token"
TIMEOUT_SECS = 30


def pytest_configure(config: pytest.Config) -> None:
    if not os.environ.get("BASE_URL"):
        raise pytest.UsageError(
            "BASE_URL is not set: start these tests with ../run.sh, or set it to the address of a `serve --dev`"
        )


class Admin:
    """The calls by which API tokens are made and their expiry is moved."""

    def __init__(self, base_url: str) -> None:
        self._url = f"{base_url}/api/admin/api-tokens"
        self._headers = {"Authorization": ADMIN_SECRET}

    def create(self, token_type: str = "backend", **more: object) -> str:
        """A fresh token; its secret."""
        body = {"tokenName": f"python-{uuid.uuid4()}", "type": token_type, "environment": "development", **more}
        answer = requests.post(self._url, json=body, headers=self._headers, timeout=TIMEOUT_SECS)
        assert answer.status_code == 201, f"creating a token answered {answer.status_code}: {answer.text}"
        return answer.json()["secret"]

    def set_expiry(self, secret: str, expires_at: str) -> None:
        """The update; insists that the server says that it hit one token."""
        answer = requests.put(
            f"{self._url}/{quote(secret, safe='')}",
            json={"expiresAt": expires_at},
            headers=self._headers,
            timeout=TIMEOUT_SECS,
        )
        assert answer.status_code == 200, f"the update answered {answer.status_code}: {answer.text}"
        assert answer.text == "", "a successful update has an empty body"
        assert answer.headers.get("Tokenhouse-Matched") == "1"


@pytest.fixture(scope="session")
def base_url() -> str:
    return os.environ["BASE_URL"].rstrip("/")


@pytest.fixture(scope="session")
def admin(base_url: str) -> Admin:
    return Admin(base_url)
