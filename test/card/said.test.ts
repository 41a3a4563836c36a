/** What a process that answers guests may say to its card. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Saying } from '#card/guestServices/said.ts';
import { guestServicesLinesPerSMax } from '#card/limits.ts';

test('it is ready once, acknowledges, and names guests; anything else is its end', () => {
  const saying = new Saying();
  assert.deepEqual(saying.take('{"ready":true}'), { kind: 'ready' });
  assert.equal(saying.take('{"ready":true}'), undefined, 'each is answered with all that it is to know');
  assert.deepEqual(saying.take('{"ack":7}'), { kind: 'ack', seq: 7 });
  assert.deepEqual(saying.take('{"dhcp":"eni-1"}'), { kind: 'asked', what: 'dhcp', eniId: 'eni-1' });
  assert.deepEqual(saying.take('{"metadata":"eni-1"}'), { kind: 'asked', what: 'metadata', eniId: 'eni-1' });
  const others = ['', '{}', '{"ack":-1}', '{"ack":1e3}', '{"dhcp":""}', '{"dhcp":"ENI"}', ' {"ack":1}'];
  for (const line of others) assert.equal(saying.take(line), undefined, line);
});

test('it says so much in a second and no more', () => {
  let now = 0;
  const saying = new Saying(() => now);
  const say = () => saying.take('{"ack":1}') !== undefined;
  for (let n = 0; n < guestServicesLinesPerSMax; n += 1) assert.ok(say());
  assert.equal(say(), false);
  now = 1_000;
  assert.ok(say());
});
