// The official Vault client against the piiano dialect: tokens of all five types, made, read, archived, counted, deleted.
// A newcomer would get this wrong: one-way tokens are in searches and counts but never in what detokenize answers.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import {
  API,
  assertNow,
  byToken,
  entry,
  fieldsById,
  fifteen,
  idsOf,
  instant,
  noMatch,
  open,
  openWithPeople,
  PEOPLE,
  picture,
  READABLE,
  reason,
  refused,
  TYPES,
  UUID,
  vault,
  watchConsole,
} from './piiano_support.mjs';
import { LIMIT, VAULT_KEY, call, unique } from './support.mjs';

watchConsole();

describe('Vault client: tokens', () => {
  test('tokenize all five types in one call, detokenize by tag and by id', LIMIT, async (t) => {
    const { c, ids } = await openWithPeople(t);
    const made = await fifteen(c, ids);
    const readable = made.filter((token) => READABLE.includes(token.type));

    const rows = await c.detokenize({ tags: ['all'] });
    const expected = Object.fromEntries(readable.map((token) => [token.tokenId, token.fields]));
    assert.deepEqual(fieldsById(rows), expected, 'twelve rows; one-way tokens are left out');
    assert.equal(rows.length, readable.length);
    for (const type of READABLE) {
      const of = readable.filter((token) => token.type === type).map((token) => token.tokenId);
      assert.deepEqual(idsOf(await c.detokenize({ tags: ['all', type] })), [...of].sort(), type);
    }
    for (const { tokenId, fields } of readable) {
      assert.deepEqual(await c.detokenize({ tokenIds: [tokenId] }), [{ token_id: tokenId, fields }]);
    }
    for (const { tokenId } of made.filter((token) => token.type === 'pci_oneway')) {
      assert.deepEqual(await c.detokenize({ tokenIds: [tokenId] }), []);
    }
    const ofFirst = readable.filter((token) => token.objectId === ids[0]).map((token) => token.tokenId);
    assert.deepEqual(idsOf(await c.detokenize({ objectIds: [ids[0]] })), ofFirst.sort());

    const unknown = randomUUID();
    assert.deepEqual(await c.detokenize({ tokenIds: [unknown] }), []);
    assert.deepEqual(await c.detokenize({ tags: ['no-such-tag'] }), []);
    const [some] = readable;
    assert.deepEqual(idsOf(await c.detokenize({ tokenIds: [unknown, some.tokenId] })), [some.tokenId]);

    const [masked] = await c.detokenize({ tokenIds: [some.tokenId], props: ['email', 'ssn.mask'], options: ['include_metadata'] });
    assert.deepEqual(masked.fields, { email: PEOPLE[0].email, 'ssn.mask': '***-**-1234' });
    assert.deepEqual([masked.metadata.token_id, masked.metadata.type, masked.metadata.scope], [some.tokenId, some.type, some.type]);
    assert.equal(masked.metadata.tokens[0].object_id, some.objectId);
  });

  test('search by tag tells the metadata of all five types', LIMIT, async (t) => {
    const { c, ids } = await openWithPeople(t);
    const started = Date.now();
    const made = await fifteen(c, ids);
    const found = await c.search({ tags: ['all'], token_ids: [], object_ids: [] });
    assert.deepEqual(idsOf(found), made.map((token) => token.tokenId).sort());
    for (const token of made) {
      const meta = found.find((each) => each.token_id === token.tokenId);
      assert.deepEqual([meta.type, meta.scope], [token.type, token.type]);
      assert.deepEqual(meta.agg, { max_effective_expiration_time: null });
      assert.equal(meta.tokens.length, 1);
      const { creation_time: created, ...rest } = meta.tokens[0];
      assertNow(created, started);
      assert.deepEqual(rest, {
        expiration_time: null,
        effective_expiration_time: null,
        object_id: token.objectId,
        tags: ['all', token.type],
      });
    }
    assert.deepEqual(await c.search({ tags: ['all', 'no-such-tag'] }), []);
    assert.equal((await c.search({ object_ids: [ids[1]] })).length, TYPES.length);
  });

  test('deleting an object takes its tokens along', LIMIT, async (t) => {
    const { c, ids } = await openWithPeople(t);
    await fifteen(c, ids);
    assert.deepEqual(await c.count(), { active: 15, archived: 0, total: 15 });
    await c.deleteObject(ids[0]);
    const rows = await c.detokenize({ tags: ['all'] });
    assert.equal(rows.length, 2 * READABLE.length);
    assert.ok(rows.every((row) => row.fields.id !== ids[0]));
    assert.equal((await c.search({ tags: ['all'] })).length, 10);
    assert.deepEqual(await c.search({ tags: ['all'] }, { options: ['archived'] }), [], 'gone, not archived');
    const body = await refused(c.detokenize({ objectIds: [ids[0]] }), 404, 'PV3005');
    assert.deepEqual(body.context, { ids: ids[0] });
    await noMatch(c.update({ objectIds: [ids[0]] }, { tags: ['x'] }));
  });

  test('archive, archive again, restore: every type', LIMIT, async (t) => {
    const { c, ids } = await openWithPeople(t);
    const made = await fifteen(c, ids);
    for (const { tokenId, type, fields } of made.filter((token) => token.objectId === ids[1])) {
      const readable = READABLE.includes(type);
      const mine = () => c.detokenize({ tags: [type] });
      assert.equal((await mine()).length, readable ? 3 : 0, type);
      assert.equal(await c.update({ tokenIds: [tokenId], expirationSecs: '0' }), undefined, 'an empty answer');
      assert.equal((await mine()).length, readable ? 2 : 0, `${type}: one less at the next request`);
      assert.deepEqual(await c.detokenize({ tokenIds: [tokenId] }), []);
      await noMatch(c.update({ tokenIds: [tokenId], expirationSecs: '0' }));

      assert.equal((await c.search({ tags: [type] })).length, 2);
      const archived = await c.search({ tags: [type] }, { options: ['archived'] });
      assert.deepEqual(idsOf(archived), [tokenId], 'only the archived one');
      assert.deepEqual(archived[0].tokens[0].tags, ['all', type]);
      assert.ok(instant(archived[0].tokens[0].expiration_time) <= Date.now());

      await c.update({ tokenIds: [tokenId], options: ['archived'], expirationSecs: '' });
      assert.deepEqual(await c.detokenize({ tokenIds: [tokenId] }), readable ? [{ token_id: tokenId, fields }] : []);
      assert.equal((await entry(c, tokenId)).expiration_time, null);
      assert.deepEqual(await c.search({ tags: [type] }, { options: ['archived'] }), []);
      await noMatch(c.update({ tokenIds: [tokenId], options: ['archived'], expirationSecs: '' }));
    }
    await refused(c.detokenize({ tags: ['all'], options: ['archived'] }), 400, 'PV1012');
  });

  test('the tags of an archived token can be changed, and it stays archived', LIMIT, async (t) => {
    const c = await open(t);
    const token = await c.one({ type: 'randomized', object: { fields: { name: 'John' } }, tags: ['a'] });
    await c.update({ tokenIds: [token], expirationSecs: '0' });
    await c.update({ tokenIds: [token], options: ['archived'] }, { tags: ['b'] });
    assert.deepEqual(await c.search({ token_ids: [token] }), []);
    assert.deepEqual((await entry(c, token, { options: ['archived'] })).tags, ['b']);
    await c.update({ tokenIds: [token], options: ['archived'], expirationSecs: '3600' });
    assert.deepEqual((await c.detokenize({ tags: ['b'] })).length, 1);
  });

  test('update the tags of all five types', LIMIT, async (t) => {
    const { c, ids } = await openWithPeople(t);
    const made = await fifteen(c, ids);
    const tokenIds = made.map((token) => token.tokenId);
    const seen = await picture(c, tokenIds);
    assert.equal(await c.update({ tags: ['all'] }, { tags: ['new', 'x,y'] }), undefined, 'an empty answer');

    const found = byToken(await c.search({ tags: ['new'] }));
    assert.deepEqual(idsOf(found), [...tokenIds].sort());
    for (const { tokenId, objectId } of made) {
      assert.equal(found.find((each) => each.token_id === tokenId).tokens[0].object_id, objectId);
    }
    assert.deepEqual(await c.search({ tags: ['all'] }), []);
    assert.deepEqual(await c.detokenize({ tags: ['all'] }), []);
    const expected = seen.active.map((meta) => ({ ...meta, tokens: [{ ...meta.tokens[0], tags: ['new', 'x,y'] }] }));
    assert.deepEqual(found, expected, 'nothing but the tags has changed');
    assert.deepEqual(byToken(await c.detokenize({ tags: ['x,y'] })), seen.values, 'a comma inside a tag does not split it');

    await c.update({ tokenIds: [tokenIds[0]] }, { tags: [] });
    assert.deepEqual((await entry(c, tokenIds[0])).tags, []);
    assert.equal((await c.search({ tags: ['new'] })).length, 14);
  });
});

