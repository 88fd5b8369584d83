// The official Vault client against the piiano dialect: health, version, collections and objects.
// A newcomer would get this wrong: a look-up of tokens without a match is an empty list, one of a collection or an object a 404.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { VaultClient } from '@piiano/vault-client';
import {
  API,
  assertNow,
  BUILT_IN,
  CUSTOMERS,
  dropLater,
  MORE,
  noMatch,
  on,
  open,
  PEOPLE,
  refused,
  shapes,
  UUID,
  vault,
  watchConsole,
} from './piiano_support.mjs';
import { BASE_URL, LIMIT, VAULT_KEY, call, unique } from './support.mjs';

watchConsole();

describe('Vault client: health, version, keys', () => {
  test('both health checks answer without a key', LIMIT, async () => {
    const keyless = new VaultClient({ vaultURL: BASE_URL, apiKey: '' });
    assert.deepEqual(await keyless.system.dataHealth(), { status: 'pass' });
    assert.deepEqual(await keyless.system.controlHealth(), { status: 'pass' });
  });

  test('the version needs a good key', LIMIT, async () => {
    const version = await vault.system.getVaultVersion();
    assert.equal(typeof version.vault_id, 'string');
    assert.match(version.vault_version, /^\d+\.\d+\.\d+/);
    assert.ok(Number.isSafeInteger(version.db_schema_version));
    for (const apiKey of ['', VAULT_KEY.toUpperCase(), `${VAULT_KEY}1`, '*:*.unleash-admin-token']) {
      const stranger = new VaultClient({ vaultURL: BASE_URL, apiKey });
      const body = await refused(stranger.system.getVaultVersion(), 401, 'PV1005');
      assert.equal(body.message, 'The request is unauthorized.');
      assert.deepEqual(body.context, {});
      await refused(stranger.collections.listCollections(), 401, 'PV1005');
    }
  });
});

describe('Vault client: collections', () => {
  test('add, get, list and delete in JSON', LIMIT, async (t) => {
    const name = unique();
    const started = Date.now();
    const added = await vault.collections.addCollection({ requestBody: { name, type: 'PERSONS', properties: CUSTOMERS } });
    assert.deepEqual([added.name, added.type], [name, 'PERSONS']);
    assert.deepEqual(shapes(added.properties), shapes(CUSTOMERS), 'four properties, no built-in ones');
    assert.ok(added.properties.every((property) => !property.is_builtin));
    assertNow(added.creation_time, started);
    assertNow(added.modification_time, started);
    for (const property of added.properties) assertNow(property.creation_time, started);

    assert.deepEqual(await vault.collections.getCollection({ collection: name }), added);
    const all = await vault.collections.getCollection({ collection: name, options: ['show_builtins'] });
    const builtIn = all.properties.filter((property) => property.is_builtin);
    assert.deepEqual(builtIn.map((property) => property.name).sort(), BUILT_IN);
    assert.deepEqual(shapes(all.properties.filter((property) => !property.is_builtin)), shapes(CUSTOMERS));
    const listed = (await vault.collections.listCollections()).filter((each) => each.name === name);
    assert.deepEqual(listed, [added]);

    const other = unique();
    const withBuiltIns = await vault.collections.addCollection({
      requestBody: { name: other, type: 'DATA', properties: [] },
      options: ['show_builtins'],
    });
    dropLater(t, other);
    assert.equal(withBuiltIns.type, 'DATA');
    assert.deepEqual(withBuiltIns.properties.map((property) => property.name).sort(), BUILT_IN);

    await vault.collections.deleteCollection({ collection: name });
    const body = await refused(vault.collections.getCollection({ collection: name }), 404, 'PV1004');
    assert.equal(body.message, 'The collection is not found.');
    await refused(vault.collections.deleteCollection({ collection: name }), 404, 'PV1004');
    assert.ok((await vault.collections.listCollections()).every((each) => each.name !== name));
  });

  test('PVSchema in and out, and back in', LIMIT, async (t) => {
    const [first, second] = [unique(), unique()];
    const schema = `${first} PERSONS (
      ssn SSN UNIQUE NULL COMMENT 'Social security number',
      email EMAIL INDEX,
      phone_number PHONE_NUMBER SUBSTRING_INDEX NULL,
      zip_code_us ZIP_CODE_US NOT ENCRYPTED NULL,
    );`;
    // The client has no way to send a body that is not JSON.
    const add = async (body) => {
      const headers = { authorization: `Bearer ${VAULT_KEY}`, 'content-type': 'application/pvschema' };
      const answer = await call('POST', `${API}/ctl/collections`, { headers, body });
      assert.equal(answer.status, 200, answer.text);
      return answer.json;
    };
    const added = await add(schema);
    dropLater(t, first);
    assert.deepEqual([added.name, added.type], [first, 'PERSONS']);
    const expected = [
      { name: 'ssn', data_type_name: 'SSN', is_unique: true, is_nullable: true, description: 'Social security number' },
      { name: 'email', data_type_name: 'EMAIL', is_index: true },
      { name: 'phone_number', data_type_name: 'PHONE_NUMBER', is_substring_index: true, is_nullable: true },
      { name: 'zip_code_us', data_type_name: 'ZIP_CODE_US', is_encrypted: false, is_nullable: true },
    ];
    assert.deepEqual(shapes(added.properties), shapes(expected));

    const text = await vault.collections.getCollection({ collection: first, format: 'pvschema' });
    assert.equal(typeof text, 'string');
    assert.match(text, new RegExp(`^\\s*${first} PERSONS \\(`));
    const copy = await add(text.replace(first, second));
    dropLater(t, second);
    assert.deepEqual(shapes(copy.properties), shapes(expected), 'what is written can be read again');

    const list = await vault.collections.listCollections({ format: 'pvschema' });
    assert.ok(list.includes(text.trim()), 'the list holds the schema of each collection');
    const byAccept = await call('GET', `${API}/ctl/collections/${first}`, {
      headers: { authorization: `Bearer ${VAULT_KEY}`, accept: 'application/pvschema' },
    });
    assert.equal(byAccept.text, text);
    assert.match(byAccept.headers.get('content-type'), /^application\/pvschema/);
  });

  test('a collection that is gone takes its tokens with it, also when its name is used again', LIMIT, async (t) => {
    const name = unique();
    const requestBody = { name, type: 'PERSONS', properties: MORE };
    await vault.collections.addCollection({ requestBody });
    const c = on(name);
    const token = await c.one({ type: 'randomized', object: { fields: { name: 'John' } }, tags: ['old'] });
    await vault.collections.deleteCollection({ collection: name });
    await refused(c.detokenize({ tokenIds: [token] }), 404, 'PV1004');
    await refused(c.update({ tokenIds: [token] }, { tags: [] }), 404, 'PV1004');
    await refused(c.tokenize([{ type: 'randomized', object: { fields: { name: 'John' } } }]), 404, 'PV1004');

    await vault.collections.addCollection({ requestBody });
    dropLater(t, name);
    assert.deepEqual(await c.detokenize({ tokenIds: [token] }), []);
    assert.deepEqual(await c.search({ tags: ['old'] }), []);
    await noMatch(c.update({ tokenIds: [token] }, { tags: [] }));
    assert.deepEqual(await c.count(), { active: 0, archived: 0, total: 0 });
  });
});

