/**
 * A VPC at every limit of EC2's defaults changes a rule: how long until every card has it, and what launches elsewhere wait meanwhile,
 * against launches while nothing happens, in the same run.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { desiredOnCard } from '#card/model/desired.ts';
import { plan } from '#card/model/plan.ts';
import { placeInterface } from '#region/interfaces.ts';
import { connectFleet, fillVpc, vtepOf } from '../../test/region/network-fleet.ts';
import type { Client, TestRegion } from '../../test/region/test-region.ts';
import { startFleet } from './fleet.ts';

/** Between changes: a large VPC that changes without end is made to rest. */
const restMs = 2_000;
const limits = { interfaces: 4_096, groups: 5, groupsPerInterface: 5, rules: 59, routes: 199 };

const msSince = (beganNs: bigint, atNs = process.hrtime.bigint()): number => Number(atNs - beganNs) / 1e6;

const quantile = (values: readonly number[], q: number): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
};
const shown = (what: string, ms: readonly number[]): string =>
  `${what.padEnd(44)} ${[0.5, 0.99, 1].map((q) => `${quantile(ms, q).toFixed(0)} ms`.padStart(9)).join(' ')}  (${ms.length})`;

/** A launch of another account, as far as the network goes: an interface is made, and its card is told its place. */
const launch = async (region: TestRegion, client: Client, card: number): Promise<number> => {
  const began = process.hrtime.bigint();
  const { eniId } = await client.launch();
  await placeInterface(region.region, { eniId, vtep: vtepOf(card), epoch: 1 });
  return msSince(began);
};

/** Answers the longest time until a rule was on every card. */
export const vpcAtLimits = async (
  region: TestRegion,
  { cards, changes }: { readonly cards: number; readonly changes: number },
): Promise<number> => {
  const [alice, bob] = [await region.account(), await region.account()];
  const vpc = await fillVpc(region, alice, { ...limits, cards });
  const fleet = startFleet(cards);
  const disconnect = await connectFleet(region, fleet);
  // The whole of it first, to each card: that is no part of what is measured.
  while ((await region.region.pusher.push(vpc.vpcId))?.unreachable.length !== 0) await delay(restMs);
  const rule = (port: number) =>
    alice.call('AuthorizeSecurityGroupIngress', {
      GroupId: vpc.groupIds[port % vpc.groupIds.length],
      IpPermissions: [
        { IpProtocol: 'tcp', FromPort: port, ToPort: port, IpRanges: [{ CidrIp: '192.0.2.0/24' }] },
      ],
    });
  const revoke = (port: number) =>
    alice.call('RevokeSecurityGroupIngress', {
      GroupId: vpc.groupIds[port % vpc.groupIds.length],
      IpPermissions: [
        { IpProtocol: 'tcp', FromPort: port, ToPort: port, IpRanges: [{ CidrIp: '192.0.2.0/24' }] },
      ],
    });
  await rule(40_000);
  await revoke(40_000);
  console.log(
    `4,096 interfaces, 5 groups each, 60 rules a direction, 200 routes: all of ${cards} cards have it; ${changes} changes`,
  );
  const idle: number[] = [];
  for (let n = 0; n < 20; n++) idle.push(await launch(region, bob, n % cards));
  const [enforced, answered, meanwhile, cpu]: number[][] = [[], [], [], []];
  for (let n = 1; n <= changes; n++) {
    await delay(restMs);
    fleet.obeyed.length = 0;
    let isOver = false;
    const began = process.hrtime.bigint();
    const changed = rule(40_000 + n).then(() => {
      answered?.push(msSince(began));
      isOver = true;
    });
    while (!isOver) meanwhile?.push(await launch(region, bob, n % cards));
    await changed;
    const own = fleet.obeyed.filter(({ vpcIds }) => vpcIds.includes(vpc.vpcId));
    const told = new Set(own.map(({ card }) => card)).size;
    if (told !== cards) throw new Error(`${told} of ${cards} cards were told`);
    enforced?.push(Math.max(...own.map(({ at }) => msSince(began, at))));
    await delay(restMs);
    // Alone, so that what it costs is its own.
    const before = process.cpuUsage();
    await revoke(40_000 + n);
    const { user, system } = process.cpuUsage(before);
    cpu?.push((user + system) / 1_000);
  }
  console.log(`${''.padEnd(44)} ${['p50', 'p99', 'worst'].map((each) => each.padStart(9)).join(' ')}`);
  console.log(shown(`a rule, on all ${cards} cards`, enforced ?? []));
  console.log(shown('  the call', answered ?? []));
  console.log(shown('  CPU of region, processor and all cards', cpu ?? []));
  console.log(shown('a launch elsewhere, while nothing happens', idle));
  console.log(shown('  while the rule is told', meanwhile ?? []));
  console.log(shown('a card’s own work, beside it', await cardWork(region, vpc.vpcId)));
  disconnect();
  await fleet.close();
  return Math.max(...(enforced ?? []));
};

/** What a real card works out for a rule, beside its kernel: each on a host of its own, so it comes once on top. */
const cardWork = async (region: TestRegion, vpcId: string): Promise<number[]> => {
  const state = await region.region.compile(vpcId);
  if (state === undefined) throw new Error('it is gone');
  const own = state.ports.filter(({ vtep }) => vtep === vtepOf(0));
  const locals = new Map(
    own.map((port, at) => [port.eniId, { tap: `tap${at}`, wired: true, port, active: true }]),
  );
  const model = (of: typeof state) =>
    desiredOnCard(of, { ports: locals, forwards: new Map() }, new Map(), vtepOf(0));
  const before = model(state);
  const [first, ...rest] = state.groups;
  if (first === undefined) throw new Error('it has no group');
  const more = { protocol: '6', fromPort: 9, toPort: 9, cidr: '192.0.2.0/24' };
  const changed = { ...state, groups: [{ ...first, ingress: [...first.ingress, more] }, ...rest] };
  return Array.from({ length: 10 }, () => {
    const began = process.hrtime.bigint();
    plan(before, model(changed));
    return msSince(began);
  });
};
