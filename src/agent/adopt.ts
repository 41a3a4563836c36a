/** At the start of an agent: takes over the VMs that still run (S1.13), settles those that ended meanwhile, removes what belongs to none and runs nothing. */
import { stat } from 'node:fs/promises';
import type { VmState } from '#contracts/host.ts';
import type { AgentContext } from './context.ts';
import { migrateInfo } from './migration/facts.ts';
import { identifyProcess, isAlive, type ProcessIdentity, processesOfUid } from './process.ts';
import { recoveredReason } from './recover.ts';
import { deleteTap, ourTaps } from './tap.ts';
import type { Vm } from './vm.ts';

const living: ReadonlySet<VmState> = new Set<VmState>(['running', 'paused', 'incoming']);

/** Finds the VM's process: the one written down, or one that was started just before a crash. */
const findProcess = async ({ record, context }: Vm): Promise<ProcessIdentity | undefined> => {
  // A process id of an earlier boot is somebody else's now.
  const sameBoot = record.bootId === undefined || record.bootId === context.bootId;
  if (record.process !== undefined && sameBoot && (await isAlive(record.process))) return record.process;
  const [pid] = await context.cgroups.processes(record.instanceId);
  const inGroup = pid === undefined ? undefined : await identifyProcess(pid);
  return inGroup ?? (await processesOfUid(record.uid))[0];
};

/** Takes over one VM. Nothing is started, stopped or resumed: a paused source of a migration stays paused (S6.5). */
export const adoptVm = async (vm: Vm): Promise<void> => {
  const { record, context } = vm;
  const process = await findProcess(vm);
  if (process === undefined) {
    // A record may still say that it runs where its process was never written down, or only its end's first half.
    if (record.process !== undefined || (living.has(record.state) && !record.recovered))
      return vm.foundGone();
    await context.cgroups.remove(record.instanceId);
    if (record.recovered) await vm.save();
    return;
  }
  if (!(await isDirectory(vm.paths.run))) return keepBlind(vm, process);
  const now = await vm.takeOver(process);
  if (record.process === undefined) return; // It had shut itself down, and that is settled.
  if (record.recovered) vm.setState(stateOf(now), recoveredReason);
  if (record.recovered) await recallHandover(vm, now);
  else if (now === 'running') vm.setState('running');
  else if (record.state === 'running') vm.setState('paused', `the VMM says ${now}`);
  await vm.adjustCpuQuota(); // A former agent may have died in the middle of a switch.
  await vm.save();
};

/** A guest that was handed over runs elsewhere, or will: its record is lost, but its VMM says so, and it never runs here again (I1). */
const recallHandover = async ({ record, monitor }: Vm, runState: string): Promise<void> => {
  // A guest that stood still when its migration failed is left in this state too.
  if (runState !== 'postmigrate') return;
  if ((await monitor.query(migrateInfo, 'query-migrate')).status !== 'completed') return;
  record.migration = { role: 'source', memoryUri: '', diskUri: '', phase: 'completed', sending: true };
};

/** Its directory is gone, and its monitor's socket with it: it runs on, is told of, and can be destroyed, no more. */
const keepBlind = async (vm: Vm, process: ProcessIdentity): Promise<void> => {
  vm.record.process = process;
  vm.setState('running', 'its directory is gone: it runs on what it holds open');
  await vm.save();
};

const isDirectory = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** What a VMM says of itself, where no record says more. */
const stateOf = (status: string): VmState =>
  status === 'running' ? 'running' : status === 'inmigrate' ? 'incoming' : 'paused';

/**
 * Removes taps and groups of ours that no record speaks of. Live processes are never ended for want of a record: those of a VM were
 * taken over before this (recover.ts), others are left and told of.
 */
export const removeOrphans = async (context: AgentContext, vms: readonly Vm[]): Promise<void> => {
  const taps = new Set(vms.map(({ record }) => record.tap));
  for (const tap of await ourTaps(context.config.runPrefix)) if (!taps.has(tap)) await deleteTap(tap);
  const names = new Set(vms.map(({ record }) => record.instanceId));
  for (const name of await context.cgroups.list()) {
    if (names.has(name)) continue;
    const pids = await context.cgroups.processes(name);
    if (pids.length === 0) await context.cgroups.remove(name);
    else
      context.log.error(
        { group: name, pids },
        'processes in a group of ours that is no VM of this host: left alone',
      );
  }
};
