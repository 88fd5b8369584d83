// Clients of the Unleash API that are no npm or PyPI package, replayed call by call: the Terraform provider, a
// Kubernetes operator, and Edge.
// A newcomer would get this wrong: the provider escapes the token as a Go path segment (`*` becomes `%2A`, `:` stays),
// which is not what encodeURIComponent does.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  ADMIN_SECRET,
  CLIENT_SECRET,
  FRONTEND_SECRET,
  FUTURE,
  LIMIT,
  PAST,
  call,
  createToken,
  deleteToken,
  setExpiry,
  unique,
} from './support.mjs';

const TOKENS = '/api/admin/api-tokens';

/** As Go's `url.PathEscape` writes a segment. */
const goSegment = (text) =>
  encodeURIComponent(text)
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%(24|26|2B|3A|3D|40)/g, decodeURIComponent);

/** One call as the provider's generated Go client sends it. */
function provider(method, path, body) {
  const headers = {
    authorization: ADMIN_SECRET,
    accept: 'application/json',
    'accept-encoding': 'gzip',
    'x-unleash-appname': 'terraform-provider-unleash',
  };
  if (body !== undefined) headers['content-type'] = 'application/json';
  return call(method, path, { headers, body: body && JSON.stringify(body) });
}

/** How the provider reads a resource: the whole list, and in it the one whose secret is in its state. */
async function read(secret) {
  const answer = await provider('GET', TOKENS);
  assert.equal(answer.status, 200, answer.text);
  const found = answer.json.tokens.filter((token) => token.secret === secret);
  assert.ok(found.length <= 1, 'a secret is listed once');
  for (const token of found) {
    for (const name of ['secret', 'tokenName', 'type', 'projects', 'createdAt']) {
      assert.ok(token[name] !== undefined && token[name] !== null, `the provider needs ${name}`);
    }
  }
  return found[0];
}

function update(secret, body) {
  return provider('PUT', `${TOKENS}/${goSegment(secret)}`, body);
}

/** What Edge asks before it lets a token in; no credentials. */
async function validate(...tokens) {
  const answer = await call('POST', '/edge/validate', {
    headers: {
      'content-type': 'application/json',
      accept: '*/*',
      'user-agent': 'unleash-edge-20.1.0',
      'unleash-appname': 'unleash-edge',
      'unleash-instanceid': 'conformance',
      'unleash-client-spec': '5.2.2',
    },
    body: JSON.stringify({ tokens }),
  });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(Object.keys(answer.json), ['tokens']);
  return answer.json.tokens;
}

