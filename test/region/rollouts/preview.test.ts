/** A change as its devices would see it in their kernels (S8.2): asked of each, the same answer shown once, and nothing touched. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { difference, nothingKnown, objectsFor } from '#base/network/needs.ts';
import { partsOf } from '#base/network/parts.ts';
import { PandoError } from '#contracts/errors.ts';
import { namespacesNamedMax } from '#contracts/kernel-preview.ts';
import type { VpcPort, VpcState } from '#contracts/network.ts';
import { digestOf } from '#contracts/network-digest.ts';
import { deviceTransaction, type NetworkDevice } from '#contracts/network-objects.ts';
import type { KernelShown } from '#contracts/rollout.ts';
import type { Fleet } from '#region/rollouts/fleet.ts';
import { previewedMax, previewKernel } from '#region/rollouts/preview.ts';
import { SimCard } from '#simhost/card.ts';
import { RolloutBench } from './bench.ts';

const waves = [{ percent: 25 }, { rest: true as const }];

const portOf = (vtep: string, at: number): VpcPort => ({
  ...{ eniId: `eni-${at}`, instanceId: `i-${at}`, mac: `06:00:00:00:00:0${at}`, ip: `10.0.0.${at}` },
  ...{ subnetId: 'subnet-a', groupIds: [], sourceDestCheck: true, vtep, epoch: 1 },
});

const vpcOf = (vpcId: string, ports: VpcPort[]): VpcState => ({
  ...{ vpcId, vni: 7, version: 1, cidrs: ['10.0.0.0/16'], groups: [], ports, dnsServers: [] },
  subnets: [{ subnetId: 'subnet-a', cidr: '10.0.0.0/24', router: '10.0.0.1', routes: [] }],
  ...{ domainName: 'test', mtu: 1_450 },
});

/** Simulated cards, each with one port in each of these VPCs. */
class CardsFleet implements Fleet {
  readonly cards = new Map<string, SimCard>();
  readonly away = new Set<string>();
  /** As a card of the last release. */
  readonly silent = new Set<string>();

  constructor(count: number, vpcIds: readonly string[]) {
    for (let at = 1; at <= count; at++) {
      const card = new SimCard(`10.9.0.${at}`);
      this.cards.set(`card/${card.vtep}`, card);
      for (const vpcId of vpcIds) {
        const port = portOf(card.vtep, 5);
        const parts = partsOf(vpcOf(vpcId, [port]));
        const told = difference(nothingKnown, parts, objectsFor(parts, new Set()));
        assert.ok(told !== undefined);
        card.transact({ objects: [...told.objects], places: [told.places] });
        card.attachPort(vpcId, { ...port, eniId: `eni-${vpcId}` }, 'tap5', true);
      }
    }
  }

  devices() {
    return [...this.cards.keys()].map((id) => ({ id, cell: 'cell-a', zone: 'zone-a' }));
  }

  reachable(deviceId: string): boolean {
    return !this.away.has(deviceId);
  }

  device(deviceId: string): NetworkDevice | undefined {
    const card = this.cards.get(deviceId);
    if (card === undefined) return undefined;
    const device: NetworkDevice = {
      deviceId,
      objects: async () => card.handle('card.objects', {}) as never,
      transact: async (transaction) => card.transact(deviceTransaction.parse(transaction)),
      confirm: async (transactionId, fence) => void card.handle('card.confirm', { transactionId, fence }),
    };
    if (this.silent.has(deviceId)) return device;
    return { ...device, preview: async (transaction) => card.handle('card.preview', transaction) as never };
  }
}

const linesOf = (shown: KernelShown | undefined): string[] =>
  (shown?.differences ?? []).flatMap(({ lines }) => lines);

