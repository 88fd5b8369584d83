"""A client that OpenAPI Generator makes of our own description of MindBridge's API, against that API.

A newcomer would get this wrong: nothing here is written by hand but the tests. What the description says wrongly or leaves
out is missing in the client, so a failure may be a defect of the description and not of the answer.
"""

import importlib
import importlib.resources
import json
import os
import shutil
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from types import ModuleType

import pytest
import requests

# The credential that `serve --dev` documents, which any other server refuses.
ROOT_TOKEN = os.environ.get("MINDBRIDGE_TOKEN", "mindbridge-dev-token")
PACKAGE = "mindbridge_api"
TIMEOUT_SECS = 30
# Of the one generation; it takes three seconds on an idle machine.
GENERATION_SECS = 180
READ, WRITE, DELETE = (f"api.api-tokens.{right}" for right in ("read", "write", "delete"))
READ_USERS = "api.users.read"
SECRET_NOBODY_HAS = f"mb_{'0' * 43}"
ID_NOBODY_HAS = "0" * 24


@pytest.fixture(scope="session")
def api(base_url, tmp_path_factory) -> ModuleType:
    """The generated package, imported; made once for all tests, of the description that the server itself gives."""
    directory = tmp_path_factory.mktemp("mindbridge")
    description = directory / "openapi.json"
    answer = requests.get(f"{base_url}/openapi/mindbridge.json", timeout=TIMEOUT_SECS)
    assert answer.status_code == 200
    description.write_bytes(answer.content)
    if shutil.which("java") is None:
        pytest.fail("the generator needs a Java runtime, 11 or newer: there is no `java` on the PATH")
    jar = importlib.resources.files("openapi_generator_cli") / "openapi-generator.jar"
    command = ["java", "-jar", str(jar), "generate", "--generator-name", "python", "--package-name", PACKAGE]
    command += ["--input-spec", str(description), "--output", str(directory)]
    command += ["--global-property", "apiDocs=false,modelDocs=false,apiTests=false,modelTests=false"]
    # The package's own entry point loses the exit code.
    done = subprocess.run(command, capture_output=True, text=True, timeout=GENERATION_SECS, check=False)
    assert done.returncode == 0, f"the generator failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    sys.path.insert(0, str(directory))
    try:
        return importlib.import_module(PACKAGE)
    finally:
        sys.path.remove(str(directory))


class Bearer:
    """The generated calls, made with one secret (or with none)."""

    def __init__(self, api: ModuleType, base_url: str, secret: str | None) -> None:
        self._api = api
        client = api.ApiClient(api.Configuration(host=base_url, access_token=secret))
        self.tokens = api.APITokensApi(client)
        self.users = api.UsersApi(client)

    def create(self, name: str | None = None, permissions: tuple[str, ...] = (READ,), **more: object):
        """A fresh token as the server answers it, secret included."""
        wanted = {"expiry": in_days(30), **more}
        wanted = self._api.CreateApiToken(name=name or unique(), permissions=list(permissions), **wanted)
        return self.tokens.create_api_token(wanted)

    def rename(self, token_id: str, version: int, name: str):
        return self.tokens.update_api_token(token_id, self._api.UpdateApiToken(version=version, name=name))


@pytest.fixture(scope="session")
def bearer(api, base_url):
    return lambda secret: Bearer(api, base_url, secret)


@pytest.fixture(scope="session")
def root(bearer) -> Bearer:
    return bearer(ROOT_TOKEN)


def unique(prefix: str = "generated") -> str:
    return f"{prefix}-{uuid.uuid4()}"


def in_days(days: int) -> datetime:
    return datetime.now(timezone.utc) + timedelta(days=days)


