// The browser SDK of Unleash against the frontend API, run in Node with Node's own fetch.
// A newcomer would get this wrong: Node enforces no cross-origin rules, so what a browser needs is asserted by hand here.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { InMemoryStorageProvider, UnleashClient } from 'unleash-proxy-client';
import {
  BASE_URL,
  CLIENT_SECRET,
  FRONTEND_SECRET,
  FUTURE,
  LIMIT,
  NEVER_MS,
  PAST,
  Recorder,
  call,
  createToken,
  setExpiry,
  unique,
} from './support.mjs';

const EVENTS = ['initialized', 'ready', 'update', 'sent', 'error', 'recovered'];
const ORIGIN = 'https://shop.example';

/** A client that is not started yet, with its events and the status of each of its requests. */
function browser(t, secret, options = {}) {
  t.mock.method(console, 'error', () => {}); // this SDK prints each refusal besides emitting it
  const requests = [];
  const sdk = new UnleashClient({
    url: `${BASE_URL}/api/frontend`,
    clientKey: secret,
    appName: unique('web'),
    refreshInterval: NEVER_MS / 1000,
    metricsInterval: NEVER_MS / 1000,
    metricsIntervalInitial: 0, // otherwise a timer is left behind when the client is stopped early
    storageProvider: new InMemoryStorageProvider(),
    fetch: async (url, init) => {
      const response = await fetch(url, init);
      requests.push({ path: new URL(url).pathname, method: init.method, headers: init.headers, status: response.status });
      return response;
    },
    ...options,
  });
  const seen = new Recorder(sdk, EVENTS);
  t.after(() => sdk.stop());
  return { sdk, seen, requests };
}

/** One refresh now; answers with the status it got. */
async function refresh({ sdk, requests }) {
  const before = requests.length;
  await sdk.updateToggles();
  assert.equal(requests.length, before + 1, 'one refresh is one request');
  return requests[before].status;
}

async function frontendToken(more = {}) {
  return (await createToken({ type: 'frontend', projects: ['default'], ...more })).secret;
}