describe('Vault client: what tokenize can do besides', () => {
  test('store_object makes the object, which owns the token', LIMIT, async (t) => {
    const c = await open(t);
    const [answer] = await c.tokenize([{ type: 'pci', object: { fields: PEOPLE[0] }, props: ['email'], store_object: true }]);
    assert.match(answer.object_id, UUID);
    assert.deepEqual(await c.getObject(answer.object_id, { options: ['unsafe'] }), { id: answer.object_id, ...PEOPLE[0] });
    assert.equal((await entry(c, answer.token_id)).object_id, answer.object_id);
    assert.deepEqual((await c.detokenize({ objectIds: [answer.object_id] }))[0].fields, { email: PEOPLE[0].email });
    await c.deleteObject(answer.object_id);
    assert.deepEqual(await c.detokenize({ tokenIds: [answer.token_id] }), []);
  });

  test('a given token id is taken once', LIMIT, async (t) => {
    const c = await open(t);
    const request = { type: 'randomized', object: { fields: { name: 'John' } }, token_id: 'Order_17-a' };
    assert.deepEqual(await c.tokenize([request]), [{ token_id: 'Order_17-a' }]);
    await refused(c.tokenize([{ ...request, object: { fields: { name: 'Jane' } } }]), 409, /^TH/);
    assert.deepEqual((await c.detokenize({ tokenIds: ['Order_17-a'] }))[0].fields, { name: 'John' });
    for (const token_id of ['a b', 'a/b', 'a'.repeat(129), 'ä']) {
      await refused(c.tokenize([{ ...request, token_id }]), 400, 'PV1012');
    }
    const other = await open(t);
    assert.deepEqual(await other.tokenize([request]), [{ token_id: 'Order_17-a' }], 'ids are unique per collection');
    await c.update({ tokenIds: ['Order_17-a'] }, { object: { fields: { name: 'Jane' } } });
    assert.deepEqual((await c.detokenize({ tokenIds: ['Order_17-a'] }))[0].fields, { name: 'Jane' });
  });

  test('fptemplate: sixteen digits, Luhn-valid, the first six and the last four kept', LIMIT, async (t) => {
    const c = await open(t);
    const card = '4012888888881881';
    const request = { object: { fields: { card } }, fptemplate: 'primary_account_number', fpprops: ['card'] };
    const seen = new Set();
    for (const type of ['randomized', 'randomized', 'randomized', 'pci']) {
      const token = await c.one({ type, ...request });
      assert.match(token, /^401288\d{6}1881$/);
      const sum = [...token].reverse().reduce((total, digit, index) => {
        const value = Number(digit) * (index % 2 === 1 ? 2 : 1);
        return total + (value > 9 ? value - 9 : value);
      }, 0);
      assert.equal(sum % 10, 0, `${token} is not Luhn-valid`);
      assert.deepEqual(await c.detokenize({ tokenIds: [token] }), [{ token_id: token, fields: { card } }]);
      seen.add(token);
    }
    assert.equal(seen.size, 4, 'four different ids');
    assert.equal(await c.one({ type: 'pci', ...request }), [...seen][3], 'a pci token keeps its id');
    await refused(c.tokenize([{ type: 'pci', ...request, token_id: 'mine' }]), 400, 'PV1012');
  });

  test('an id belongs to its collection, unless the scope is global', LIMIT, async (t) => {
    const [left, right] = [await open(t), await open(t)];
    const global = `global:${unique()}`;
    for (const type of ['pci', 'deterministic']) {
      const id = (c, scope) => c.one({ type, object: { fields: { name: 'John' } }, scope });
      const [here, there] = [await id(left, 'orders'), await id(right, 'orders')];
      assert.notEqual(here, there, `${type}: the same value and scope in two collections`);
      assert.equal(await id(left, 'orders'), here);
      assert.notEqual(await id(left, 'invoices'), here, `${type}: another scope`);
      const shared = await id(left, global + type);
      assert.equal(await id(right, global + type), shared, `${type}: a global scope`);
      assert.deepEqual((await right.detokenize({ tokenIds: [shared] }))[0].fields, { name: 'John' });
    }
  });

  test('tokenizing the same again appends tags; randomized tokens are always new', LIMIT, async (t) => {
    const c = await open(t);
    for (const type of ['pci', 'deterministic']) {
      const make = (tags) => c.one({ type, object: { fields: { name: 'John' } }, scope: type, tags });
      const token = await make(['a', 'b']);
      assert.equal(await make(['b', 'c']), token);
      assert.deepEqual((await entry(c, token)).tags, ['a', 'b', 'c']);
    }
    const request = { type: 'randomized', object: { fields: { name: 'John' } } };
    const [one, two] = await c.tokenize([request, request]);
    assert.notEqual(one.token_id, two.token_id);
    assert.deepEqual(await c.count(), { active: 4, archived: 0, total: 4 });
  });

  test('a missing reason is accepted, one that does not exist is not', LIMIT, async (t) => {
    const c = await open(t);
    const requestBody = [{ type: 'randomized', object: { fields: { name: 'John' } } }];
    const [{ token_id: token }] = await vault.tokens.tokenize({ collection: c.collection, requestBody });
    assert.equal((await vault.tokens.detokenize({ collection: c.collection, tokenIds: [token] })).length, 1);
    await refused(c.detokenize({ tokenIds: [token], reason: 'Nope' }), 400, 'PV1002');
  });

  test('lists in the query: repeated keys, commas, a comma inside a tag', LIMIT, async (t) => {
    const c = await open(t);
    const make = (tags) => c.one({ type: 'randomized', object: { fields: { name: 'J', email: 'j@example.com' } }, tags });
    const [one, two] = [await make(['a', 'b']), await make(['a,b'])];
    const get = async (query) => {
      const path = `${API}/data/collections/${c.collection}/tokens?${query}&reason=${reason}`;
      const answer = await call('GET', path, { headers: { authorization: `Bearer ${VAULT_KEY}` } });
      assert.equal(answer.status, 200, answer.text);
      return byToken(answer.json);
    };
    const expected = byToken(await c.detokenize({ tokenIds: [one, two], props: ['name', 'email.mask'] }));
    assert.equal(expected.length, 2);
    assert.deepEqual(await get(`token_ids=${one},${two}&props=name,email.mask`), expected);
    assert.deepEqual(await get(`token_ids=${one}&token_ids=${two}&props=name&props=email.mask`), expected);
    assert.deepEqual(idsOf(await get('tags=a,b')), [one], 'a raw comma in a single key splits');
    assert.deepEqual(idsOf(await get('tags=a&tags=b')), [one]);
    assert.deepEqual(idsOf(await get('tags=a%2Cb')), [two], 'an encoded comma does not');
    assert.deepEqual(idsOf(await c.detokenize({ tags: ['a,b'] })), [two]);
  });
});

