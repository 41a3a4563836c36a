import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseStoreUrl, shownUrl, withDatabase } from '#base/postgres/addresses.ts';
import { addressesMax } from '#base/postgres/limits.ts';

test('a URL may name several servers, as libpq writes them', () => {
  const { addresses, writable } = parseStoreUrl(
    'postgresql://u:p%40ss@h1:5432,h2:5433,[::1]:5434/db?sslmode=disable',
  );
  assert.equal(writable, true);
  assert.deepEqual(addresses, [
    { url: 'postgresql://u:p%40ss@h1:5432/db?sslmode=disable', shown: 'h1:5432' },
    { url: 'postgresql://u:p%40ss@h2:5433/db?sslmode=disable', shown: 'h2:5433' },
    { url: 'postgresql://u:p%40ss@[::1]:5434/db?sslmode=disable', shown: '[::1]:5434' },
  ]);
});

test('sockets, too: one or several, each with a port of its own or all with one', () => {
  const one = parseStoreUrl('postgresql://pando@localhost/postgres?host=%2Frun%2Fa');
  assert.deepEqual(one.addresses, [
    { url: 'postgresql://pando@localhost/postgres?host=%2Frun%2Fa', shown: '/run/a' },
  ]);
  const two = parseStoreUrl('postgresql://pando@localhost/db?host=/run/a,/run/b&port=5432,5433');
  assert.deepEqual(
    two.addresses.map(({ shown }) => shown),
    ['/run/a:5432', '/run/b:5433'],
  );
  assert.match(two.addresses[1]?.url ?? '', /host=%2Frun%2Fb&port=5433$/);
});

test('target_session_attrs is read-write unless it says any', () => {
  assert.equal(parseStoreUrl('postgres://h/db').writable, true);
  assert.equal(parseStoreUrl('postgres://h/db?target_session_attrs=any').writable, false);
  assert.doesNotMatch(
    parseStoreUrl('postgres://h/db?target_session_attrs=any').addresses[0]?.url ?? '',
    /target/,
  );
  assert.throws(
    () => parseStoreUrl('postgres://h/db?target_session_attrs=standby'),
    /read-write, primary or any/,
  );
});

test('what is no such URL is refused, and no password is in the words', () => {
  for (const url of [
    '',
    'http://h/db',
    'postgresql:h',
    'postgresql://u:hunter2@h:x/db',
    'postgres://a/b?host=x,y&port=1,2,3',
  ])
    assert.throws(
      () => parseStoreUrl(url),
      (error) => error instanceof TypeError && !error.message.includes('hunter2'),
    );
  const many = Array.from({ length: addressesMax + 1 }, (_, n) => `h${n}`).join(',');
  assert.throws(() => parseStoreUrl(`postgres://${many}/db`), /at most/);
});

test('another database of the same servers, and the URL for people', () => {
  assert.equal(withDatabase('postgres://u:p@h1:1,h2:2/a?x=1', 'b'), 'postgres://u:p@h1:1,h2:2/b?x=1');
  assert.equal(withDatabase('postgres://h', 'b'), 'postgres://h/b');
  assert.equal(shownUrl('postgres://u:hunter2@h1,h2/a'), 'postgres://u@h1,h2/a');
});
