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
const dialAgainMs = 200;

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
  const callers = new Map<SimHost, SimCaller>();
  let ended = false;
  /** An agent that begins anew dials again. */
  const dial = async (host: SimHost): Promise<void> => {
    const caller: SimCaller = new SimCaller(host, {
      checked: true,
      onClose: () => {
        cell.reports.gone(host.hostId, caller);
        if (!ended) setTimeout(() => void dial(host).catch(() => undefined), dialAgainMs).unref();
      },
    });
    callers.set(host, caller);
    host.joined(await cell.reports.hello(host.hello(), caller));
  };
  await Promise.all(hosts.map(dial));
  const reporting = setInterval(() => {
    for (const host of hosts) if (cell.services.hosts.has(host.hostId)) cell.reports.report(host.report());
  }, reportEveryMs);
  return () => {
    ended = true;
    clearInterval(reporting);
    for (const caller of callers.values()) caller.close();
  };
};
