/** The simulated hosts of a cell: how large they are, how long they take, and their sessions with the cell's processor. */
import { join } from 'node:path';
import type { Cell } from '#cell/cell.ts';
import { reportEveryMs } from '#cell/limits.ts';
import type { PlannedHost } from '#lab/plan.ts';
import { SimCaller } from '#simhost/caller.ts';
import { vmFiles } from '#simhost/saved.ts';
import { SimHost } from '#simhost/sim-host.ts';
import type { SimWorld } from '#simhost/world.ts';

/** Each takes thousands of small VMs: what is tested is the client, not what fits. */
const capacity = { vcpus: 4_096, memoryMib: 16 * 1024 * 1024, diskMib: 1024 * 1024 * 1024 };
/** Longest first: a VM is pending for some two seconds, stopping and shutting-down for some three. */
const typicalMs: Readonly<Record<string, number>> = {
  'vm.stop': 2_500,
  'vm.launch': 1_200,
  'vm.reboot': 1_000,
  'vm.prepareNetwork': 500,
  'vm.destroy': 400,
  'vm.ensureImage': 200,
};
const otherMs = 20;
/** No two VMs take equally long: clients that rely on an order are found out. */
const spread = 0.3;
const copyMs = 1_500;

const plausibleMs = (method: string): number =>
  (typicalMs[method] ?? otherMs) * (1 - spread + 2 * spread * Math.random());

export interface HostsOptions {
  readonly planned: readonly PlannedHost[];
  readonly zone: string;
  readonly world: SimWorld;
  readonly instant: boolean;
  /** Directory of the run's state. */
  readonly state: string;
}

/** Makes the hosts, with the VMs that they had, and has each say hello. Returns what ends their sessions. */
export const joinHosts = async (cell: Cell, options: HostsOptions): Promise<() => void> => {
  const { planned, zone, world, instant, state } = options;
  const hosts = planned.map(
    ({ hostId, vtep }) =>
      new SimHost({
        ...{ hostId, zone, vtep, world, capacity },
        ...(instant ? {} : { latencyMs: plausibleMs, copyMs }),
        store: vmFiles(join(state, 'hosts', hostId)),
      }),
  );
  const callers = hosts.map((host) => new SimCaller(host, { checked: true }));
  await Promise.all(
    hosts.map(async (host, at) => {
      const caller = callers[at];
      if (caller !== undefined) host.joined(await cell.reports.hello(host.hello(), caller));
    }),
  );
  const reporting = setInterval(() => {
    for (const host of hosts) cell.reports.report(host.report());
  }, reportEveryMs);
  return () => {
    clearInterval(reporting);
    for (const caller of callers) caller.close();
  };
};
