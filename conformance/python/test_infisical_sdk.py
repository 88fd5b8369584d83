"""The SDK of Infisical for Python against Token Auth: tokens made, renamed, listed, revoked, and what is refused.

A newcomer would get this wrong: version 0.2.0 is the last one that carries the whole generated API, as `client.rest`; later
ones have only secrets and log-ins by means that are not served here. It wants an older pydantic than the clients that are
generated today, hence an environment of its own (`requirements-infisical.txt`).
"""

import base64
import json
import os
import re
import uuid

import pytest
import requests
from infisical_sdk import InfisicalSDKClient
from infisicalapi_client import exceptions, models
from pydantic import ValidationError

TIMEOUT_SECS = 30
ID_NOBODY_HAS = "00000000-0000-4000-8000-000000000000"
# What the names of the calls about an identity's Token Auth begin with.
AUTH = "api_v1_auth_token_auth_identities_identity_id"


def unique(prefix: str = "python") -> str:
    return f"{prefix}-{uuid.uuid4()}"


def claims_of(token: str) -> dict:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


@pytest.fixture(scope="session")
def admin_token(base_url) -> str:
    """A token of the instance's administrator: the one that is given, or that of a set-up if nobody has done it yet."""
    given = os.environ.get("INFISICAL_TOKEN")
    if given:
        return given
    # The SDK has no call for it.
    answer = requests.post(
        f"{base_url}/api/v1/admin/bootstrap",
        json={"email": "ann@example.com", "password": "correct horse battery", "organization": "Conformance"},
        timeout=TIMEOUT_SECS,
    )
    if answer.status_code != 200:
        pytest.fail(
            f"setting up answered {answer.status_code}: {answer.text}; if it has been done, set INFISICAL_TOKEN to what"
            " `tokenhouse token issue --realm infisical` prints"
        )
    return answer.json()["identity"]["credentials"]["token"]


@pytest.fixture
def admin(base_url, admin_token) -> InfisicalSDKClient:
    return InfisicalSDKClient(host=base_url, token=admin_token)


@pytest.fixture
def organization_id(admin_token) -> str:
    return claims_of(admin_token)["orgId"]


class Machine:
    """A machine identity with Token Auth, and the calls about its tokens that an administrator makes."""

    def __init__(self, admin: InfisicalSDKClient, organization_id: str, role: str, **auth: object) -> None:
        self.rest = admin.rest
        self.name = unique()
        request = models.ApiV1IdentitiesPostRequest(name=self.name, organizationId=organization_id, role=role)
        self.identity = self.rest.api_v1_identities_post(request).identity
        self.id = self.identity.id
        wanted = models.ApiV1AuthTokenAuthIdentitiesIdentityIdPostRequest(**auth)
        self.auth = getattr(self.rest, f"{AUTH}_post")(self.id, wanted).identity_token_auth

    def mint(self, name: str | None = None) -> tuple[str, str]:
        """A token and its id: the answer as this SDK types it has no id, but the JWT names it."""
        request = models.ApiV1AuthTokenAuthIdentitiesIdentityIdTokensPostRequest(name=name)
        made = getattr(self.rest, f"{AUTH}_tokens_post")(self.id, request)
        assert made.token_type == "Bearer"
        assert made.expires_in == self.auth.access_token_ttl
        return made.access_token, claims_of(made.access_token)["identityAccessTokenId"]

    def tokens(self) -> list:
        return getattr(self.rest, f"{AUTH}_tokens_get")(self.id, offset=0, limit=20).tokens

    def configure(self, **change: object):
        request = models.ApiV1AuthTokenAuthIdentitiesIdentityIdPatchRequest(**change)
        return getattr(self.rest, f"{AUTH}_patch")(self.id, request).identity_token_auth


@pytest.fixture
def machine(admin, organization_id):
    made: list[Machine] = []

    def make(role: str = "no-access", **auth: object) -> Machine:
        made.append(Machine(admin, organization_id, role, **auth))
        return made[-1]

    yield make
    for one in made:
        try:
            admin.rest.api_v1_identities_identity_id_delete(one.id)
        except exceptions.NotFoundException:
            pass


def rename(client: InfisicalSDKClient, token_id: str, name: str | None):
    request = models.ApiV1AuthTokenAuthTokensTokenIdPatchRequest(name=name)
    return client.rest.api_v1_auth_token_auth_tokens_token_id_patch(token_id, request).token


