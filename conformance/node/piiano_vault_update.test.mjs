// The official Vault client against the piiano dialect: the update of tokens, and the tenants that limit it.
// A newcomer would get this wrong: an update or delete without a match is a 404, a look-up without a match an empty list.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import {
  assertIn,
  entry,
  fieldsById,
  idsOf,
  noMatch,
  open,
  openWithPeople,
  PEOPLE,
  refused,
  unchanged,
  watchConsole,
} from './piiano_support.mjs';
import { LIMIT, pause } from './support.mjs';

watchConsole();

describe('Vault client: update in depth', () => {
  test('new data for a randomized token of bare fields', LIMIT, async (t) => {
    const c = await open(t);
    const [answer] = await c.tokenize([{ type: 'randomized', object: { fields: { name: 'John' } }, tags: ['a', 'b'] }]);
    assert.deepEqual(Object.keys(answer), ['token_id'], 'bare fields have no object');
    const token = answer.token_id;
    const [meta] = await c.search({ token_ids: [token] });
    assert.ok(!('object_id' in meta.tokens[0]));

    assert.equal(await c.update({ tokenIds: [token] }, { object: { fields: { name: 'Jane' } } }), undefined);
    assert.deepEqual(await c.detokenize({ tokenIds: [token] }), [{ token_id: token, fields: { name: 'Jane' } }]);
    assert.deepEqual(await c.search({ token_ids: [token] }), [meta], 'same tags, same creation time, same expiry');
  });

  test('the whole former data is replaced: fields, props, a stored object', LIMIT, async (t) => {
    const c = await open(t);
    const id = await c.addObject(PEOPLE[0]);
    for (const type of ['randomized', 'pci']) {
      const token = await c.one({ type, object: { fields: { name: 'John', email: 'john@example.com' } } });
      const values = async () => (await c.detokenize({ tokenIds: [token] }))[0].fields;

      await c.update({ tokenIds: [token] }, { object: { fields: { email: 'jane@example.com' } } });
      assert.deepEqual(await values(), { email: 'jane@example.com' });
      await c.update({ tokenIds: [token] }, { object: { fields: { name: 'Jim', email: 'jim@example.com' } }, props: ['name'] });
      assert.deepEqual(await values(), { name: 'Jim' });
      await c.update({ tokenIds: [token] }, { object: { id }, props: ['email', 'ssn'] });
      assert.deepEqual(await values(), { email: PEOPLE[0].email, ssn: PEOPLE[0].ssn });
      await c.update({ tokenIds: [token] }, { object: { id } });
      assert.deepEqual(await values(), PEOPLE[0], 'without props: what the object holds, no built-in ones');
      assert.ok(!('object_id' in (await entry(c, token))), 'a snapshot does not change the owner');
    }
  });

  test('data, tags and expiry in one call', LIMIT, async (t) => {
    const c = await open(t);
    const token = await c.one({ type: 'randomized', object: { fields: { name: 'John' } }, tags: ['old'] });
    const started = Date.now();
    await c.update(
      { tokenIds: [token], expirationSecs: '86400', customAudit: 'ticket 4 & 5', reloadCache: true },
      { tags: ['order-17'], object: { fields: { name: 'Jane', email: 'jane@example.com' } }, props: ['email'] },
    );
    assert.deepEqual(fieldsById(await c.detokenize({ tags: ['order-17'] })), { [token]: { email: 'jane@example.com' } });
    const { tags, expiration_time: expires } = await entry(c, token);
    assert.deepEqual(tags, ['order-17']);
    assertIn(expires, 86_400, started);
  });

  test('pci: the index follows the new data', LIMIT, async (t) => {
    const c = await open(t);
    for (const type of ['pci', 'pci_oneway']) {
      const of = (name) => c.one({ type, object: { fields: { name } }, scope: type });
      const x = await of('A');
      assert.equal(await of('A'), x, `${type}: the same values give the same id`);
      assert.equal((await c.search({ token_ids: [x] }))[0].tokens.length, 1, 'and no second entry');
      await c.update({ tokenIds: [x] }, { object: { fields: { name: 'B' } } });
      assert.equal(await of('B'), x, `${type}: the new values give the id`);
      const y = await of('A');
      assert.notEqual(y, x, `${type}: the old values give a new id`);
      const rows = type === 'pci' ? { [x]: { name: 'B' }, [y]: { name: 'A' } } : {};
      assert.deepEqual(fieldsById(await c.detokenize({ tokenIds: [x, y] })), rows);

      // Now to values that another token holds: it succeeds, the index moves, the other stays good.
      await c.update({ tokenIds: [y] }, { object: { fields: { name: 'B' } } });
      assert.equal(await of('B'), y);
      assert.deepEqual(idsOf(await c.search({ token_ids: [x, y] })), [x, y].sort());
    }
  });

  test('what selects: two tags, id and tag, nothing, no match', LIMIT, async (t) => {
    const { c, ids } = await openWithPeople(t);
    const make = (name, tags) => c.one({ type: 'randomized', object: { fields: { name } }, tags });
    const both = await make('both', ['a', 'b']);
    const onlyA = await make('only a', ['a']);
    const onlyB = await make('only b', ['b']);
    await c.update({ tags: ['a', 'b'] }, { tags: ['a', 'b', 'hit'] });
    assert.deepEqual(idsOf(await c.search({ tags: ['hit'] })), [both]);

    const all = [both, onlyA, onlyB];
    await unchanged(c, all, async () => {
      await noMatch(c.update({ tokenIds: [onlyA], tags: ['b'] }, { tags: ['hit'] }));
      await noMatch(c.update({}, { tags: ['hit'] }));
      await noMatch(c.update({ tokenIds: [], tags: [] }, { tags: ['hit'] }));
      await noMatch(c.update({ tokenIds: [randomUUID()] }, { tags: ['hit'] }));
      await noMatch(c.update({ tags: ['none'] }, { tags: ['hit'] }));
      await noMatch(c.update({ objectIds: [ids[0]] }, { tags: ['hit'] }));
      await noMatch(c.update({ objectIds: [randomUUID()] }, { tags: ['hit'] }));
      await noMatch(c.update({ tokenIds: all, options: ['archived'], expirationSecs: '' }));
      await noMatch(c.delete({}));
      await refused(c.detokenize({}), 400, 'PV1012');
      await refused(c.search({}), 400, 'PV1012');
    });
    await c.update({ tokenIds: [onlyB, randomUUID()], tags: ['b'] }, { tags: ['hit'] });
    assert.deepEqual(idsOf(await c.search({ tags: ['hit'] })), [both, onlyB].sort());
    await c.update({ tokenIds: [onlyA] });
    assert.deepEqual((await entry(c, onlyA)).tags, ['a'], 'an empty update of a match is no error and no change');
  });

  test('two objects share one pci token: tags and expiry are the entry\'s, data is the token\'s', LIMIT, async (t) => {
    const { c, ids } = await openWithPeople(t);
    const twin = await c.addObject(PEOPLE[0]);
    const request = (id) => ({ type: 'pci', object: { id }, props: ['email'], tags: ['pair'] });
    const [first, second] = await c.tokenize([request(ids[0]), request(twin)]);
    assert.equal(first.token_id, second.token_id);
    const token = first.token_id;
    const [meta] = await c.search({ token_ids: [token] });
    assert.deepEqual(meta.tokens.map((each) => each.object_id).sort(), [ids[0], twin].sort());
    assert.equal((await c.detokenize({ tokenIds: [token] })).length, 1, 'one row per id');

    await c.update({ objectIds: [twin], expirationSecs: '0' });
    assert.equal((await c.detokenize({ tokenIds: [token] })).length, 1, 'the other entry keeps it good');
    assert.deepEqual(await c.count(), { active: 1, archived: 1, total: 2 });
    assert.equal((await entry(c, token)).object_id, ids[0]);
    assert.equal((await entry(c, token, { options: ['archived'] })).object_id, twin);

    await c.update({ objectIds: [ids[0]] }, { object: { fields: { email: 'new@example.com' } } });
    await c.update({ objectIds: [twin], options: ['archived'], expirationSecs: '' });
    assert.deepEqual(await c.detokenize({ objectIds: [twin] }), [{ token_id: token, fields: { email: 'new@example.com' } }]);
  });

  test('data of two ids, of a pointer, of a deterministic token: refused, nothing changes', LIMIT, async (t) => {
    const { c, ids } = await openWithPeople(t);
    const one = await c.one({ type: 'randomized', object: { fields: { name: 'A' } }, tags: ['both'] });
    const two = await c.one({ type: 'pci', object: { fields: { name: 'B' } }, tags: ['both'] });
    const pointer = await c.one({ type: 'pointer', object: { id: ids[0] }, props: ['email'] });
    const fixed = await c.one({ type: 'deterministic', object: { fields: { name: 'C' } } });
    const body = { object: { fields: { name: 'Z' } }, tags: ['z'] };
    await unchanged(c, [one, two, pointer, fixed], async () => {
      await refused(c.update({ tags: ['both'] }, body), 400, 'PV1012');
      await refused(c.update({ tokenIds: [one, two] }, body), 400, 'PV1012');
      await refused(c.update({ tokenIds: [pointer] }, body), 400, 'PV1012');
      await refused(c.update({ tokenIds: [fixed], expirationSecs: '0' }, body), 400, 'PV1012');
    });
  });

  test('expiration absent, empty, N and 0 are four different things', LIMIT, async (t) => {
    const c = await open(t);
    const request = { type: 'randomized', object: { fields: { name: 'John' } } };
    let started = Date.now();
    const token = await c.one(request, { expirationSecs: '3600' });
    const made = await entry(c, token);
    assertIn(made.expiration_time, 3600, started);
    assert.equal(made.effective_expiration_time, made.expiration_time);

    await c.update({ tokenIds: [token] }, { tags: ['x'] });
    assert.equal((await entry(c, token)).expiration_time, made.expiration_time, 'absent: as it was');
    started = Date.now();
    await c.update({ tokenIds: [token], expirationSecs: '7200' });
    assertIn((await entry(c, token)).expiration_time, 7200, started);
    const [meta] = await c.search({ token_ids: [token] });
    assert.equal(meta.agg.max_effective_expiration_time, meta.tokens[0].expiration_time);
    await c.update({ tokenIds: [token], expirationSecs: '' });
    const endless = await entry(c, token);
    assert.deepEqual([endless.expiration_time, endless.effective_expiration_time], [null, null], 'empty: never');
    assert.deepEqual(endless.tags, ['x'], 'and the tags are as they were');
    await unchanged(c, [token], async () => {
      for (const expirationSecs of ['-1', '1.5', 'soon', '1e3', '+5', '99999999999999999999']) {
        await refused(c.update({ tokenIds: [token], expirationSecs }), 400, 'PV1012');
      }
    });
    await c.update({ tokenIds: [token], expirationSecs: '0' });
    assert.deepEqual(await c.detokenize({ tokenIds: [token] }), [], 'zero: archived now');
    await refused(c.tokenize([request], { expirationSecs: '0' }), 400, 'PV1012');
  });

  test('a short expiration ends by itself, without a sweep', LIMIT, async (t) => {
    const c = await open(t);
    const request = { type: 'randomized', object: { fields: { name: 'John' } } };
    const updated = await c.one(request);
    const lasting = await c.one(request);
    await c.update({ tokenIds: [updated], expirationSecs: '2' });
    const born = await c.one(request, { expirationSecs: '2' });
    assert.equal((await c.detokenize({ tokenIds: [updated, born, lasting] })).length, 3);
    await pause(2_100);
    assert.deepEqual(idsOf(await c.detokenize({ tokenIds: [updated, born, lasting] })), [lasting]);
    assert.deepEqual(idsOf(await c.search({ token_ids: [updated, born, lasting] })), [lasting]);
    assert.deepEqual(
      idsOf(await c.search({ token_ids: [updated, born, lasting] }, { options: ['archived'] })),
      [updated, born].sort(),
    );
    assert.deepEqual(await c.count(), { active: 1, archived: 2, total: 3 });
    await noMatch(c.update({ tokenIds: [updated], expirationSecs: '' }));
    await c.update({ tokenIds: [updated], options: ['archived'], expirationSecs: '' });
    assert.equal((await c.detokenize({ tokenIds: [updated] })).length, 1, 'restored');
  });

  test('bad input is refused and changes nothing', LIMIT, async (t) => {
    const c = await open(t);
    const id = await c.addObject(PEOPLE[0]);
    const token = await c.one({ type: 'randomized', object: { fields: { name: 'John' } }, tags: ['a'] });
    const eleven = Array.from({ length: 11 }, (_, index) => `tag-${index}`);
    const fields = { name: 'Jane' };
    const bodies = [
      [{ tag: ['x'] }, 400, 'PV1012'],
      [{ tags: null }, 400, 'PV1012'],
      [{ tags: 'x' }, 400, 'PV1012'],
      [{ tags: [1] }, 400, 'PV1012'],
      [{ tags: [''] }, 400, 'PV1012'],
      [{ tags: eleven }, 400, 'PV1012'],
      [{ tags: ['x'.repeat(257)] }, 400, 'PV1012'],
      [{ tags: ['a'], ensure_unique_tenant_tags: ['b'] }, 400, 'PV1012'],
      [{ ensure_unique_tenant_tags: ['a'] }, 400, 'PV1012'],
      [{ props: ['name'] }, 400, 'PV1012'],
      [{ object: {} }, 400, 'PV1012'],
      [{ object: { id, fields } }, 400, 'PV1012'],
      [{ object: { request_index: 0 } }, 400, 'PV1012'],
      [{ object: { id: 'not-a-uuid' } }, 400, 'PV1012'],
      [{ object: { fields: { email: 'not an email' } } }, 400, 'PV3002'],
      [{ object: { fields: { nickname: 'J' } } }, 404, 'PV3004'],
      [{ object: { fields }, props: ['email'] }, 404, 'PV3004'],
      [{ object: { id: randomUUID() } }, 404, 'PV3005'],
    ];
    await unchanged(c, [token], async () => {
      for (const [body, status, code] of bodies) {
        await refused(c.update({ tokenIds: [token], expirationSecs: '0' }, body), status, code);
      }
      await refused(c.update({ tokenIds: [token], options: ['archived', 'archived'] }), 400, 'PV1012');
      await refused(c.update({ tokenIds: [token], options: ['unsafe'] }), 400, 'PV1012');
    });
    const ten = eleven.slice(1).map((tag) => tag.padEnd(256, 'x'));
    await c.update({ tokenIds: [token] }, { tags: ten });
    assert.deepEqual((await entry(c, token)).tags, ten, 'ten tags of 256 characters are in the limits');

    const good = { type: 'randomized', object: { fields } };
    const requests = [
      [[], 400, 'PV1012'],
      [[good, { ...good, tags: eleven }], 400, 'PV1012'],
      [[good, { ...good, type: 'VALUE' }], 400, 'PV1012'],
      [[good, { ...good, oneway: true }], 400, 'PV1012'],
      [[good, { type: 'pointer', object: { fields } }], 400, 'PV1012'],
      [[good, { ...good, object: { fields: { email: '@' } } }], 400, 'PV3002'],
      [[good, { ...good, object: { id: randomUUID() } }], 404, 'PV3005'],
    ];
    for (const [request, status, code] of requests) await refused(c.tokenize(request), status, code);
    assert.deepEqual(await c.count(), { active: 1, archived: 0, total: 1 }, 'all or nothing: no token was made');
  });
});