describe('unleash-proxy-client', () => {
  test('becomes ready with a fresh frontend token, then gets 304', LIMIT, async (t) => {
    const client = browser(t, await frontendToken());
    await client.sdk.start();
    await client.seen.wait('ready');
    assert.equal(client.sdk.isReady(), true);
    assert.deepEqual(client.sdk.getAllToggles(), []);
    assert.equal(client.sdk.isEnabled('no-such-feature'), false);
    assert.equal(client.sdk.getVariant('no-such-feature').name, 'disabled');
    assert.equal(await refresh(client), 304);
    assert.match(client.requests[1].headers['if-none-match'], /^W\/"/, 'the entity tag is a weak one');
    assert.deepEqual(client.seen.since(0, 'error'), []);
  });

  test('becomes ready with the documented development token, by POST too', LIMIT, async (t) => {
    for (const usePOSTrequests of [false, true]) {
      const client = browser(t, FRONTEND_SECRET, { usePOSTrequests, context: { userId: '7', properties: { plan: 'gold' } } });
      await client.sdk.start();
      await client.seen.wait('ready');
      assert.deepEqual(
        client.requests.map(({ path, method, status }) => [path, method, status]),
        [['/api/frontend', usePOSTrequests ? 'POST' : 'GET', 200]],
      );
    }
  });

  test('metrics are accepted', LIMIT, async (t) => {
    const client = browser(t, await frontendToken());
    await client.sdk.start();
    client.sdk.isEnabled('counted-feature');
    await client.sdk.sendMetrics();
    const payload = await client.seen.wait('sent');
    assert.deepEqual(payload.bucket.toggles['counted-feature'], { yes: 0, no: 1, variants: {} });
    const { path, method, status } = client.requests.at(-1);
    assert.deepEqual([path, method, status], ['/api/frontend/client/metrics', 'POST', 200]);
  });

  test('an expiry set by PUT refuses the very next refresh, and un-expiring recovers', LIMIT, async (t) => {
    const secret = await frontendToken();
    const client = browser(t, secret);
    await client.sdk.start();
    await client.seen.wait('ready');

    for (let flip = 0; flip < 3; flip += 1) {
      await setExpiry(secret, PAST);
      let mark = client.seen.mark;
      assert.equal(await refresh(client), 401);
      assert.deepEqual(client.seen.since(mark), [{ name: 'error', value: { type: 'HttpError', code: 401 } }]);
      assert.deepEqual(client.sdk.getError(), { type: 'HttpError', code: 401 });

      await setExpiry(secret, FUTURE);
      mark = client.seen.mark;
      assert.equal(await refresh(client), 304);
      await client.seen.wait('recovered', mark);
      assert.equal(client.sdk.getError(), undefined);
    }

    await setExpiry(secret, PAST);
    const late = browser(t, secret);
    await late.sdk.start();
    assert.deepEqual(await late.seen.wait('error'), { type: 'HttpError', code: 401 });
    assert.equal(late.sdk.isReady(), false);
  });

  test('a client that polls by its own timer sees the PUT at once', LIMIT, async (t) => {
    const secret = await frontendToken();
    const client = browser(t, secret, { refreshInterval: 0.15 });
    await client.sdk.start();
    await client.seen.wait('ready');
    await setExpiry(secret, PAST);
    const mark = client.requests.length;
    assert.deepEqual(await client.seen.wait('error'), { type: 'HttpError', code: 401 });
    // A request that the server had answered before the update may still have been on its way.
    const served = client.requests.slice(mark).filter((request) => request.status !== 401);
    assert.ok(served.length <= 1, `${served.length} requests were served after the update had returned`);
    await setExpiry(secret, FUTURE);
    await client.seen.wait('recovered');
  });

  test('an unknown token, one born expired and a backend one never become ready', LIMIT, async (t) => {
    const refused = [
      [`default:development.${'0'.repeat(56)}`, 401],
      [await frontendToken({ expiresAt: PAST }), 401],
      [CLIENT_SECRET, 403],
    ];
    for (const [secret, code] of refused) {
      const client = browser(t, secret);
      await client.sdk.start();
      assert.deepEqual(await client.seen.wait('error'), { type: 'HttpError', code }, secret);
      assert.equal(client.sdk.isReady(), false);
    }
  });

  test('a browser on another origin may send the request and read its answer, refusals included', LIMIT, async (t) => {
    const client = browser(t, FRONTEND_SECRET);
    await client.sdk.start();
    await refresh(client);
    const sent = Object.keys(client.requests[1].headers);
    assert.ok(sent.includes('authorization') && sent.includes('if-none-match'), `the SDK sent ${sent}`);

    const preflight = await call('OPTIONS', '/api/frontend', {
      headers: {
        origin: ORIGIN,
        'access-control-request-method': 'GET',
        'access-control-request-headers': sent.join(','),
      },
    });
    assert.ok(preflight.status >= 200 && preflight.status < 300, `the preflight answered ${preflight.status}`);
    assert.ok(['*', ORIGIN].includes(preflight.headers.get('access-control-allow-origin')));
    const allowed = (preflight.headers.get('access-control-allow-headers') ?? '').toLowerCase().split(/\s*,\s*/);
    for (const name of sent) {
      // A wildcard covers every header but this one (Fetch standard, CORS-preflight fetch).
      const covered = allowed.includes(name) || (name !== 'authorization' && allowed.includes('*'));
      assert.ok(covered || name === 'accept', `the header ${name} is not allowed: ${allowed}`);
    }

    for (const [secret, status] of [[FRONTEND_SECRET, 200], ['no:such.token', 401]]) {
      const answer = await call('GET', '/api/frontend?appName=web', { headers: { origin: ORIGIN, authorization: secret } });
      assert.equal(answer.status, status);
      assert.equal(answer.headers.get('access-control-allow-origin'), '*');
      assert.match(answer.headers.get('access-control-expose-headers') ?? '', /etag/i);
    }
  });
});