def refused(kind: type[exceptions.ApiException], status: int, call, *arguments, **options) -> dict:
    """The body of a refusal, which comes as the SDK's own exception."""
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    assert type(caught.value) is kind
    assert caught.value.status == status, caught.value
    body = json.loads(caught.value.body)
    assert body["statusCode"] == status
    assert re.fullmatch(r"req-[A-Za-z0-9]{14}", body["reqId"])
    return body


def unauthorized(call, *arguments, **options) -> dict:
    return refused(exceptions.UnauthorizedException, 401, call, *arguments, **options)


def forbidden(call, *arguments, **options) -> dict:
    return refused(exceptions.ForbiddenException, 403, call, *arguments, **options)


def not_found(call, *arguments, **options) -> dict:
    return refused(exceptions.NotFoundException, 404, call, *arguments, **options)


def test_the_status_is_told_to_anybody(base_url):
    status = InfisicalSDKClient(host=base_url).rest.api_status_get()
    assert status.message == "Ok"


def test_a_token_is_made_renamed_listed_and_revoked(base_url, admin, machine, organization_id):
    ci = machine(role="admin", accessTokenTTL=60, accessTokenMaxTTL=120)
    assert ci.auth.access_token_ttl == 60
    assert ci.auth.access_token_max_ttl == 120
    assert ci.auth.identity_id == ci.id
    first, first_id = ci.mint("first")
    second, second_id = ci.mint()
    claims = claims_of(first)
    assert (claims["identityName"], claims["orgId"]) == (ci.name, organization_id)
    assert claims["exp"] - claims["iat"] == 60
    assert {token.id: token.name for token in ci.tokens()} == {first_id: "first", second_id: None}

    # The update: everything but the name and the last change stays.
    before = next(token for token in ci.tokens() if token.id == first_id)
    for name in ("second", "", "third"):
        renamed = rename(admin, first_id, name)
        assert renamed.updated_at >= before.updated_at
        assert renamed == before.copy(update={"name": name, "updated_at": renamed.updated_at})
        assert renamed in ci.tokens()

    # The token is given to the client as users do it; it may itself do what its identity may.
    own = InfisicalSDKClient(host=base_url)
    unauthorized(own.rest.api_v1_identities_identity_id_get, ci.id)
    own.set_token(first)
    member = own.rest.api_v1_identities_identity_id_get(ci.id).identity
    assert (member.identity.id, member.identity.name) == (ci.id, ci.name)
    assert rename(own, second_id, "by the other").name == "by the other"

    # Out of force for the very next request; the other one is not.
    answer = admin.rest.api_v1_auth_token_auth_tokens_token_id_revoke_post(first_id)
    assert answer.message
    unauthorized(own.rest.api_v1_identities_identity_id_get, ci.id)
    not_found(admin.rest.api_v1_auth_token_auth_tokens_token_id_revoke_post, first_id)
    assert rename(admin, first_id, "late").is_access_token_revoked is True
    own.set_token(second)
    assert own.rest.api_v1_identities_identity_id_get(ci.id).identity.identity.id == ci.id


def test_a_role_holds_for_the_very_next_request(base_url, admin, machine):
    ci = machine(role="admin")
    token, token_id = ci.mint()
    own = InfisicalSDKClient(host=base_url, token=token)

    def give(role: str) -> None:
        request = models.ApiV1IdentitiesIdentityIdPatchRequest(role=role)
        assert admin.rest.api_v1_identities_identity_id_patch(ci.id, request).identity.id == ci.id

    for flip in range(3):
        assert rename(own, token_id, f"as admin {flip}").name == f"as admin {flip}"
        give("member")
        error = forbidden(rename, own, token_id, "as member")
        assert error["error"] == "PermissionBoundaryError"
        assert error["details"]["missingPermissions"] == [{"action": "create-token", "subject": "identity"}]
        assert own.rest.api_v1_identities_identity_id_get(ci.id).identity.identity.id == ci.id
        give("no-access")
        assert forbidden(own.rest.api_v1_identities_identity_id_get, ci.id)["error"] == "PermissionDenied"
        assert forbidden(rename, own, token_id, "as nobody")["error"] == "PermissionDenied"
        assert ci.tokens()[0].name == f"as admin {flip}", "what was refused has changed nothing"
        give("admin")