def refused(api: ModuleType, status: int, call, *arguments):
    """The body of a refusal as the client types it. Which exception is raised for which status is the generator's choice."""
    named = {
        400: api.exceptions.BadRequestException,
        401: api.exceptions.UnauthorizedException,
        403: api.exceptions.ForbiddenException,
        404: api.exceptions.NotFoundException,
    }
    with pytest.raises(named.get(status, api.ApiException)) as caught:
        call(*arguments)
    error = caught.value
    assert error.status == status, error
    assert isinstance(error.data, api.ActionableError), f"not typed: {error.body}"
    assert error.data.status == status
    assert error.data.type == "about:blank"
    assert error.data.problem_count == len(error.data.problems) >= 1
    assert names_beyond(json.loads(error.body), error.data.to_dict()) == set()
    return error.data


def names_beyond(answered, typed, place: str = "") -> set[str]:
    """What an answer has and its type, made of the description, has lost. A null is as good as nothing."""
    if isinstance(answered, dict):
        lost = {f"{place}.{name}" for name, value in answered.items() if value is not None and name not in typed}
        both = [name for name in answered if name in typed]
        return lost.union(*(names_beyond(answered[name], typed[name], f"{place}.{name}") for name in both))
    if isinstance(answered, list):
        assert len(answered) == len(typed), place
        return set().union(*(names_beyond(one, other, place) for one, other in zip(answered, typed)))
    return set()


def test_a_token_is_made_read_renamed_and_deleted(api, root, bearer):
    name, expiry = unique(), in_days(30)
    wanted = api.CreateApiToken(
        name=name, expiry=expiry, permissions=[READ, WRITE, READ_USERS], allowed_addresses=["127.0.0.0/8", "::1"]
    )
    answer = root.tokens.create_api_token_with_http_info(wanted)
    made = answer.data
    assert answer.status_code == 201
    assert (made.name, made.version, made.expiry) == (name, 1, expiry)
    assert made.permissions == [READ, WRITE, READ_USERS]
    assert made.allowed_addresses == ["127.0.0.0/8", "::1"]
    assert made.created_user_info == made.last_modified_user_info
    assert made.creation_date == made.last_modified_date

    # The secret is told this once; everything else is read as it was answered.
    assert made.token.startswith(made.partial_token.rstrip("…"))
    known = made.model_copy(update={"token": None})
    own = bearer(made.token)
    assert root.tokens.get_api_token(made.id) == known
    assert own.tokens.get_current_api_token() == known
    assert own.tokens.get_api_token(made.id) == known

    # A rename by the token itself: the next version, and nothing else is another.
    other = unique()
    renamed = own.rename(made.id, 1, other)
    assert (renamed.name, renamed.version) == (other, 2)
    assert renamed.last_modified_user_info.user_id == made.user_id
    assert renamed.last_modified_date >= made.last_modified_date
    changed = {
        "name": other,
        "version": 2,
        "last_modified_date": renamed.last_modified_date,
        "last_modified_user_info": renamed.last_modified_user_info,
    }
    assert renamed == known.model_copy(update=changed)
    assert own.tokens.get_current_api_token() == renamed

    # In force for the very next request, and gone for everybody.
    assert root.tokens.delete_api_token_with_http_info(made.id).status_code == 204
    refused(api, 401, own.tokens.get_current_api_token)
    assert refused(api, 404, root.tokens.get_api_token, made.id).entity_id == made.id
    refused(api, 404, root.users.get_user, made.user_id)
    refused(api, 404, root.tokens.delete_api_token, made.id)
    assert root.create(name=other).name == other, "a name is free again"


def test_a_save_of_a_stale_version_is_refused_and_changes_nothing(api, root):
    made = root.create()
    current = root.rename(made.id, made.version, unique())
    assert current.version == 2
    for stale in (1, 0, 3):
        error = refused(api, 409, root.rename, made.id, stale, unique())
        assert error.entity_type == "API_TOKEN" and error.entity_id == made.id
        (problem,) = error.problems
        assert problem.problem_type is api.ProblemType.INVALID_STATE
        assert problem.identifier == "version"
        assert problem.values == [str(stale)]
        assert problem.suggested_values == ["2"], "read again is what the refusal says, and what was found"
    assert root.tokens.get_api_token(made.id) == current
    # The same name again is a save as well.
    assert root.rename(made.id, 2, current.name).version == 3


