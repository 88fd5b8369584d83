// What the test files share: where the server is, how to talk to it without a client, how to read a client's events.
// A newcomer would get this wrong: the server is shared by all files and never reset, so every test makes its own
// names and tokens and looks at nothing else.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';

/** Address of the server under test, without a slash at its end; `run.sh` learns it from the server itself. */
export const BASE_URL = (process.env.BASE_URL ?? '').replace(/\/+$/, '');
if (BASE_URL === '') {
  throw new Error('BASE_URL is not set: start these tests with ../run.sh, or set it to the address of a `serve --dev`');
}

/** Credentials that `serve --dev` documents. Any other server refuses the first, so it has another there. */
export const VAULT_KEY = process.env.VAULT_KEY ?? 'pvaultauth';
export const ADMIN_SECRET = '*:*.unleash-admin-token';
export const CLIENT_SECRET = 'default:development.unleash-client-token';
export const FRONTEND_SECRET = 'default:development.unleash-frontend-token';

/** Of one test; generous, because continuous integration shares two cores with a compiler. */
export const LIMIT = { timeout: 60_000 };

/** So long that no client refreshes by itself while a test looks: every fetch is one that the test asked for. */
export const NEVER_MS = 3_600_000;

export const PAST = '2020-01-01T00:00:00.000Z';
export const FUTURE = '2099-01-01T00:00:00.000Z';

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A name that no other test has; a letter first, 12 characters, as short as collection names must be. */
export const unique = (prefix = 'c') => `${prefix}_${randomBytes(5).toString('hex')}`;

/** One plain request; the body is read, so that a failing assertion can show it. */
export async function call(method, path, { headers = {}, body } = {}) {
  const response = await fetch(BASE_URL + path, { method, headers, body });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: parse(text) };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A request to the Unleash admin API, with the admin token of the development server. */
export function admin(method, path, body) {
  const headers = { authorization: ADMIN_SECRET };
  if (body !== undefined) headers['content-type'] = 'application/json';
  return call(method, `/api/admin/api-tokens${path}`, { headers, body: body && JSON.stringify(body) });
}

/** A fresh API token; the answer of the create call, whose `secret` is the token itself. */
export async function createToken(request) {
  const answer = await admin('POST', '', { tokenName: unique('token'), environment: 'development', ...request });
  assert.equal(answer.status, 201, `creating a token answered ${answer.status}: ${answer.text}`);
  assert.equal(typeof answer.json.secret, 'string');
  return answer.json;
}

/** The update: moves the expiry of one token, and insists that the server says that it hit one. */
export async function setExpiry(secret, expiresAt) {
  const answer = await admin('PUT', `/${encodeURIComponent(secret)}`, { expiresAt });
  assert.equal(answer.status, 200, `the update answered ${answer.status}: ${answer.text}`);
  assert.equal(answer.text, '', 'a successful update has an empty body');
  assert.equal(answer.headers.get('tokenhouse-matched'), '1', 'the update says that it matched the token');
}

export async function deleteToken(secret) {
  const answer = await admin('DELETE', `/${encodeURIComponent(secret)}`);
  assert.equal(answer.status, 200, `the delete answered ${answer.status}: ${answer.text}`);
}

/** Keeps every named event of an emitter in order, and waits for one by name. */
export class Recorder {
  /** @type {{name: string, value: unknown}[]} */
  events = [];
  #wake = new Set();

  constructor(emitter, names) {
    for (const name of names) {
      emitter.on(name, (value) => {
        this.events.push({ name, value });
        for (const wake of this.#wake) wake();
      });
    }
  }

  /** Where the record ends now: hand it to `wait` or `since` to look only at what comes later. */
  get mark() {
    return this.events.length;
  }

  since(mark, name) {
    return this.events.slice(mark).filter((event) => name === undefined || event.name === name);
  }

  /** The value of the first event of this name after the mark; fails with the whole record when none comes. */
  async wait(name, mark = 0, timeoutMs = 20_000) {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = this.since(mark, name)[0];
      if (found) return found.value;
      const left = deadline - Date.now();
      assert.ok(left > 0, `no "${name}" event within ${timeoutMs} ms; seen since: ${this.describe(mark)}`);
      await new Promise((resolve) => {
        const done = () => {
          clearTimeout(timer);
          this.#wake.delete(done);
          resolve();
        };
        const timer = setTimeout(done, left);
        this.#wake.add(done);
      });
    }
  }

  describe(mark = 0) {
    const shown = this.since(mark).map(({ name, value }) => {
      const text = value instanceof Error ? value.message : JSON.stringify(value);
      return text === undefined ? name : `${name} ${text.slice(0, 200)}`;
    });
    return shown.length === 0 ? 'nothing' : shown.join(' | ');
  }
}