describe('Vault client: tenants', () => {
  const bare = (name, more = {}) => ({ type: 'randomized', object: { fields: { name } }, ...more });
  const conflict = (promise) => refused(promise, 409, /^TH/);

  test('a unique tag is unique in its tenant only', LIMIT, async (t) => {
    const c = await open(t);
    const uniqueTag = { tags: ['u'], ensure_unique_tenant_tags: ['u'] };
    const [one, two] = [{ xTenantId: ['t1'] }, { xTenantId: ['t2'] }];
    const holder = await c.one(bare('first', uniqueTag), one);
    assert.equal((await entry(c, holder)).effective_tenant_id, 't1');
    const mate = await c.one(bare('second', { tags: ['plain'] }), one);
    const stranger = await c.one(bare('third', { tags: ['plain'] }), two);

    await unchanged(c, [holder, mate, stranger], async () => {
      await conflict(c.tokenize([bare('again', uniqueTag)], one));
      await conflict(c.update({ tokenIds: [mate] }, uniqueTag));
      await conflict(c.update({ tags: ['plain'] }, uniqueTag));
    });
    assert.equal((await c.count()).total, 3, 'no token was made by the refused call');
    await c.update({ tokenIds: [stranger] }, uniqueTag);
    assert.deepEqual((await entry(c, stranger)).tags, ['u'], 'another tenant may have the same tag');
    await c.update({ tokenIds: [holder] }, uniqueTag);
    assert.deepEqual((await entry(c, holder)).tags, ['u'], 'a token does not collide with itself');

    await c.update({ tokenIds: [holder], expirationSecs: '0' });
    await conflict(c.update({ tokenIds: [mate] }, uniqueTag));
    await c.update({ tokenIds: [holder], options: ['archived'] }, { tags: [] });
    await c.update({ tokenIds: [mate] }, uniqueTag);
    assert.deepEqual((await entry(c, mate)).tags, ['u'], 'free again once the archived holder has given it up');
  });

  test('a tag that is asked for as unique collides with a plain one', LIMIT, async (t) => {
    const c = await open(t);
    const plain = await c.one(bare('first', { tags: ['p'] }));
    const other = await c.one(bare('second'));
    await conflict(c.update({ tokenIds: [other] }, { tags: ['p'], ensure_unique_tenant_tags: ['p'] }));
    await conflict(c.update({ tokenIds: [plain, other] }, { tags: ['q'], ensure_unique_tenant_tags: ['q'] }));
    assert.deepEqual(await c.search({ tags: ['q'] }), []);
    assert.deepEqual(idsOf(await c.search({ tags: ['p'] })), [plain]);
  });

  test('X-Tenant-Id of a foreign tenant fails the whole call', LIMIT, async (t) => {
    const c = await open(t);
    const mine = await c.one(bare('mine', { tags: ['all'] }), { xTenantId: ['t1'] });
    const theirs = await c.one(bare('theirs', { tags: ['all'] }), { xTenantId: ['t2'] });
    const nobodys = await c.one(bare('nobodys'));
    const owner = await c.addObject({ ...PEOPLE[0], _tenant_id: 't1' });
    const owned = await c.one({ type: 'pointer', object: { id: owner }, props: ['email'] });
    assert.equal((await entry(c, owned)).effective_tenant_id, 't1', 'the tenant is that of the owner');

    await unchanged(c, [mine, theirs, nobodys, owned], async () => {
      const foreign = [
        [{ tokenIds: [mine] }, ['t2']],
        [{ tokenIds: [owned] }, ['t2', 't3']],
        [{ tags: ['all'] }, ['t1']],
        [{ tokenIds: [nobodys] }, ['t1']],
      ];
      for (const [selection, xTenantId] of foreign) {
        const query = { ...selection, xTenantId };
        await refused(c.update(query, { tags: ['taken'] }), 403, 'PV1006');
        await refused(c.detokenize(query), 403, 'PV1006');
        await refused(c.delete(query), 403, 'PV1006');
        const body = { token_ids: selection.tokenIds ?? [], tags: selection.tags ?? [] };
        await refused(c.search(body, { xTenantId }), 403, 'PV1006');
      }
    });
    await c.update({ tokenIds: [mine, owned], xTenantId: ['t1'] }, { tags: ['ours'] });
    await c.update({ tags: ['all'], xTenantId: ['t2'] }, { tags: ['yours'] });
    assert.deepEqual(idsOf(await c.search({ tags: ['ours'] })), [mine, owned].sort());
    assert.equal((await c.detokenize({ tokenIds: [mine, theirs], xTenantId: ['t1', 't2'] })).length, 2);
  });
});