describe('Terraform provider, replayed', () => {
  const cases = [
    { type: 'client', projects: ['default'], environment: 'development', expiresAt: '2030-01-01T12:00:00Z' },
    { type: 'backend', projects: ['*'], environment: 'production', expiresAt: '2030-01-01T12:00:00Z' },
    { type: 'frontend', projects: ['*'], environment: 'development' },
  ];
  for (const wanted of cases) {
    const title = `${wanted.type} token for ${wanted.projects}, ${wanted.expiresAt ? 'with' : 'without'} expiry`;
    test(`${title}: create, read, update, read, delete, read`, LIMIT, async () => {
      const tokenName = unique('terraform');
      const created = await provider('POST', TOKENS, { tokenName, ...wanted });
      assert.equal(created.status, 201, created.text);
      assert.equal(created.headers.get('location'), 'api-tokens');
      assert.match(created.headers.get('content-type'), /^application\/json/);
      const { secret } = created.json;
      const scope = wanted.projects[0];
      assert.ok(secret.startsWith(`${scope}:${wanted.environment}.`), 'the secret tells its scope and environment');

      const before = await read(secret);
      assert.ok(before, 'the token is found by its secret');
      const instant = wanted.expiresAt === undefined ? null : '2030-01-01T12:00:00.000Z';
      assert.deepEqual(
        { name: before.tokenName, type: before.type, projects: before.projects, environment: before.environment },
        { name: tokenName, type: wanted.type, projects: wanted.projects, environment: wanted.environment },
        'what is read is what was asked for: no permanent difference',
      );
      assert.equal(before.expiresAt, instant);

      const moved = await update(secret, { expiresAt: '2031-01-01T12:00:00Z' });
      assert.equal(moved.status, 200, moved.text);
      assert.equal(moved.text, '');
      assert.equal(moved.headers.get('tokenhouse-matched'), '1');
      const after = await read(secret);
      assert.deepEqual(after, { ...before, expiresAt: '2031-01-01T12:00:00.000Z' }, 'only the expiry has changed');

      const past = await update(secret, { expiresAt: '2020-01-01T00:00:00Z' });
      assert.equal(past.status, 200);
      assert.equal((await read(secret)).expiresAt, '2020-01-01T00:00:00.000Z', 'an expired token stays listed');
      assert.deepEqual(await validate(secret), [], 'and is not good any more');

      const deleted = await provider('DELETE', `${TOKENS}/${goSegment(secret)}`);
      assert.equal(deleted.status, 200, deleted.text);
      assert.equal(deleted.headers.get('tokenhouse-matched'), '1');
      assert.equal(await read(secret), undefined, 'the provider drops the resource from its state');
      const again = await provider('DELETE', `${TOKENS}/${goSegment(secret)}`);
      assert.equal(again.status, 200, 'deleting twice is no error');
      assert.equal(again.headers.get('tokenhouse-matched'), '0');
    });
  }

  test('the escaped, the half escaped and the raw path name the same token', LIMIT, async () => {
    const { secret } = await createToken({ type: 'backend', projects: ['*'] });
    assert.match(goSegment(secret), /^%2A:development\./);
    const paths = [goSegment(secret), secret.replaceAll('*', '%2A').replaceAll(':', '%3A'), secret];
    for (const [index, path] of paths.entries()) {
      const expiresAt = `203${index}-06-01T00:00:00.000Z`;
      const answer = await provider('PUT', `${TOKENS}/${path}`, { expiresAt });
      assert.equal(answer.status, 200, answer.text);
      assert.equal((await read(secret)).expiresAt, expiresAt, path);
    }
    const deleted = await provider('DELETE', `${TOKENS}/%2A:${secret.slice(2)}`);
    assert.equal(deleted.headers.get('tokenhouse-matched'), '1');
    assert.equal(await read(secret), undefined);
  });

  test('an unknown token, a name and a typo change nothing and say so', LIMIT, async () => {
    const created = await createToken({ type: 'client', projects: ['default'], expiresAt: FUTURE });
    const wrong = [created.tokenName, `${created.secret}x`, created.secret.slice(0, -1), created.secret.toUpperCase()];
    for (const name of wrong) {
      const answer = await update(name, { expiresAt: PAST });
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.text, '');
      assert.equal(answer.headers.get('tokenhouse-matched'), '0', name);
    }
    assert.equal((await read(created.secret)).expiresAt, FUTURE);
    assert.equal((await validate(created.secret)).length, 1);
  });

  test('a refused update changes nothing', LIMIT, async () => {
    const { secret } = await createToken({ type: 'client', projects: ['default'], expiresAt: FUTURE });
    const before = await read(secret);
    const bodies = [{}, { expiresAt: null }, { expiresAt: '' }, { expiresAt: '2030-02-30T00:00:00Z' }, { expiresAt: '2030-01-01' }, []];
    for (const body of bodies) {
      const answer = await update(secret, body);
      const shown = `${JSON.stringify(body)} answered ${answer.status}: ${answer.text}`;
      assert.equal(answer.status, 400, shown);
      assert.equal(answer.json.name, 'BadDataError', shown);
      assert.equal(typeof answer.json.id, 'string', 'the provider decodes id, name and message');
      assert.ok(answer.json.details.length > 0);
    }
    const callers = [
      ['*:*.no-such-admin-token', 401],
      [CLIENT_SECRET, 403],
      [FRONTEND_SECRET, 403],
      [secret, 403],
    ];
    for (const [authorization, status] of callers) {
      const answer = await call('PUT', `${TOKENS}/${goSegment(secret)}`, {
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify({ expiresAt: PAST }),
      });
      assert.equal(answer.status, status, `${authorization} answered ${answer.status}: ${answer.text}`);
      assert.equal(typeof answer.json.message, 'string');
    }
    // The last refused caller showed this very token, and showing it is a use.
    assert.deepEqual({ ...await read(secret), seenAt: null }, { ...before, seenAt: null });
    assert.equal((await validate(secret)).length, 1);
  });
});

