/** What a process that answers guests may say to its card. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OutputReader } from '#card/guestServices/output.ts';
import { guestServicesLinesPerSMax } from '#card/limits.ts';

test('it is ready once, acknowledges, and names guests; anything else is its end', () => {
  const reader = new OutputReader();
  assert.deepEqual(reader.take('{"ready":true}'), { kind: 'ready' });
  assert.equal(reader.take('{"ready":true}'), undefined, 'each is answered with all that it is to know');
  assert.deepEqual(reader.take('{"ack":7}'), { kind: 'ack', seq: 7 });
  assert.deepEqual(reader.take('{"dhcp":"eni-1"}'), { kind: 'asked', what: 'dhcp', eniId: 'eni-1' });
  assert.deepEqual(reader.take('{"metadata":"eni-1"}'), { kind: 'asked', what: 'metadata', eniId: 'eni-1' });
  const others = ['', '{}', '{"ack":-1}', '{"ack":1e3}', '{"dhcp":""}', '{"dhcp":"ENI"}', ' {"ack":1}'];
  for (const line of others) assert.equal(reader.take(line), undefined, line);
});

test('it says so much in a second and no more', () => {
  let now = 0;
  const reader = new OutputReader(() => now);
  const say = () => reader.take('{"ack":1}') !== undefined;
  for (let n = 0; n < guestServicesLinesPerSMax; n += 1) assert.ok(say());
  assert.equal(say(), false);
  now = 1_000;
  assert.ok(say());
});