describe('Vault client: count and delete', () => {
  test('counts follow every kind of change', LIMIT, async (t) => {
    const { c, ids } = await openWithPeople(t);
    const counts = async (active, archived) =>
      assert.deepEqual(await c.count(), { active, archived, total: active + archived });
    await counts(0, 0);
    const made = await c.tokenize(ids.map((id) => ({ type: 'randomized', object: { id }, props: ['email'], tags: ['x'] })));
    await counts(3, 0);
    await c.update({ tokenIds: [made[0].token_id], expirationSecs: '0' });
    await counts(2, 1);
    await c.update({ tags: ['x'] }, { tags: ['y'] });
    await counts(2, 1);
    await c.update({ tokenIds: [made[0].token_id], options: ['archived'], expirationSecs: '60' });
    await counts(3, 0);
    await c.deleteObject(ids[2]);
    await counts(2, 0);
    await c.delete({ tokenIds: [made[1].token_id] });
    await counts(1, 0);
  });

  test('delete: what is selected, once, archived ones only when asked', LIMIT, async (t) => {
    const c = await open(t);
    const make = (type, tags) => c.one({ type, object: { fields: { name: type } }, tags, scope: tags[0] });
    const doomed = [];
    for (const type of ['randomized', 'pci', 'pci_oneway', 'deterministic']) doomed.push(await make(type, ['doomed']));
    const kept = await make('pci', ['kept']);
    const archived = await make('randomized', ['doomed']);
    await c.update({ tokenIds: [archived], expirationSecs: '0' });

    await noMatch(c.delete({ tokenIds: [kept], tags: ['doomed'] }));
    assert.equal(await c.delete({ tags: ['doomed'] }), undefined, 'an empty answer');
    assert.deepEqual(await c.search({ tags: ['doomed'] }), []);
    assert.deepEqual(await c.search({ token_ids: doomed }, { options: ['archived'] }), [], 'deleted, not archived');
    await noMatch(c.delete({ tags: ['doomed'] }));
    await noMatch(c.update({ tokenIds: doomed }, { tags: ['back'] }));
    await noMatch(c.delete({ tokenIds: [kept], options: ['archived'] }));
    await c.delete({ tags: ['doomed'], options: ['archived'] });
    assert.deepEqual(idsOf(await c.search({ token_ids: [kept, archived, ...doomed] })), [kept]);
    assert.deepEqual(await c.count(), { active: 1, archived: 0, total: 1 });
    assert.notEqual(await make('pci', ['doomed']), doomed[1], 'the values of a deleted token get a new id');
  });
});
