// The server-side SDK of Unleash for Node against the client API.
// A newcomer would get this wrong: after a 401 this SDK stops refreshing for good, so whether an un-expired token works
// again is asked by `repository.fetch()` or by a new client, never by waiting.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { InMemStorageProvider, Unleash } from 'unleash-client';
import {
  ADMIN_SECRET,
  BASE_URL,
  CLIENT_SECRET,
  FRONTEND_SECRET,
  FUTURE,
  LIMIT,
  NEVER_MS,
  PAST,
  Recorder,
  createToken,
  deleteToken,
  pause,
  setExpiry,
  unique,
} from './support.mjs';

const EVENTS = ['ready', 'synchronized', 'registered', 'changed', 'unchanged', 'sent', 'warn', 'error'];

/** A started SDK with a record of its events. Storage in memory: a backup file of an earlier run would make it ready. */
function start(t, secret, options = {}) {
  const sdk = new Unleash({
    url: `${BASE_URL}/api`,
    appName: unique('app'),
    instanceId: unique('instance'),
    refreshInterval: NEVER_MS,
    metricsInterval: NEVER_MS,
    customHeaders: { Authorization: secret },
    storageProvider: new InMemStorageProvider(),
    skipInstanceCountWarning: true,
    ...options,
  });
  const seen = new Recorder(sdk, EVENTS);
  t.after(() => sdk.destroy());
  return { sdk, seen };
}

/** One fetch now, by the SDK's own code; answers with the events it caused. */
async function fetchOnce({ sdk, seen }) {
  const mark = seen.mark;
  await sdk.repository.fetch();
  return seen.since(mark);
}

async function ready({ seen }) {
  await seen.wait('ready');
  await seen.wait('synchronized');
}

function assertRefused(events, status) {
  assert.deepEqual(
    events.map((event) => event.name),
    ['error'],
    `one fetch, one refusal; got ${JSON.stringify(events.map((event) => [event.name, String(event.value)]))}`,
  );
  const { message } = events[0].value;
  assert.match(message, new RegExp(`/api/client/features responded ${status} `));
  assert.match(message, /not allowed to connect/);
}

