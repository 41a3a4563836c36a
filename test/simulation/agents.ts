/** A simulated host's machine, and the agent on it: the machine and its guests outlive the agent. */
import { RpcClient } from '#base/rpc/client.ts';
import { hostAccess } from '#contracts/access.ts';
import { hostContract, hostEventsContract } from '#contracts/host.ts';
import { SimHost } from '#simhost/sim-host.ts';
import type { SimWorld } from '#simhost/world.ts';
import type { Certificates } from './certificates.ts';
import type { Obedience } from './obedience.ts';
import * as names from './shape.ts';
import type { World } from './world.ts';

const reportEveryMs = 2_000;
const reportTimeoutMs = 5_000;
const capacity = { vcpus: 4, memoryMib: 2_048, diskMib: 65_536 };
const copyMs = 400;
/** Longest first; each up to half as long again. */
const typicalMs: Readonly<Record<string, number>> = {
  'vm.stop': 400,
  'vm.launch': 200,
  'vm.prepareNetwork': 60,
  'vm.destroy': 60,
};
const otherMs = 5;

export interface HostMachine {
  readonly host: SimHost;
}

export interface AgentOptions {
  readonly name: string;
  readonly cell: number;
  readonly number: number;
  readonly certificates: Certificates;
  readonly shape: names.Shape;
  readonly guests: SimWorld;
  readonly obedience: Obedience;
  readonly world: World;
}

/** Starts the agent of a machine, which is made where it is the first. Called in the agent's process. */
export const startAgent = (options: AgentOptions, present: HostMachine | undefined): HostMachine => {
  const { cell, number, certificates, shape, guests, obedience, world } = options;
  const hostId = names.hostIdOf(cell, number);
  present?.host.forgetUnfinished();
  const host =
    present?.host ??
    new SimHost({
      ...{ hostId, zone: names.zoneOf(cell), world: guests, capacity, copyMs },
      vtep: `198.18.${cell}.${number}`,
      latencyMs: (method) => (typicalMs[method] ?? otherMs) * (1 + world.entropy.next() / 2),
    });
  const tls = certificates.of('agent', hostId, names.cellName(cell));
  const handlers = obedience.watch(hostId, host.handlers);
  const clients = names.numbers(shape.processorsPerCell).map(
    (at): RpcClient<typeof hostContract, typeof hostEventsContract> =>
      new RpcClient({
        ...{ tls, host: names.processorName(cell, at), port: names.processorPort },
        expect: 'spiffe://pando/cell/',
        remote: hostEventsContract,
        contract: hostContract,
        access: hostAccess,
        handlers,
        onConnect: async (stream) => {
          host.joined(await stream.call('host.hello', host.hello()));
        },
      }),
  );
  setInterval(() => {
    const report = host.report();
    for (const client of clients)
      if (client.connected)
        client.call('host.report', report, { timeoutMs: reportTimeoutMs }).catch(() => undefined);
  }, reportEveryMs);
  return { host };
};