def test_addresses_and_a_detach_hold_for_the_very_next_request(base_url, admin, machine):
    ci = machine(role="admin")
    token, _ = ci.mint()
    own = InfisicalSDKClient(host=base_url, token=token)
    ask = own.rest.api_v1_identities_identity_id_get
    assert ask(ci.id)
    ci.configure(accessTokenTrustedIps=[{"ipAddress": "10.0.0.0/24"}])
    forbidden(ask, ci.id)
    ci.configure(accessTokenTrustedIps=[{"ipAddress": "127.0.0.0/8"}])
    assert ask(ci.id)
    detached = getattr(admin.rest, f"{AUTH}_delete")(ci.id).identity_token_auth
    assert detached.id == ci.auth.id
    unauthorized(ask, ci.id)
    not_found(getattr(admin.rest, f"{AUTH}_get"), ci.id)
    # Attached anew it is another one: the old tokens stay dead.
    wanted = models.ApiV1AuthTokenAuthIdentitiesIdentityIdPostRequest()
    assert getattr(admin.rest, f"{AUTH}_post")(ci.id, wanted).identity_token_auth.identity_id == ci.id
    unauthorized(ask, ci.id)


def test_a_deleted_identity_takes_its_tokens_along(base_url, admin, machine, organization_id):
    ci = machine()
    token, token_id = ci.mint()
    listed = admin.rest.api_v1_identities_get(organization_id)
    assert ci.id in [member.identity.id for member in listed.identities]
    assert admin.rest.api_v1_identities_identity_id_delete(ci.id).identity.name == ci.name
    own = InfisicalSDKClient(host=base_url, token=token)
    unauthorized(own.rest.api_v1_identities_get, organization_id)
    not_found(admin.rest.api_v1_identities_identity_id_get, ci.id)
    not_found(rename, admin, token_id, "late")
    listed = admin.rest.api_v1_identities_get(organization_id)
    assert ci.id not in [member.identity.id for member in listed.identities]


def test_bad_requests_come_as_the_errors_of_the_sdk(admin, machine):
    ci = machine()
    _, token_id = ci.mint("kept")
    for bad_id in (ID_NOBODY_HAS, "not-a-uuid"):
        assert not_found(rename, admin, bad_id, "x")["message"] == f"Token with ID {bad_id} not found"
    error = refused(exceptions.BadRequestException, 400, rename, admin, token_id, None)
    assert error["message"] == "No fields to update"
    # 422 has no exception of its own in this SDK.
    error = refused(exceptions.ApiException, 422, rename, admin, token_id, "x" * 256)
    assert "maximum length" in error["message"]
    again = models.ApiV1AuthTokenAuthIdentitiesIdentityIdPostRequest()
    refused(exceptions.BadRequestException, 400, getattr(admin.rest, f"{AUTH}_post"), ci.id, again)
    before = getattr(admin.rest, f"{AUTH}_get")(ci.id).identity_token_auth
    wrong = refused(exceptions.ApiException, 422, ci.configure, accessTokenTTL=120, accessTokenMaxTTL=60)
    assert isinstance(wrong["message"], list)
    # What the SDK knows to be wrong is not even sent.
    with pytest.raises(ValidationError):
        ci.configure(accessTokenTTL=-1)
    assert getattr(admin.rest, f"{AUTH}_get")(ci.id).identity_token_auth == before
    assert [token.name for token in ci.tokens()] == ["kept"]


def test_a_token_that_is_none_is_refused(base_url, admin_token, organization_id):
    header, payload, signature = admin_token.split(".")
    forged = dict(claims_of(admin_token), identityId=ID_NOBODY_HAS)
    forged = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()
    client = InfisicalSDKClient(host=base_url)
    ask = client.rest.api_v1_identities_get
    assert unauthorized(ask, organization_id)["message"] == "Token missing"
    for bad in ("nonsense", f"{header}.{forged}.{signature}", f"{header}.{payload}.{'A' * len(signature)}"):
        client.set_token(bad)
        assert forbidden(ask, organization_id)["error"] == "TokenError", bad
    client.set_token(admin_token)
    assert ask(organization_id).identities != []


def test_what_is_not_served_is_said_to_be_so(admin):
    memberships = admin.rest.api_v1_identities_identity_id_identity_memberships_get
    for route, call, *arguments in (
        ("POST:/api/v1/auth/universal-auth/login", admin.auth.universal_auth.login, "id", "secret"),
        ("GET:/api/v1/admin/config", admin.rest.api_v1_admin_config_get),
        (f"GET:/api/v1/identities/{ID_NOBODY_HAS}/identity-memberships", memberships, ID_NOBODY_HAS),
    ):
        error = not_found(call, *arguments)
        assert (error["error"], error["message"]) == ("Not Found", f"Route {route} not found")