describe('unleash-client (Node)', () => {
  for (const type of ['backend', 'client']) {
    test(`starts with a fresh ${type} token: registered, synchronized, ready, then 304`, LIMIT, async (t) => {
      const { secret } = await createToken({ type, projects: ['default'] });
      const client = start(t, secret);
      await ready(client);
      const registration = await client.seen.wait('registered');
      assert.equal(registration.interval, NEVER_MS);

      assert.deepEqual(client.sdk.getFeatureToggleDefinitions(), [], 'the feature set is empty');
      assert.equal(client.sdk.isEnabled('no-such-feature'), false);
      assert.match(client.sdk.repository.etag, /^"[0-9a-f]+:\d+:v1"$/, 'the features carry a strong entity tag');

      const second = await fetchOnce(client);
      assert.deepEqual(second.map((event) => event.name), ['unchanged'], 'the second fetch is a 304');
      assert.deepEqual(client.seen.since(0, 'error'), []);
      assert.deepEqual(client.seen.since(0, 'warn'), []);
    });
  }

  test('starts with a token for all projects, and with the documented development token', LIMIT, async (t) => {
    const { secret } = await createToken({ type: 'backend', projects: ['*'] });
    assert.match(secret, /^\*:development\./);
    for (const each of [secret, CLIENT_SECRET]) {
      const client = start(t, each);
      await ready(client);
      await client.seen.wait('registered');
      assert.deepEqual(client.seen.since(0, 'error'), []);
    }
  });

  test('metrics are accepted', LIMIT, async (t) => {
    const { secret } = await createToken({ type: 'backend' });
    const client = start(t, secret);
    await ready(client);
    client.sdk.isEnabled('counted-feature');
    client.sdk.countVariant('counted-feature', 'blue');
    await client.sdk.flushMetrics();
    const payload = await client.seen.wait('sent');
    assert.deepEqual(payload.bucket.toggles['counted-feature'], { yes: 0, no: 1, variants: { blue: 1 } });
    assert.deepEqual(client.seen.since(0, 'warn'), []);
  });

  test('an expiry set by PUT refuses the very next fetch, and un-expiring allows the next one', LIMIT, async (t) => {
    const { secret } = await createToken({ type: 'backend' });
    const client = start(t, secret);
    await ready(client);
    await client.seen.wait('registered');

    await setExpiry(secret, PAST);
    assertRefused(await fetchOnce(client), 401);

    client.sdk.isEnabled('counted-feature');
    const mark = client.seen.mark;
    await client.sdk.flushMetrics();
    const warning = await client.seen.wait('warn', mark);
    assert.match(String(warning), /client\/metrics returning 401/, 'metrics are refused as well');
    assert.deepEqual(client.seen.since(mark, 'sent'), []);

    const late = start(t, secret);
    assert.match(String(await late.seen.wait('error')), /responded 401/, 'a client started now is refused');
    assert.match(String(await late.seen.wait('warn')), /client\/register returning 401/);

    await setExpiry(secret, FUTURE);
    const again = await fetchOnce(client);
    assert.deepEqual(again.map((event) => event.name), ['unchanged'], 'the old client is served at its next fetch');
    const fresh = start(t, secret);
    await ready(fresh);
    await fresh.seen.wait('registered');
    assert.deepEqual(fresh.seen.since(0, 'error'), []);
  });

  test('every one of ten flips of the expiry holds for the next fetch', LIMIT, async (t) => {
    const { secret } = await createToken({ type: 'backend' });
    const client = start(t, secret);
    await ready(client);
    for (let flip = 0; flip < 10; flip += 1) {
      await setExpiry(secret, PAST);
      assertRefused(await fetchOnce(client), 401);
      await setExpiry(secret, FUTURE);
      assert.deepEqual((await fetchOnce(client)).map((event) => event.name), ['unchanged'], `flip ${flip}`);
    }
  });

  test('a client that polls by its own timer is stopped by the PUT', LIMIT, async (t) => {
    const { secret } = await createToken({ type: 'backend' });
    const client = start(t, secret, { refreshInterval: 150 });
    await ready(client);
    await client.seen.wait('unchanged');

    await setExpiry(secret, PAST);
    const mark = client.seen.mark;
    const error = await client.seen.wait('error', mark);
    assert.match(error.message, /responded 401 .*Stopping refresh/);
    // A fetch that the server had answered before the update may still have been on its way.
    const served = client.seen.since(mark, 'unchanged').length;
    assert.ok(served <= 1, `${served} fetches were served after the update had returned`);
    const stopped = client.seen.mark;
    await pause(600);
    assert.deepEqual(client.seen.since(stopped), [], 'the client has stopped refreshing');
  });

  test('an expiry that passes by the clock refuses the next fetch', LIMIT, async (t) => {
    const expiresAt = new Date(Date.now() + 3_000);
    const { secret } = await createToken({ type: 'backend', expiresAt: expiresAt.toISOString() });
    const client = start(t, secret);
    await ready(client);
    await pause(expiresAt.getTime() - Date.now() + 50);
    assertRefused(await fetchOnce(client), 401);
  });

  test('a deleted token is refused at the next fetch', LIMIT, async (t) => {
    const { secret } = await createToken({ type: 'backend' });
    const client = start(t, secret);
    await ready(client);
    await deleteToken(secret);
    assertRefused(await fetchOnce(client), 401);
  });

  test('a token born expired, an unknown one, a frontend one and an admin one never start', LIMIT, async (t) => {
    const born = await createToken({ type: 'backend', expiresAt: PAST });
    const refused = [
      [born.secret, 401],
      [`default:development.${'0'.repeat(56)}`, 401],
      ['not a token', 401],
      [FRONTEND_SECRET, 403],
      [ADMIN_SECRET, 403],
    ];
    for (const [secret, status] of refused) {
      const client = start(t, secret);
      assert.match(String(await client.seen.wait('error')), new RegExp(`responded ${status} `), secret);
      assert.match(String(await client.seen.wait('warn')), new RegExp(`client/register returning ${status}`), secret);
      for (const name of ['ready', 'synchronized', 'registered']) {
        assert.deepEqual(client.seen.since(0, name), [], `${secret} must not become ${name}`);
      }
    }
  });
});