test('S8.2 a dry run shows rules, routes and links that go and come, once for all devices that say the same', async () => {
  const fleet = new CardsFleet(4, ['vpc-1', 'vpc-2']);
  await using bench = await RolloutBench.create(fleet);
  await bench.mtuPolicy('p', { waves });
  const alice = bench.as('alice');
  const body = { mtu: 1_400, blackholes: ['203.0.113.0/24'], underlay: { mtu: 1_450 } };
  const { kernel, rolloutId } = await alice.start('p', body, { dryRun: true });
  assert.equal(rolloutId, undefined);
  assert.equal(kernel?.differences.length, 2, 'VPCs’ namespaces, and the devices’ own');
  const [vpcs, own] = kernel?.differences ?? [];
  assert.deepEqual(vpcs?.lines, [
    '- ip link vx0 mtu 1450',
    '- ip link tap5 mtu 1450',
    '+ ip link vx0 mtu 1400',
    '+ ip link tap5 mtu 1400',
    '+ ip route blackhole 203.0.113.0/24 table 167772160',
  ]);
  assert.deepEqual([vpcs?.deviceCount, vpcs?.namespaces, vpcs?.vpcIds], [4, 8, ['vpc-1', 'vpc-2']]);
  assert.deepEqual([own?.lines, own?.vpcIds], [['- ip link ul mtu 1500', '+ ip link ul mtu 1450'], []]);
  for (const card of fleet.cards.values()) assert.equal(card.fleet.size, 0, 'nothing was touched');
});

test('S8.2 a device that would refuse, one that is away and one that does not say are shown with why', async () => {
  const fleet = new CardsFleet(4, ['vpc-1']);
  const [drifted, away, silent] = [...fleet.cards.keys()];
  assert.ok(drifted && away && silent);
  fleet.away.add(away);
  fleet.silent.add(silent);
  await using bench = await RolloutBench.create(fleet);
  bench.start();
  await bench.mtuPolicy('p', { waves });
  const alice = bench.as('alice');
  const byHand = { kind: 'fleet' as const, id: 'fleet', body: { mtu: 9_000 } };
  const to = { ...byHand, version: 9, digest: digestOf(byHand) };
  fleet.cards.get(drifted)?.handle('card.transact', {
    objects: [{ kind: 'fleet', id: 'fleet', from: null, to }],
    places: [],
  });
  const { kernel } = await alice.start('p', { mtu: 1_300 }, { dryRun: true });
  const why = new Map(kernel?.unsaid.map((each) => [each.devices[0], each.why]));
  assert.match(why.get(drifted) ?? '', /would refuse.*drifted.*It has .*fleet/);
  assert.match(why.get(away) ?? '', /cannot be reached/);
  assert.match(why.get(silent) ?? '', /does not say/);
  assert.equal(kernel?.differences[0]?.deviceCount, 1);
});

test('S8.2 the diff of a rollout is what it would change yet', async () => {
  const fleet = new CardsFleet(4, ['vpc-1']);
  await using bench = await RolloutBench.create(fleet);
  bench.start();
  await bench.mtuPolicy('p', { waves, approval: { before: 'second', by: ['alice'] } });
  const alice = bench.as('alice');
  const { rolloutId } = await alice.start('p', { mtu: 1_300 });
  assert.ok(rolloutId);
  const waits = async (): Promise<boolean> =>
    /approval of wave 2/.test((await alice.show(rolloutId)).waitsFor ?? '');
  while (!(await waits()));
  const half = await alice.diff(rolloutId);
  assert.deepEqual([half.unchanged, half.differences[0]?.deviceCount], [1, 3]);
  assert.ok(linesOf(half).includes('+ ip link vx0 mtu 1300'));
  await alice.control(rolloutId, 'approve');
  await bench.until(rolloutId, 'done');
  assert.deepEqual(await alice.diff(rolloutId), {
    ...{ differences: [], more: 0, unchanged: 4, unsaid: [], notAsked: 0 },
  });
  const unknown = (error: unknown): boolean => error instanceof PandoError && error.code === 'NotFound';
  await assert.rejects(async () => alice.diff('ro-none'), unknown);
  await assert.rejects(async () => alice.diff(rolloutId, 'card/1.2.3.4'), unknown);
});

test('however many devices there are, the answer is bounded', async () => {
  const lines = Array.from({ length: 50 }, (_, at) => `+ ip rule pref ${at}`);
  const fleet: Fleet = {
    devices: () => [],
    reachable: () => true,
    device: (deviceId) =>
      ({
        deviceId,
        preview: async () => ({
          differences: [
            { vpcIds: ['vpc-1'], namespaces: namespacesNamedMax + 1, lines: [...lines, deviceId], more: 0 },
          ],
          more: 3,
        }),
      }) as never,
  };
  const devices = Array.from({ length: 10_000 }, (_, at) => `card/${at}`);
  const shown = await previewKernel(fleet, devices, []);
  assert.equal(shown.notAsked, 10_000 - previewedMax);
  assert.ok(shown.differences.length <= 64);
  assert.equal(shown.differences.length + shown.more, previewedMax * 4);
  assert.ok(JSON.stringify(shown).length < 256_000);
});
