/** At the start of an agent: takes over the VMs that still run (S1.13), settles those that ended meanwhile, removes what belongs to none. */
import { z } from 'zod';
import type { VmState } from '#contracts/host.ts';
import type { AgentContext } from './context.ts';
import { identifyProcess, isAlive, killProcess, type ProcessIdentity, processesOfUid } from './process.ts';
import { recoveredReason } from './recover.ts';
import { deleteTap, ourTaps } from './tap.ts';
import type { Vm } from './vm.ts';

const status = z.looseObject({ status: z.string() });

/** Finds the VM's process: the one written down, or one that was started just before a crash. */
const findProcess = async ({ record, context }: Vm): Promise<ProcessIdentity | undefined> => {
  if (record.process !== undefined && (await isAlive(record.process))) return record.process;
  const [pid] = await context.cgroups.processes(record.instanceId);
  const inGroup = pid === undefined ? undefined : await identifyProcess(pid);
  return inGroup ?? (await processesOfUid(record.uid))[0];
};

/** Takes over one VM. Nothing is started, stopped or resumed: a paused source of a migration stays paused (S6.5). */
export const adoptVm = async (vm: Vm): Promise<void> => {
  const { record, context } = vm;
  const process = await findProcess(vm);
  if (process === undefined) {
    const ran = record.process !== undefined;
    record.process = undefined;
    await context.cgroups.remove(record.instanceId);
    if (ran)
      vm.setState(
        record.state === 'incoming' || record.state === 'preparing' ? 'failed' : 'stopped',
        'the VMM ended while the agent was away',
      );
    if (ran || record.recovered) await vm.save();
    return;
  }
  const qmp = await vm.attach(process);
  const now = await qmp.query(status, 'query-status');
  if (record.recovered) vm.setState(stateOf(now.status), recoveredReason);
  else if (now.status === 'running') vm.setState('running');
  else if (record.state === 'running') vm.setState('paused', `the VMM says ${now.status}`);
  await vm.adjustCpuQuota(); // A former agent may have died in the middle of a switch.
  await vm.save();
};

/** What a VMM says of itself, where no record says more. */
const stateOf = (status: string): VmState =>
  status === 'running' ? 'running' : status === 'inmigrate' ? 'incoming' : 'paused';

/** Removes taps and groups of ours that no record speaks of, with the processes inside: no directory, so no VM of anybody's. */
export const removeOrphans = async (context: AgentContext, vms: readonly Vm[]): Promise<void> => {
  const taps = new Set(vms.map(({ record }) => record.tap));
  for (const tap of await ourTaps(context.config.runPrefix)) if (!taps.has(tap)) await deleteTap(tap);
  const names = new Set(vms.map(({ record }) => record.instanceId));
  for (const name of await context.cgroups.list())
    if (!names.has(name)) {
      const pids = await context.cgroups.processes(name);
      if (pids.length > 0)
        context.log.error({ group: name, pids }, 'processes of a VM that has no directory here: ended');
      for (const pid of pids) {
        const stray = await identifyProcess(pid);
        if (stray !== undefined) await killProcess(stray);
      }
      await context.cgroups.remove(name);
    }
};
