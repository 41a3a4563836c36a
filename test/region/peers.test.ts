/** Replicas of the region tell one processor of a cell, each by what it knows of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { objectsFor } from '#base/network/needs.ts';
import { changeParts, noParts, partsOf, type VpcParts } from '#base/network/parts.ts';
import { RecentPlaces } from '#base/network/recent.ts';
import { describeDevice } from '#base/network/transaction.ts';
import type { VpcState } from '#contracts/network.ts';
import { type Change, Peers } from '#region/peers.ts';

const groupIds = ['sg-1', 'sg-2', 'sg-3'];

const stateOf = (version: number, open: number): VpcState => ({
  ...{ vpcId: 'vpc-1', vni: 4_097, version, mtu: 1_450, cidrs: ['10.0.0.0/16'], ports: [] },
  ...{ dnsServers: [], domainName: 'x.internal', subnets: [] },
  groups: groupIds.map((groupId) => ({
    ...{ groupId, ingress: [{ protocol: '6', fromPort: open, toPort: open, cidr: '0.0.0.0/0' }] },
    egress: [],
  })),
});

/** Answers of the objects that it was told alone, as a processor does (`cell.applyParts`). */
const newPeer = () => {
  let parts: VpcParts = noParts('vpc-1');
  let asked = 0;
  return {
    has: (): VpcParts => parts,
    asked: (): number => asked,
    calls: {
      ask: async () => {
        asked += 1;
        return describeDevice(new Map(), [parts]);
      },
      tell: async (change: Change) => {
        const { objects, places } = structuredClone(change);
        parts = changeParts(parts, objects, [places]);
        const told = new Set(objects.map(({ kind, id }) => `${kind}/${id}`));
        const all = describeDevice(new Map(), [parts]);
        const own = all.objects.filter(({ kind, id }) => told.has(`${kind}/${id}`));
        return { has: { ...all, objects: own }, unreachable: [] };
      },
    },
  };
};

test('property: whatever other replicas told it, a processor has what the last one told', async () => {
  const step = fc.record({ by: fc.nat({ max: 2 }), groups: fc.subarray(groupIds), open: fc.nat({ max: 1 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 12 }), async (steps) => {
      const peer = newPeer();
      const streams = [{}, {}, {}];
      const replicas = streams.map(() => new Peers<object>(new RecentPlaces()));
      for (const [at, { by, groups, open }] of steps.entries()) {
        const parts = partsOf(stateOf(at + 1, open));
        const wanted = objectsFor(parts, new Set(groups));
        await replicas[by]?.tell(streams[by] ?? {}, parts, wanted, peer.calls);
        for (const { kind, id, digest } of wanted)
          assert.equal(peer.has().objects.get(`${kind}/${id}`)?.current?.digest, digest);
      }
    }),
    { numRuns: 300 },
  );
});

test('one replica alone asks once, however often groups come and go', async () => {
  const peer = newPeer();
  const replica = new Peers<object>(new RecentPlaces());
  const stream = {};
  for (const [at, groups] of [['sg-1'], [], ['sg-1', 'sg-2'], ['sg-2'], ['sg-1']].entries()) {
    const parts = partsOf(stateOf(at + 1, 0));
    await replica.tell(stream, parts, objectsFor(parts, new Set(groups)), peer.calls);
    for (const id of groups) assert.ok(peer.has().objects.get(`security-group/${id}`)?.current);
  }
  assert.equal(peer.asked(), 1);
});

test('a replica that knows an object of earlier tells it as of now, where the device has one of a lost history', async () => {
  const peer = newPeer();
  const [first, second] = [new Peers<object>(new RecentPlaces()), new Peers<object>(new RecentPlaces())];
  const stream = {};
  const tell = async (by: Peers<object>, parts: VpcParts) =>
    by.tell(stream, parts, objectsFor(parts, new Set(groupIds)), peer.calls);
  const known = partsOf(stateOf(5, 0));
  await tell(first, known);
  // What the store has lost was told by another replica.
  await tell(second, partsOf(stateOf(7, 1)));
  const now = partsOf(stateOf(9, 0), known);
  await tell(first, now);
  for (const { kind, id, digest } of objectsFor(now, new Set(groupIds)))
    assert.equal(peer.has().objects.get(`${kind}/${id}`)?.current?.digest, digest);
});
