/** Late commands in any order: what is left on a host is what the commands under the highest generation alone would have left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { CommandKey } from '#contracts/host.ts';
import { newId } from '#contracts/ids.ts';
import type { VpcPort, VpcState } from '#contracts/network.ts';
import { SimCaller } from '#simhost/caller.ts';
import { SimHost } from '#simhost/sim-host.ts';
import { SimWorld } from '#simhost/world.ts';

const instanceId = newId('instance');
const vpcId = newId('vpc');
const image = { imageId: newId('image'), digest: 'sha256:x' };

type Life = 'launch' | 'stop' | 'terminate' | 'moveIn' | 'redirect';

/** A change of the instance's life: its generation is its place in the list. Each owner repeats its steps. */
interface Change {
  readonly life: Life;
  readonly owners: number;
}

interface Command {
  readonly generation: number;
  readonly epoch: number;
  readonly step: number;
}

const portOf = (generation: number): VpcPort => ({
  ...{ eniId: 'eni-1', instanceId, mac: '06:00:00:00:00:01', ip: '10.0.0.10', subnetId: 'subnet-1' },
  ...{ groupIds: [], sourceDestCheck: true, vtep: '198.18.1.11', epoch: 2 * generation },
});

const vpc: VpcState = {
  ...{ vpcId, vni: 100, version: 1, cidrs: ['10.0.0.0/16'], groups: [], ports: [], dnsServers: [] },
  ...{ subnets: [], domainName: 'test.internal', mtu: 1_450 },
};

const metadata = {
  ...{
    instanceId,
    accountId: '111122223333',
    imageId: image.imageId,
    instanceType: 'p1.nano',
    launchIndex: 0,
  },
  ...{ reservationId: 'r-1', hostname: 'h', availabilityZone: 'z', region: 'test-1', hopLimit: 1 },
  ...{
    httpTokens: 'optional' as const,
    httpEndpoint: 'enabled' as const,
    launchTime: '2026-01-01T00:00:00Z',
  },
};

/** The steps of a change on this host, in their order. */
const stepsOf = (life: Life, generation: number) => {
  type Step = (to: SimCaller, command: CommandKey) => Promise<unknown>;
  const activate = life !== 'moveIn';
  const network: Step = (to, command) =>
    to.call('vm.prepareNetwork', { command, instanceId, vpc, port: portOf(generation), metadata, activate });
  const operation = { operationId: 'o', ranOn: 'card' as const, at: '2026-01-01T00:00:00Z' };
  const results = {
    administrative: { ...operation, kind: 'administrative' as const },
    vpc: { ...operation, kind: 'vpc' as const },
  };
  const requirement = { vcpus: 1, memoryMib: 64, rootDiskMib: 64 };
  const launch: Step = (to, command) =>
    to.call('vm.launch', { command, instanceId, requirement, image, network: results, incoming: !activate });
  const ensure: Step = (to, command) => to.call('vm.ensureImage', { command, instanceId, image });
  const stop: Step = (to, command) => to.call('vm.stop', { command, instanceId, force: true, graceMs: 0 });
  const detach: Step = (to, command) => to.call('vm.detachNetwork', { command, instanceId });
  const destroy: Step = (to, command) => to.call('vm.destroy', { command, instanceId });
  const redirect: Step = (to, command) => {
    const params = { eniId: 'eni-1', to: { ip: '198.18.1.99', port: 4_789 } };
    return to.call('card.call', { command, instanceId, method: 'card.redirectPort', params });
  };
  const all: Record<Life, Step[]> = {
    launch: [ensure, network, launch],
    stop: [stop, detach],
    terminate: [destroy],
    moveIn: [ensure, network, launch],
    redirect: [redirect],
  };
  return all[life];
};

/** What a host has of the instance. */
const picture = ({ vms, card }: SimHost) => ({
  vms: [...vms.values()].map((vm) => [vm.state, vm.eniId, vm.hasDisk]),
  ports: [...card.ports.values()].map(({ active, redirect, port }) => [active, redirect, port.epoch]),
  administrative: [...card.administrative],
});

const newHost = (): SimHost =>
  new SimHost({
    hostId: 'h-1',
    zone: 'z',
    vtep: '198.18.1.11',
    world: new SimWorld(),
    // Commands overtake each other on their way, and take longer than others.
    latencyMs: () => (Math.random() < 0.3 ? 1 : 0),
  });

const workflowOf = (generation: number): string => `wf-${generation}`;

const send = (to: SimCaller, changes: readonly Change[], { generation, epoch, step }: Command) => {
  const command = { workflowId: workflowOf(generation), step: `step-${step}`, epoch, generation };
  const life = changes[generation - 1]?.life ?? 'launch';
  return stepsOf(life, generation)
    [step]?.(to, command)
    .catch(() => undefined);
};

/** The steps of the newest owner of each change, in order: what is decided, each after the one before. */
const decided = (changes: readonly Change[]): Command[] =>
  changes.flatMap(({ life, owners }, at) =>
    stepsOf(life, at + 1).map((_, step) => ({ generation: at + 1, epoch: owners, step })),
  );

const changes = fc.array(
  fc.record({
    life: fc.constantFrom<Life>('launch', 'stop', 'terminate', 'moveIn', 'redirect'),
    owners: fc.integer({ min: 1, max: 3 }),
  }),
  { minLength: 1, maxLength: 6 },
);

test('property: late commands of former owners and generations, in any order, change nothing', async () => {
  await fc.assert(
    fc.asyncProperty(changes, fc.infiniteStream(fc.nat()), async (lives, draws) => {
      const random = (below: number): number => (draws.next().value ?? 0) % below;
      const [clean, haunted] = [newHost(), newHost()];
      const [toClean, toHaunted] = [new SimCaller(clean), new SimCaller(haunted)];
      const done: Command[] = [];
      for (const command of decided(lives)) {
        await send(toClean, lives, command);
        const inFlight = [send(toHaunted, lives, command)];
        done.push(command);
        // Beside it and after it come any of those that were decided before, from any owner, also those that were never sent.
        for (let n = random(4); n > 0; n--) {
          const old = lateOf(lives, done, random);
          if (old !== undefined) inFlight.push(send(toHaunted, lives, old));
        }
        await Promise.all(inFlight);
      }
      assert.deepEqual(picture(haunted), picture(clean));
    }),
    { numRuns: 300 },
  );
});

/** A command of a generation below the newest, or of an older owner of the newest. */
const lateOf = (
  lives: readonly Change[],
  done: readonly Command[],
  random: (below: number) => number,
): Command | undefined => {
  const newest = done.at(-1)?.generation ?? 1;
  const generation = 1 + random(newest);
  const { life, owners } = lives[generation - 1] ?? { life: 'launch' as const, owners: 1 };
  const epoch = generation < newest ? 1 + random(owners) : random(owners);
  if (epoch < 1) return undefined;
  return { generation, epoch, step: random(stepsOf(life, generation).length) };
};
