/** Two listings of a firewall: what differs is told, rule by rule. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firewallDrift, parseRuleset } from '#card/kernel/drift.ts';

const chain = { family: 'inet', table: 'pando', name: 'input', policy: 'drop' };
const rule = (handle: number, verdict: string) => ({
  rule: { family: 'inet', table: 'pando', chain: 'input', handle, expr: [{ [verdict]: null }] },
});
const set = (elem: readonly string[], name = 'own') => ({
  set: { family: 'inet', table: 'pando', name, type: 'ipv4_addr', elem },
});
const listing = (...entries: readonly object[]): string =>
  JSON.stringify({ nftables: [{ metainfo: { version: '1' } }, { chain }, ...entries] });
const driftOf = (wanted: string, has: string): string | undefined =>
  firewallDrift(parseRuleset(wanted), parseRuleset(has));

test('S8.2 handles, and the order of a set’s elements, are no difference', () => {
  const a = listing(rule(1, 'accept'), set(['10.0.0.1', '10.0.0.2']));
  const b = listing(rule(9, 'accept'), set(['10.0.0.2', '10.0.0.1']));
  assert.equal(driftOf(a, b), undefined);
});

test('S8.2 a rule of another text, in another order, one too many, one too few; a chain that is nobody’s', () => {
  const wanted = listing(rule(1, 'accept'), rule(2, 'drop'));
  assert.match(driftOf(wanted, listing(rule(1, 'accept'), rule(2, 'return'))) ?? '', /input lacks .*drop/);
  assert.match(driftOf(wanted, listing(rule(1, 'drop'), rule(2, 'accept'))) ?? '', /another order/);
  assert.match(driftOf(wanted, listing(rule(1, 'accept'))) ?? '', /lacks/);
  const more = listing(rule(1, 'accept'), rule(2, 'drop'), rule(3, 'return'));
  assert.match(driftOf(wanted, more) ?? '', /has .*return.*nobody rolled out/);
  const strange = { chain: { ...chain, name: 'by-hand' } };
  assert.match(
    driftOf(wanted, listing(rule(1, 'accept'), rule(2, 'drop'), strange)) ?? '',
    /by-hand is nobody's/,
  );
});

test('S8.2 an element that was added by hand, unless the running system owns the set', () => {
  const [wanted, has] = [listing(set(['10.0.0.1'])), listing(set(['10.0.0.1', '10.0.0.9']))];
  assert.match(driftOf(wanted, has) ?? '', /set inet pando own has "10.0.0.9"/);
  const running = new Set(['inet pando own']);
  assert.equal(firewallDrift(parseRuleset(wanted, running), parseRuleset(has, running)), undefined);
});