def test_of_saves_at_the_same_time_one_wins(api, root):
    made = root.create()
    names = [unique() for _ in range(8)]

    def save(name: str) -> int:
        try:
            return root.rename(made.id, 1, name).version
        except api.ApiException as error:
            return error.status

    with ThreadPoolExecutor(len(names)) as callers:
        outcomes = list(callers.map(save, names))
    assert sorted(outcomes) == [2] + [409] * 7
    kept = root.tokens.get_api_token(made.id)
    assert (kept.version, kept.name) == (2, names[outcomes.index(2)])


def test_queries_filter_sort_and_page(api, root):
    prefix = unique("Query")
    tokens = [root.create(name=f"{prefix} {letter}", expiry=in_days(10 + place)) for place, letter in enumerate("abc")]
    a, b, c = (token.model_copy(update={"token": None}) for token in tokens)
    # Case does not count for the operators with an i.
    mine = {"name": {"$iprefix": prefix.lower()}}

    def query(body, **options):
        return root.tokens.query_api_tokens(body, **options)

    page = query(mine)
    assert page.content == [a, b, c]
    assert (page.total_elements, page.total_pages, page.first, page.last) == (3, 1, True, True)
    assert page.sort.unsorted and not page.sort.sorted
    page = query(mine, sort="name,desc", page=1, size=2)
    assert page.content == [a]
    assert (page.number, page.page_number, page.size, page.number_of_elements) == (1, 1, 2, 1)
    assert (page.total_elements, page.total_pages, page.first, page.last) == (3, 2, False, True)
    assert (page.pageable.offset, page.pageable.sort.sorted) == (2, True)
    assert query(mine, sort="expiry,desc", size=2).content == [c, b]
    assert query(mine, page=7).content == []
    assert query({**mine, "expiry": {"$lt": b.expiry.isoformat()}}).content == [a]
    assert query({"$or": [{"name": a.name}, {"id": {"$in": [c.id]}}]}).content == [a, c]
    assert query({"$and": [mine, {"permissions": {"$contains": [WRITE]}}]}).content == []
    assert query({}, size=1).total_elements > 3, "an empty filter is all"

    # What was changed is found as it is now.
    renamed = root.rename(b.id, 1, unique("elsewhere"))
    assert query(mine).content == [a, c]
    assert query({"name": renamed.name}).content == [renamed]

    users = root.users.query_users({"lastName": {"$in": [a.name, c.name]}}, sort="lastName,desc")
    assert [user.id for user in users.content] == [c.user_id, a.user_id]
    assert users.total_elements == 2

    (problem,) = refused(api, 400, query, {"$and": [{"name": "x"}, {"colour": "red"}]}).problems
    assert problem.problem_type is api.ProblemType.ILLEGAL_ARGUMENT
    assert problem.identifier == "$and[1].colour"
    (problem,) = refused(api, 400, query, {"version": {"$gt": "1"}}).problems
    assert problem.problem_type is api.ProblemType.INCORRECT_DATA_TYPE
    (problem,) = refused(api, 400, lambda: query({}, sort="colour")).problems
    assert (problem.identifier, problem.values) == ("sort", ["colour"])


def test_a_token_has_a_user(api, root, bearer):
    made = root.create(permissions=(READ_USERS, WRITE))
    own = bearer(made.token)
    user = own.users.get_current_user()
    assert user.id == made.user_id
    assert (user.first_name, user.last_name, user.email) == ("", made.name, None)
    assert (user.role, user.service_account, user.enabled) == ("ROLE_ADMIN", True, True)
    assert user.recent_logins == []
    assert user.created_user_info == made.created_user_info
    assert root.users.get_user(user.id) == user
    renamed = own.rename(made.id, 1, unique())
    again = own.users.get_current_user()
    assert (again.last_name, again.version) == (renamed.name, 2)
    assert refused(api, 404, root.users.get_user, ID_NOBODY_HAS).entity_type == "USER"