describe('Vault client: objects', () => {
  test('add with an own id, get with unsafe, props and masks, delete', LIMIT, async (t) => {
    const c = await open(t, CUSTOMERS);
    const own = randomUUID().toUpperCase();
    const id = await c.addObject({ id: own, ...PEOPLE[0] });
    assert.equal(id, own.toLowerCase(), 'ids are lower case');
    const other = await c.addObject(PEOPLE[1]);
    assert.match(other, UUID);

    assert.deepEqual(await c.getObject(id, { options: ['unsafe'] }), { id, ...PEOPLE[0] });
    assert.deepEqual(await c.getObject(own, { options: ['unsafe'] }), { id, ...PEOPLE[0] }, 'in any case of letters');
    assert.deepEqual(await c.getObject(id, { props: ['email'] }), { email: PEOPLE[0].email });
    assert.deepEqual(await c.getObject(id, { props: ['ssn.mask', 'email.mask', 'phone_number.mask', 'ssn'] }), {
      'ssn.mask': '***-**-1234',
      'email.mask': 'a****@example.com',
      'phone_number.mask': '*******2123',
      ssn: '123-12-1234',
    });
    const started = Date.now();
    const third = await c.addObject(PEOPLE[2]);
    const whole = await c.getObject(third, { options: ['unsafe', 'show_builtins'] });
    assertNow(whole._creation_time, started);
    assertNow(whole._modification_time, started);

    await refused(c.getObject(id, { options: ['unsafe'], props: ['email'] }), 400, 'PV1012');
    await refused(c.getObject(id), 400, 'PV1012');
    await refused(c.getObject(id, { props: ['email'], options: ['show_builtins'] }), 400, 'PV1012');
    await refused(c.addObject({ ...PEOPLE[0], email: 'not an email' }), 400, 'PV3002');

    await c.deleteObject(id);
    const missing = await refused(c.getObject(id, { options: ['unsafe'] }), 404, 'PV3005');
    assert.equal(missing.message, `One or more Objects is not found: ${id}. For more details, view the logs.`);
    assert.deepEqual(missing.context, { ids: id });
    await refused(c.deleteObject(id), 404, 'PV3005');
    assert.deepEqual(await c.getObject(other, { options: ['unsafe'] }), { id: other, ...PEOPLE[1] });
  });
});
