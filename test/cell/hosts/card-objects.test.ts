/** Processors of a cell tell one card, each by what it knows of it: what one takes away, another must not believe to be there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { noParts, partsOf, type VpcParts } from '#base/network/parts.ts';
import { RecentPlaces } from '#base/network/recent.ts';
import { describeDevice, planTransaction } from '#base/network/transaction.ts';
import { CardObjects } from '#cell/hosts/card-objects.ts';
import type { HostSessions } from '#cell/hosts/sessions.ts';
import type { VpcState } from '#contracts/network.ts';
import { deviceTransaction } from '#contracts/network-objects.ts';

const groupIds = ['sg-1', 'sg-2', 'sg-3'];

const stateOf = (version: number, ports: number[], open: number): VpcState => ({
  ...{ vpcId: 'vpc-1', vni: 4_097, version, mtu: 1_450, cidrs: ['10.0.0.0/16'] },
  ...{ dnsServers: [], domainName: 'x.internal', subnets: [] },
  groups: groupIds.map((groupId) => ({
    ...{ groupId, ingress: [{ protocol: '6', fromPort: open, toPort: open, cidr: '0.0.0.0/0' }] },
    egress: [],
  })),
  ports: ports.map((at) => ({
    ...{ eniId: `eni-${at}`, mac: `02:00:00:00:00:0${at}`, ip: `10.0.0.${at}`, subnetId: 'subnet-1' },
    ...{
      groupIds: [groupIds[at % groupIds.length] ?? ''],
      sourceDestCheck: true,
      vtep: '198.18.0.1',
      epoch: 1,
    },
  })),
});

/** A card without ports of its own, which drops what it is told to drop. */
const newCard = () => {
  let parts: VpcParts = noParts('vpc-1');
  const call = async (_host: string, method: string, params: unknown) => {
    if (method === 'card.transact') {
      const has = { fleet: new Map(), parts: () => parts, attached: () => [] };
      const transaction = deviceTransaction.parse(JSON.parse(JSON.stringify(params)));
      parts = planTransaction(has, transaction).vpcs.get('vpc-1') ?? parts;
    }
    return describeDevice(new Map(), [parts]);
  };
  return {
    // The two methods that are called answer as they do in the contract.
    hosts: { call } as unknown as Pick<HostSessions, 'call'>,
    has: (): VpcParts => parts,
  };
};

test('property: whatever the others told it, a card has what the last one brought it to', async () => {
  const step = fc.record({
    by: fc.nat({ max: 2 }),
    port: fc.integer({ min: 1, max: 9 }),
    groups: fc.subarray(groupIds),
    open: fc.nat({ max: 1 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 12 }), async (steps) => {
      const card = newCard();
      const processors = [1, 2, 3].map(() => new CardObjects(card.hosts, new RecentPlaces()));
      for (const [at, { by, port, groups, open }] of steps.entries()) {
        // Another place each time: without a change nothing is told, so nothing is heard of what others did.
        const ports = [port, 10 + (at % 2)];
        const parts = partsOf(stateOf(at + 1, ports, open));
        await processors[by]?.bring('h-1', parts, new Set(groups));
        assert.equal(card.has().places.digest, parts.places.digest);
        for (const id of groups) {
          const key = `security-group/${id}`;
          assert.equal(card.has().objects.get(key)?.current?.digest, parts.objects.get(key)?.current?.digest);
        }
      }
    }),
    { numRuns: 300 },
  );
});
