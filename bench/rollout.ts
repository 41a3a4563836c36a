/**
 * What a change of a VPC costs: bytes on the wires and CPU, in parts against whole documents, in one run; then a VPC at EC2's default
 * limits that changes a rule. The production region on PostgreSQL, simulated cards.
 *
 *   node bench/rollout.ts [--interfaces 1000] [--cards 200] [--changes 10]
 *   node bench/rollout.ts --limits [--cards 200]     a VPC at EC2's default limits alone: under 1 s on every card, and no launch waits
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { monotonicMs } from '#base/monotonic.ts';
import { placeInterface } from '#region/interfaces.ts';
import {
  connectFleet,
  fillVpc,
  type LargeVpc,
  NetworkFleet,
  type Size,
  vtepOf,
} from '../test/region/network-fleet.ts';
import { type Client, startTestRegion, type TestRegion } from '../test/region/test-region.ts';
import { vpcAtLimits } from './support/vpcAtLimits.ts';

const { values } = parseArgs({
  options: {
    interfaces: { type: 'string', default: '1000' },
    cards: { type: 'string', default: '200' },
    changes: { type: 'string', default: '10' },
    limits: { type: 'boolean', default: false },
  },
});
const [interfaces, cards, changes] = [values.interfaces, values.cards, values.changes].map(Number) as [
  number,
  number,
  number,
];

const restMs = 3_000;

interface Figures {
  readonly bytes: number;
  readonly cpuMs: number;
  readonly ms: readonly number[];
}

type Change = (n: number) => Promise<unknown>;

/** Per change. */
const measure = async (fleet: NetworkFleet, change: Change): Promise<Figures> => {
  await change(0);
  fleet.clear();
  const ms: number[] = [];
  let cpuMs = 0;
  for (let n = 1; n <= changes; n++) {
    // A large VPC that changes without end is made to rest: this is about single changes.
    await delay(restMs);
    const cpu = process.cpuUsage();
    const beganMs = monotonicMs();
    await change(n);
    ms.push(monotonicMs() - beganMs);
    const { user, system } = process.cpuUsage(cpu);
    cpuMs += (user + system) / 1_000 / changes;
  }
  ms.sort((a, b) => a - b);
  return { bytes: fleet.bytes / changes, cpuMs, ms };
};

const show = (what: string, { bytes, cpuMs, ms }: Figures): void => {
  const at = (q: number) => `${(ms[Math.min(ms.length - 1, Math.floor(q * ms.length))] ?? 0).toFixed(0)} ms`;
  console.log(
    [
      ...[
        what.padEnd(34),
        `${(bytes / 1_000).toFixed(1)} kB`.padStart(12),
        `${cpuMs.toFixed(0)} ms`.padStart(9),
      ],
      ...[at(0.5).padStart(9), at(0.99).padStart(9)],
    ].join(' '),
  );
};

const changesOf = async (region: TestRegion, client: Client, vpc: LargeVpc, first: number) => {
  const { eni_id: eniId } = await region.region.db
    .selectFrom('eni')
    .select('eni_id')
    .where('vpc_id', '=', vpc.vpcId)
    .executeTakeFirstOrThrow();
  const place: Change = (n) =>
    placeInterface(region.region, { eniId, epoch: first + n, vtep: vtepOf(n % 5), withoutState: true });
  const rule: Change = async (n) => {
    const GroupId = vpc.groupIds[0];
    const IpPermissions = [
      {
        ...{ IpProtocol: 'tcp', FromPort: first + n, ToPort: first + n },
        IpRanges: [{ CidrIp: '192.0.2.0/24' }],
      },
    ];
    // As many rules after it as before.
    if (n > 0) {
      const last = [{ ...IpPermissions[0], FromPort: first + n - 1, ToPort: first + n - 1 }];
      await client.call('RevokeSecurityGroupIngress', { GroupId, IpPermissions: last });
    }
    await client.call('AuthorizeSecurityGroupIngress', { GroupId, IpPermissions });
  };
  return { place, rule };
};

const compare = async (region: TestRegion, client: Client, size: Size): Promise<void> => {
  const vpc = await fillVpc(region, client, size);
  const figures: Record<string, Figures> = {};
  for (const [at, way] of (['parts', 'whole'] as const).entries()) {
    const fleet = new NetworkFleet(size.cards, way === 'whole');
    const disconnect = await connectFleet(region, fleet);
    await region.region.pusher.push(vpc.vpcId);
    const { place, rule } = await changesOf(region, client, vpc, 10_000 * (at + 1));
    figures[`place ${way}`] = await measure(fleet, place);
    figures[`rule ${way}`] = await measure(fleet, rule);
    disconnect();
  }
  for (const what of ['place', 'rule']) {
    const [parts, whole] = [figures[`${what} parts`], figures[`${what} whole`]];
    if (parts === undefined || whole === undefined) throw new Error('not measured');
    show(`${what}, in parts`, parts);
    show(`${what}, whole documents`, whole);
    const [bytes, cpu] = [whole.bytes / parts.bytes, whole.cpuMs / parts.cpuMs];
    console.log(`  ${bytes.toFixed(0)} times fewer bytes, ${cpu.toFixed(1)} times less CPU`);
  }
};

const limits = { groupsPerInterface: 5, rules: 58, routes: 199 };

const atLimits = async (region: TestRegion, client: Client, groups: number): Promise<void> => {
  const vpc = await fillVpc(region, client, { ...limits, interfaces: 4_096, cards, groups });
  const fleet = new NetworkFleet(cards, false);
  const disconnect = await connectFleet(region, fleet);
  await region.region.pusher.push(vpc.vpcId);
  const { rule } = await changesOf(region, client, vpc, 30_000);
  let n = 0;
  await rule(n);
  const twoCalls = await measure(fleet, () => rule(++n));
  show(`a rule revoked and one authorized, ${groups} groups`, twoCalls);
  disconnect();
};

const region = await startTestRegion({ pushWaitMsMax: 30_000 });
if (values.limits) {
  try {
    const worstMs = await vpcAtLimits(region, { cards, changes });
    if (worstMs >= 1_000) process.exitCode = 1;
  } finally {
    await region.stop();
  }
  process.exit();
}
try {
  const client = await region.account();
  console.log(
    `${interfaces} interfaces on ${cards} cards, 20 groups of 20 rules; per change (a rule: two calls)`,
  );
  console.log(
    `${''.padEnd(34)} ${'bytes'.padStart(12)} ${'CPU'.padStart(9)} ${'p50'.padStart(9)} ${'p99'.padStart(9)}`,
  );
  await compare(region, client, {
    interfaces,
    cards,
    groups: 20,
    groupsPerInterface: 1,
    rules: 10,
    routes: 10,
  });
  console.log(
    `EC2's default limits: 4,096 interfaces on ${cards} cards, 5 groups each, 60 rules, 200 routes`,
  );
  for (const groups of [5, 40]) await atLimits(region, client, groups);
} finally {
  await region.stop();
}