describe('a Kubernetes operator, replayed', () => {
  test('create with an upper-case type, find by name, delete', LIMIT, async () => {
    const health = await call('GET', '/health');
    assert.deepEqual([health.status, health.json], [200, { health: 'GOOD' }]);
    const tokenName = unique('operator');
    const created = await provider('POST', TOKENS, { tokenName, type: 'CLIENT', environment: 'development', projects: ['default'] });
    assert.equal(created.status, 201, created.text);
    const named = await provider('GET', `${TOKENS}/${tokenName}`);
    assert.equal(named.status, 200);
    assert.deepEqual(named.json.tokens.map((token) => [token.secret, token.type]), [[created.json.secret, 'client']]);
    await deleteToken(created.json.secret);
    assert.deepEqual((await provider('GET', `${TOKENS}/${tokenName}`)).json, { tokens: [] });
  });
});

describe('Edge, replayed', () => {
  test('a token is confirmed, expired by PUT, confirmed again and deleted: each at the next question', LIMIT, async () => {
    const { secret } = await createToken({ type: 'backend', projects: ['default'] });
    const confirmed = [{ token: secret, type: 'backend', projects: ['default'], environment: 'development' }];
    assert.deepEqual(await validate(secret), confirmed);
    for (let flip = 0; flip < 10; flip += 1) {
      await setExpiry(secret, PAST);
      assert.deepEqual(await validate(secret), [], `flip ${flip}: expired`);
      await setExpiry(secret, FUTURE);
      assert.deepEqual(await validate(secret), confirmed, `flip ${flip}: good again`);
    }
    await deleteToken(secret);
    assert.deepEqual(await validate(secret), []);
  });

  test('a batch is answered in its order, without what is not good', LIMIT, async () => {
    const first = await createToken({ type: 'frontend', projects: ['*'] });
    const second = await createToken({ type: 'client', projects: ['default'], environment: 'production' });
    const expired = await createToken({ type: 'client', expiresAt: PAST });
    const unknown = `default:development.${'f'.repeat(56)}`;
    const answered = await validate(second.secret, unknown, first.secret, expired.secret, '', second.secret);
    const one = { token: first.secret, type: 'frontend', projects: ['*'], environment: 'development' };
    const two = { token: second.secret, type: 'client', projects: ['default'], environment: 'production' };
    assert.deepEqual(answered, [two, one, two]);
    assert.deepEqual(await validate(), []);
  });

  test('register and features with an entity tag, before and after the expiry', LIMIT, async () => {
    const { secret } = await createToken({ type: 'backend', projects: ['default'] });
    const headers = { authorization: secret, 'content-type': 'application/json', 'unleash-client-spec': '5.2.2', 'unleash-interval': '15000' };
    const registration = JSON.stringify({
      appName: 'unleash-edge',
      connectVia: null,
      environment: 'development',
      projects: ['default'],
      instanceId: unique('instance'),
      connectionId: unique('connection'),
      interval: 15,
      started: '2026-01-02T03:04:05.578783123Z',
      strategies: [],
      sdkVersion: 'unleash-edge:20.1.0',
      sdkType: 'backend',
      yggdrasilVersion: null,
      platformName: null,
      platformVersion: null,
    });
    const register = () => call('POST', '/api/client/register', { headers, body: registration });
    const features = (etag) => call('GET', '/api/client/features', { headers: etag ? { ...headers, 'if-none-match': etag } : headers });

    assert.equal((await register()).status, 202);
    const full = await features();
    assert.equal(full.status, 200, full.text);
    assert.deepEqual(full.json.features, []);
    assert.equal(full.json.query.environment, 'development');
    const etag = full.headers.get('etag');
    assert.equal(etag, full.json.meta.etag);
    const unchanged = await features(etag);
    assert.deepEqual([unchanged.status, unchanged.text], [304, '']);

    await setExpiry(secret, PAST);
    assert.equal((await features(etag)).status, 401, 'an entity tag does not carry a token past its expiry');
    assert.equal((await register()).status, 401);
    await setExpiry(secret, FUTURE);
    assert.equal((await features(etag)).status, 304);
    assert.equal((await register()).status, 202);
  });
});
