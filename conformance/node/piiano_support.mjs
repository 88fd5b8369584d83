// What the Vault files share: the client, collections of a test's own, and what a refusal must look like.
// A newcomer would get this wrong: `unchanged` looks at all that can be seen of the tokens, so hand it every token that
// the refused call could have touched.
import assert from 'node:assert/strict';
import { after, before, mock } from 'node:test';
import { ApiError, VaultClient } from '@piiano/vault-client';
import { BASE_URL, VAULT_KEY, unique } from './support.mjs';

export const vault = new VaultClient({ vaultURL: BASE_URL, apiKey: VAULT_KEY });
export const reason = 'AppFunctionality';
export const API = '/api/pvlt/1.0';
export const TYPES = ['pointer', 'randomized', 'pci', 'pci_oneway', 'deterministic'];
export const READABLE = TYPES.filter((type) => type !== 'pci_oneway');
export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const TEXTS = {
  400: 'The request is invalid.',
  401: 'Authentication credentials are incorrect or missing.',
  403: "The caller doesn't have the required access rights.",
  409: 'A conflict occurs.',
};

export const CUSTOMERS = [
  { name: 'ssn', data_type_name: 'SSN' },
  { name: 'email', data_type_name: 'EMAIL' },
  { name: 'phone_number', data_type_name: 'PHONE_NUMBER' },
  { name: 'zip_code_us', data_type_name: 'ZIP_CODE_US' },
];
export const MORE = [
  { name: 'name', data_type_name: 'NAME', is_nullable: true },
  { name: 'card', data_type_name: 'CC_NUMBER', is_nullable: true },
];
export const PEOPLE = [
  { ssn: '123-12-1234', email: 'alice@example.com', phone_number: '+1121212123', zip_code_us: '12345' },
  { ssn: '123-12-1235', email: 'bob@example.com', phone_number: '+972541234567', zip_code_us: '12345-6789' },
  { ssn: '123-12-1236', email: 'carol@example.com', phone_number: '0541234567', zip_code_us: '54321' },
];
export const BUILT_IN = ['_creation_time', '_expiration_time', '_modification_time', '_owner_collection', '_owner_id', '_tenant_id', 'id'];

/** The operations on one collection, with the reason filled in. */
export function on(collection) {
  const common = { collection, reason };
  return {
    collection,
    addObject: async (fields) => (await vault.objects.addObject({ ...common, requestBody: fields })).id,
    getObject: (id, more) => vault.objects.getObjectById({ ...common, id, ...more }),
    deleteObject: (id) => vault.objects.deleteObjectById({ ...common, id }),
    tokenize: (requestBody, more) => vault.tokens.tokenize({ ...common, requestBody, ...more }),
    /** Tokenizes one request and answers with its token id. */
    one: async (request, more) => (await vault.tokens.tokenize({ ...common, requestBody: [request], ...more }))[0].token_id,
    detokenize: (query) => vault.tokens.detokenize({ ...common, ...query }),
    search: (requestBody, more) => vault.tokens.searchTokens({ ...common, requestBody, ...more }),
    update: (query, requestBody = {}) => vault.tokens.updateTokens({ ...common, ...query, requestBody }),
    delete: (query) => vault.tokens.deleteTokens({ ...common, ...query }),
    count: () => vault.tokens.getTokensCount(common),
  };
}

/** A collection of the test's own, removed when the test ends. */
export async function open(t, properties = [...CUSTOMERS, ...MORE]) {
  const name = unique();
  await vault.collections.addCollection({ requestBody: { name, type: 'PERSONS', properties } });
  dropLater(t, name);
  return on(name);
}

/** Removes a collection when the test ends. */
export function dropLater(t, collection) {
  t.after(async () => {
    await vault.collections.deleteCollection({ collection });
  });
}

/** A collection with the three people in it, and their ids. */
export async function openWithPeople(t) {
  const c = await open(t);
  const ids = [];
  for (const person of PEOPLE) ids.push(await c.addObject(person));
  return { c, ids };
}

