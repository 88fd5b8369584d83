// The generated API of the Infisical SDK for Node: the life of a machine identity's tokens, step by step.
// A newcomer would get this wrong: an instance can be set up only once, and over HTTP only in development. So all of it is
// one conversation in one test, and whoever has set the instance up gives what it got as INFISICAL_TOKEN.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ApiClient } from '@infisical/sdk';
import { BASE_URL, LIMIT, call, unique } from './support.mjs';

const { Configuration, DefaultApi } = ApiClient;

const api = (accessToken) => new DefaultApi(new Configuration({ basePath: BASE_URL, accessToken }));

/** The status with which a call is refused, and what it says. */
async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error.response, `no answer: ${error.message}`);
    const { status, data } = error.response;
    assert.match(data.reqId, /^req-[A-Za-z0-9]{14}$/);
    assert.equal(data.statusCode, status);
    return { status, ...data };
  }
  return assert.fail('the call was expected to be refused');
}

/** Whether a token is good; the client has no such call. */
const details = (token) => call('GET', '/api/v1/identities/details', { headers: { authorization: `Bearer ${token}` } });

const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());

describe('@infisical/sdk', () => {
  test('a token of a machine identity is made, renamed, listed and revoked', LIMIT, async () => {
    const anybody = api();
    const status = (await anybody.apiStatusGet()).data;
    assert.equal(status.message, 'Ok');
    const apiV1AdminBootstrapPostRequest = {
      email: 'ann@example.com',
      password: 'correct horse battery',
      organization: 'Conformance',
    };
    const given = process.env.INFISICAL_TOKEN;
    const setUp = async () => (await anybody.apiV1AdminBootstrapPost({ apiV1AdminBootstrapPostRequest })).data;
    const set = given ? undefined : await setUp();
    const adminToken = given ?? set.identity.credentials.token;
    const admin = api(adminToken);
    const again = await refusal(anybody.apiV1AdminBootstrapPost({ apiV1AdminBootstrapPostRequest }));
    assert.equal(again.message, 'Instance has already been set up');

    // An identity and how its tokens are made.
    const name = unique('ci');
    const organizationId = claimsOf(adminToken).orgId;
    if (set) assert.equal(set.organization.id, organizationId);
    const apiV1IdentitiesPostRequest = { name, organizationId, role: 'admin' };
    const made = (await admin.apiV1IdentitiesPost({ apiV1IdentitiesPostRequest })).data.identity;
    assert.equal(made.name, name);
    assert.equal(made.authMethod, null);
    const identityId = made.id;
    const attach = (apiV1AuthTokenAuthIdentitiesIdentityIdPostRequest) =>
      admin.apiV1AuthTokenAuthIdentitiesIdentityIdPost({ identityId, apiV1AuthTokenAuthIdentitiesIdentityIdPostRequest });
    const missing = await refusal(admin.apiV1AuthTokenAuthIdentitiesIdentityIdGet({ identityId }));
    assert.equal(missing.status, 404);
    const wrong = await refusal(attach({ accessTokenTTL: 120, accessTokenMaxTTL: 60 }));
    assert.equal(wrong.status, 422);
    assert.ok(Array.isArray(wrong.message));
    const auth = (await attach({ accessTokenTTL: 60, accessTokenMaxTTL: 120 })).data.identityTokenAuth;
    assert.equal(auth.accessTokenTTL, 60);
    assert.equal(auth.accessTokenTrustedIps[0].ipAddress, '0.0.0.0');
    assert.equal((await refusal(attach({}))).status, 400);
    const member = (await admin.apiV1IdentitiesIdentityIdGet({ identityId })).data.identity;
    assert.deepEqual(member.identity.authMethods, ['token-auth']);

    // Two tokens, one without a request object.
    const mint = async (apiV1AuthTokenAuthIdentitiesIdentityIdTokensPostRequest) =>
      (
        await admin.apiV1AuthTokenAuthIdentitiesIdentityIdTokensPost({
          identityId,
          apiV1AuthTokenAuthIdentitiesIdentityIdTokensPostRequest,
        })
      ).data;
    const first = await mint({ name: 'x' });
    assert.equal(first.expiresIn, 60);
    assert.equal(first.tokenType, 'Bearer');
    assert.equal(first.tokenData.name, 'x');
    const second = await mint(undefined);
    assert.equal(second.tokenData.name, null);
    const claims = claimsOf(first.accessToken);
    assert.equal(claims.identityName, name);
    assert.equal(claims.orgId, organizationId);
    assert.equal(claims.exp - claims.iat, 60);
    assert.equal((await details(first.accessToken)).json.identityDetails.organization.id, organizationId);

    // The update: everything but the name and the last change stays.
    const tokenId = first.tokenData.id;
    const list = async () =>
      (await admin.apiV1AuthTokenAuthIdentitiesIdentityIdTokensGet({ identityId, offset: 0, limit: 20 })).data.tokens;
    const rename = async (apiV1AuthTokenAuthTokensTokenIdPatchRequest, id = tokenId) =>
      (await admin.apiV1AuthTokenAuthTokensTokenIdPatch({ tokenId: id, apiV1AuthTokenAuthTokensTokenIdPatchRequest })).data
        .token;
    const before = (await list()).find((token) => token.id === tokenId);
    for (const name of ['n2', '', 'n2']) {
      const renamed = await rename({ name });
      assert.equal(renamed.name, name);
      assert.deepEqual({ ...renamed, name: before.name, updatedAt: before.updatedAt }, before);
      assert.ok(renamed.updatedAt >= before.updatedAt);
      assert.equal((await list())[0].id, tokenId);
    }
    for (const [request, status] of [
      [{ name: null }, 422],
      [{ name: 5 }, 422],
      [{ name: 'x'.repeat(256) }, 422],
      [undefined, 400],
      [{}, 400],
    ]) {
      assert.equal((await refusal(rename(request))).status, status, JSON.stringify(request));
    }
    for (const id of ['00000000-0000-4000-8000-000000000000', 'not-a-uuid']) {
      assert.equal((await refusal(rename({ name: 'x' }, id))).message, `Token with ID ${id} not found`);
    }

    // A member may see it, and not rename it; for the instance admin's own token not even an admin may.
    const memberOf = api(first.accessToken);
    const apiV1IdentitiesIdentityIdPatchRequest = { role: 'member' };
    await admin.apiV1IdentitiesIdentityIdPatch({ identityId, apiV1IdentitiesIdentityIdPatchRequest });
    const bounded = await refusal(
      memberOf.apiV1AuthTokenAuthTokensTokenIdPatch({
        tokenId,
        apiV1AuthTokenAuthTokensTokenIdPatchRequest: { name: 'x' },
      }),
    );
    assert.equal(bounded.error, 'PermissionBoundaryError');
    assert.deepEqual(bounded.details.missingPermissions, [{ action: 'create-token', subject: 'identity' }]);

    // Out of force at once.
    await admin.apiV1AuthTokenAuthTokensTokenIdRevokePost({ tokenId });
    assert.equal((await refusal(admin.apiV1AuthTokenAuthTokensTokenIdRevokePost({ tokenId }))).status, 404);
    assert.equal((await details(first.accessToken)).status, 401);
    assert.equal((await rename({ name: 'late' })).isAccessTokenRevoked, true);
    assert.equal((await details(second.accessToken)).status, 200);
    const apiV1AuthTokenAuthIdentitiesIdentityIdPatchRequest = { accessTokenTrustedIps: [{ ipAddress: '10.0.0.0/24' }] };
    await admin.apiV1AuthTokenAuthIdentitiesIdentityIdPatch({
      identityId,
      apiV1AuthTokenAuthIdentitiesIdentityIdPatchRequest,
    });
    assert.equal((await details(second.accessToken)).status, 403);
    await admin.apiV1AuthTokenAuthIdentitiesIdentityIdDelete({ identityId });
    assert.equal((await details(second.accessToken)).status, 401);
    assert.equal((await admin.apiV1IdentitiesIdentityIdDelete({ identityId })).data.identity.name, name);
    assert.equal((await admin.apiV1IdentitiesGet({ orgId: organizationId })).data.totalCount, 1);
  });
});