def test_without_good_credentials_nothing_is_answered(api, root, bearer):
    made = root.create()
    for secret in (None, SECRET_NOBODY_HAS, "nonsense", made.id, made.token[:-1]):
        stranger = bearer(secret)
        for call, *arguments in (
            (stranger.tokens.get_current_api_token,),
            (stranger.users.get_current_user,),
            (stranger.tokens.get_api_token, made.id),
            (stranger.tokens.query_api_tokens, {}),
            (stranger.tokens.delete_api_token, made.id),
            (stranger.rename, made.id, 1, unique()),
            (stranger.create,),
        ):
            (problem,) = refused(api, 401, call, *arguments).problems
            assert problem.problem_type is api.ProblemType.UNKNOWN
    assert root.tokens.get_api_token(made.id).version == 1


def test_a_token_does_what_it_may_and_grants_no_more(api, root, bearer):
    made = root.create(permissions=(READ,))
    reader = bearer(made.token)
    assert reader.tokens.get_api_token(made.id).id == made.id
    for missing, call, *arguments in (
        (WRITE, reader.rename, made.id, 1, unique()),
        (WRITE, reader.create),
        (DELETE, reader.tokens.delete_api_token, made.id),
        (READ_USERS, reader.users.get_user, made.user_id),
        (READ_USERS, reader.users.query_users, {}),
    ):
        (problem,) = refused(api, 403, call, *arguments).problems
        assert problem.problem_type is api.ProblemType.INSUFFICIENT_PERMISSION
        assert (problem.identifier, problem.values) == ("permissions", [missing])
    writer = bearer(root.create(permissions=(WRITE,)).token)
    (problem,) = refused(api, 403, writer.create).problems
    assert problem.values == [READ], "what it would grant and has not itself"
    assert root.tokens.get_api_token(made.id).version == 1

    elsewhere = bearer(root.create(permissions=(READ,), allowed_addresses=["192.0.2.0/24"]).token)
    (problem,) = refused(api, 403, elsewhere.tokens.get_current_api_token).problems
    assert problem.problem_type is api.ProblemType.INSUFFICIENT_PERMISSION


def test_what_breaks_a_rule_is_refused_with_the_field(api, root):
    taken = root.create()
    for field, kind, wanted in (
        ("name", api.ProblemType.NON_UNIQUE_VALUE, {"name": taken.name}),
        ("name", api.ProblemType.ILLEGAL_ARGUMENT, {"name": "   "}),
        ("expiry", api.ProblemType.GREATER_VALUE_REQUIRED, {"expiry": in_days(-1)}),
        ("expiry", api.ProblemType.LESS_VALUE_REQUIRED, {"expiry": in_days(800)}),
        ("permissions", api.ProblemType.ILLEGAL_ARGUMENT, {"permissions": ("api.nothing.read",)}),
        ("allowedAddresses", api.ProblemType.ILLEGAL_ARGUMENT, {"allowed_addresses": ["300.0.0.1"]}),
    ):
        (problem,) = refused(api, 400, lambda: root.create(**wanted)).problems
        assert problem.problem_type is kind, problem
        assert problem.identifier.startswith(field), problem
    other = root.create()
    for name in (taken.name, " "):
        (problem,) = refused(api, 400, root.rename, other.id, 1, name).problems
        assert problem.identifier == "name"
    assert root.tokens.get_api_token(other.id) == other.model_copy(update={"token": None})
    for token_id in (ID_NOBODY_HAS, "nonsense", "current"):
        assert refused(api, 404, root.rename, token_id, 1, unique()).entity_id == token_id


def test_the_description_names_all_that_is_answered(api, root):
    made = root.create()
    for call, model in (
        (lambda: root.tokens.get_api_token_without_preload_content(made.id), api.ApiToken),
        (lambda: root.users.get_user_without_preload_content(made.user_id), api.User),
        (lambda: root.tokens.query_api_tokens_without_preload_content({}), api.ApiTokenPage),
        (lambda: root.users.query_users_without_preload_content({}), api.UserPage),
    ):
        text = call().read().decode()
        assert names_beyond(json.loads(text), model.from_json(text).to_dict()) == set()