/** Insists that a call is refused with this status and code, in the product's form. */
export async function refused(promise, status, code) {
  const error = await promise.then(
    (value) => assert.fail(`expected ${status} ${code}, got ${JSON.stringify(value)}`),
    (reason_) => reason_,
  );
  assert.ok(error instanceof ApiError, `expected ${status} ${code}, got ${error}`);
  assert.equal(error.status, status, error.message);
  const { body } = error;
  assert.deepEqual(Object.keys(body).sort(), ['context', 'error_code', 'error_url', 'message'], 'exactly these four keys');
  if (code instanceof RegExp) assert.match(body.error_code, code);
  else assert.equal(body.error_code, code, error.message);
  assert.ok(Object.values(body.context).every((value) => typeof value === 'string'), 'context maps strings to strings');
  assert.ok(!Array.isArray(body.context));
  assert.ok(body.error_url.endsWith(`#${body.error_code}`), body.error_url);
  const tail = `\n${body.error_code}: ${body.message}\nContext: ${JSON.stringify(body.context, null, 2)}`;
  assert.ok(error.message.endsWith(tail), `the client's text names the code: ${error.message}`);
  if (TEXTS[status]) assert.equal(error.message, TEXTS[status] + tail);
  return body;
}

export const noMatch = async (promise) => {
  const body = await refused(promise, 404, 'PV3009');
  assert.equal(body.message, 'The token is not found.');
  assert.deepEqual(body.context, {});
};

/** Insists on an instant in UTC and answers with its milliseconds. */
export function instant(text) {
  assert.match(text, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/);
  return Date.parse(text);
}

export function assertNow(text, startedMs) {
  const at = instant(text);
  assert.ok(at > startedMs - 1000 && at <= Date.now(), `${text} is not the time of the call`);
}

const sortedBy = (key) => (rows) => [...rows].sort((a, b) => (a[key] < b[key] ? -1 : 1));
export const byToken = sortedBy('token_id');
export const fieldsById = (rows) => Object.fromEntries(rows.map((row) => [row.token_id, row.fields]));
export const idsOf = (rows) => rows.map((row) => row.token_id).sort();

/** The only entry of a token in a search by its id. */
export async function entry(c, tokenId, more) {
  const found = await c.search({ token_ids: [tokenId] }, more);
  assert.equal(found.length, 1, `one token ${tokenId}`);
  assert.equal(found[0].tokens.length, 1, 'with one entry');
  return found[0].tokens[0];
}

/** All that can be seen of these tokens: for "nothing has changed". */
export async function picture(c, tokenIds) {
  return {
    active: byToken(await c.search({ token_ids: tokenIds })),
    archived: byToken(await c.search({ token_ids: tokenIds }, { options: ['archived'] })),
    values: byToken(await c.detokenize({ tokenIds })),
  };
}

export async function unchanged(c, tokenIds, attempt) {
  const seen = await picture(c, tokenIds);
  await attempt();
  assert.deepEqual(await picture(c, tokenIds), seen, 'a refused call changes nothing');
}

/** A property as both notations can tell it, defaults filled in. */
const shape = ({ name, data_type_name, description = '', ...flags }) => ({
  name,
  data_type_name,
  description,
  is_unique: flags.is_unique ?? false,
  is_index: flags.is_index ?? false,
  is_substring_index: flags.is_substring_index ?? false,
  is_encrypted: flags.is_encrypted ?? true,
  is_nullable: flags.is_nullable ?? false,
});
export const shapes = (properties) => sortedBy('name')(properties.map(shape));

/** Insists that an instant lies so many seconds after a call that began at `startedMs` and has just returned. */
export function assertIn(text, seconds, startedMs) {
  const at = instant(text);
  assert.ok(at >= startedMs - 1000 + seconds * 1000 && at <= Date.now() + seconds * 1000, `${text} is not ${seconds} s ahead`);
}

/** All five types over the three people in one call; a scope per type keeps their identities apart. */
export async function fifteen(c, ids, more) {
  const requests = TYPES.flatMap((type) =>
    ids.map((id) => ({ type, object: { id }, props: ['id', 'ssn', 'email'], scope: type, tags: ['all', type] })),
  );
  const answer = await c.tokenize(requests, more);
  assert.equal(answer.length, requests.length);
  const made = requests.map((request, index) => {
    const { ssn, email } = PEOPLE[index % ids.length];
    return {
      tokenId: answer[index].token_id,
      type: request.type,
      objectId: request.object.id,
      fields: { id: request.object.id, ssn, email },
    };
  });
  for (const { tokenId, type } of made) {
    assert.match(tokenId, UUID, type);
  }
  assert.equal(new Set(made.map((token) => token.tokenId)).size, made.length, 'fifteen different ids');
  return made;
}

// The client reads an empty body that claims to be JSON, fails, and only prints it: that must not happen.
export function watchConsole() {
  before(() => mock.method(console, 'error'));
  after(() => {
    const printed = console.error.mock.calls.map((each) => each.arguments.map(String).join(' '));
    console.error.mock.restore();
    assert.deepEqual(printed, [], 'the client printed errors: an empty answer must not claim to be JSON');
  });
}
