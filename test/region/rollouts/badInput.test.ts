/** Bad input to a rollout, each by its name, with nothing half-applied (S8.1, S8.2): policies by themselves are in `test/rollout/policy.test.ts`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { ChangedObject } from '#contracts/rollout.ts';
import { RolloutBench } from './bench.ts';
import { type SimDevice, SimFleet } from './sim-fleet.ts';

const waves = [{ percent: 20 }, { rest: true as const }];
const fleetOf = (body: unknown, more: Partial<ChangedObject> = {}): ChangedObject => ({
  ...{ kind: 'fleet', id: 'fleet', body },
  ...more,
});

const namedAs = (name: string) => (error: unknown) =>
  error instanceof PandoError && (error.details?.refusal === name || error.code === name);

test('a change that makes no sense is refused by name, and leaves no rollout, no version, no device touched', async () => {
  await using bench = await RolloutBench.create(new SimFleet(4));
  bench.start();
  const alice = bench.as('alice');
  await bench.mtuPolicy('p', { waves });
  const { rolloutId = '' } = await alice.start('p', { mtu: 1_400 });
  await bench.until(rolloutId, 'done');
  await bench.mtuPolicy('percent', { waves: [{ zones: ['zone-a'] }, { percent: 10 }] });
  await bench.mtuPolicy('elsewhere', { waves: [{ cells: ['cell-9'] }] });
  await bench.mtuPolicy('twice', { waves: [{ cells: ['cell-0'] }, { zones: ['zone-a'] }] });
  await bench.mtuPolicy('measured', { waves, health: { ...measured, checks: ['overlay'] } });
  bench.measures = new Set();
  const asker = bench.as('alice');
  const count = async (): Promise<number> =>
    (await sql<{ n: number }>`select count(*)::int as n from rollout_object`.execute(bench.db)).rows[0]?.n ??
    0;
  const [versions, transactions] = [await count(), bench.fleet.at(0).transactions];
  const wrong: readonly [string, string, readonly ChangedObject[]][] = [
    ['VersionGone', 'p', [fleetOf({ mtu: 1_300 }, { from: 9 })]],
    ['VersionGone', 'p', [fleetOf({ mtu: 1_300 }, { from: '0'.repeat(32) })]],
    ['EmptyChange', 'p', []],
    ['EmptyChange', 'p', [fleetOf({ mtu: 1_400 })]],
    ['EmptyChange', 'p', [fleetOf({ mtu: 1_300 }), fleetOf({ mtu: 1_200 })]],
    ['PercentageOfZero', 'percent', [fleetOf({ mtu: 1_300 })]],
    ['NoDevices', 'elsewhere', [fleetOf({ mtu: 1_300 })]],
    ['WavesOverlap', 'twice', [fleetOf({ mtu: 1_300 })]],
    ['NotMeasured', 'measured', [fleetOf({ mtu: 1_300 })]],
    ['NotFound', 'nobody', [fleetOf({ mtu: 1_300 })]],
    ['InvalidParameterValue', 'p', [fleetOf({ mtu: 'big' })]],
    ['InvalidParameterValue', 'p', [{ kind: 'network-acl', id: 'acl-1', body: {} }]],
    // The first one is fine: it goes with the other.
    ['InvalidParameterValue', 'p', [fleetOf({ mtu: 1_300 }), { kind: 'vpc', id: 'vpc-1', body: {} }]],
  ];
  for (const [name, policy, objects] of wrong)
    await assert.rejects(async () => asker.change(policy, objects), namedAs(name), `${name} of ${policy}`);
  assert.equal((await alice.list(false)).rollouts.length, 0);
  assert.equal(await count(), versions);
  assert.equal(bench.fleet.at(0).transactions, transactions);
  assert.deepEqual(bench.fleet.mtus(), Array(4).fill(1_400));
});

const measured = { lossMax: 0.02, latencyFactorMax: 5, strikes: 2, everyMs: 2_000 };

type Lie = NonNullable<SimDevice['lie']>;
const nothing = { version: 1, digest: '0'.repeat(32) };
/** Answers that are none, however they come. */
const lies: readonly [string, Lie][] = [
  [
    'another content than it was told',
    (answer) => ({ ...answer, objects: answer.objects.map((each) => ({ ...each, current: nothing })) }),
  ],
  ['nothing of the object', (answer) => ({ ...answer, objects: [] })],
  [
    'another object',
    (answer) => ({ ...answer, objects: answer.objects.map((each) => ({ ...each, id: 'other' })) }),
  ],
  ['no content', (answer) => ({ ...answer, objects: answer.objects.map(({ kind, id }) => ({ kind, id })) })],
  ['something that cannot be read', () => ({}) as never],
  [
    'an error that is none of the contract',
    () => {
      throw new TypeError('what?');
    },
  ],
];

test('a device that answers nonsense, of whatever kind: it has failed, the next wave is not begun, and all goes back', async (t) => {
  await using bench = await RolloutBench.create(new SimFleet(3));
  bench.start();
  const liar = bench.fleet.at(0);
  await bench.mtuPolicy('p', {
    ...{ waves: [{ devices: [liar.deviceId] }, { rest: true as const }], unreachable: 'fail' as const },
  });
  const alice = bench.as('alice');
  const first = await alice.start('p', { mtu: 1_400 });
  await bench.until(first.rolloutId ?? '', 'done');
  const toldOthers = () => [1, 2].map((at) => bench.fleet.at(at).transactions);
  const others = toldOthers();
  for (const [what, lie] of lies)
    await t.test(what, async () => {
      liar.lie = lie;
      const { rolloutId = '' } = await alice.start('p', { mtu: 1_300 });
      const deadline = monotonicMs() + 60_000;
      while ((await alice.show(rolloutId)).failure === undefined) {
        assert.ok(monotonicMs() < deadline, JSON.stringify(await alice.show(rolloutId)));
        await delay(20);
      }
      assert.deepEqual(toldOthers(), others);
      liar.lie = undefined;
      await bench.until(rolloutId, 'rolled-back');
      assert.deepEqual(bench.fleet.mtus(), [1_400, 1_400, 1_400]);
    });
});
