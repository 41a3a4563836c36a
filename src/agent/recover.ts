/**
 * A VM whose record cannot be read: taken over by what is evident, so that its guest runs on, it is reported, and destroying it
 * leaves nothing. The same where the whole directory is gone while the VMM runs. The owner of its directory is its uid, its command line tells its size, the card tells its port. What
 * cannot be known (image, network results, which workflows commanded) is left out: whatever needs it is refused.
 */
import { readFile, rename, stat } from 'node:fs/promises';
import type { VmRequirement } from '#contracts/host.ts';
import { isId } from '#contracts/ids.ts';
import type { AgentContext } from './context.ts';
import { vmsPerHostMax } from './limits.ts';
import { processesOfUid, uidOfPid, uidsWithProcesses } from './process.ts';
import { tapName } from './tap.ts';
import type { VmRecord } from './vm-record.ts';

export const recoveredReason = 'its record could not be read: taken over by what runs';

/** The uid that a VM's directory shows; undefined when there is none, or one that this host never gives or gave to another. */
const uidOf = async (context: AgentContext, runDir: string, taken: ReadonlySet<number>) => {
  const { uidBase } = context.config;
  // Only root changes an owner: the VMM could not have.
  const uid = (await stat(runDir).catch(() => undefined))?.uid;
  const ours = uid !== undefined && uid >= uidBase && uid < uidBase + vmsPerHostMax;
  return ours && !taken.has(uid) ? uid : undefined;
};

const argument = (args: readonly string[], option: string): number =>
  Number(args[args.indexOf(option) + 1] ?? Number.NaN);

/** From the command line of a VMM that lives: whole vCPUs and memory. Its disk's size is not on it. */
export const requirementOfCommand = (args: readonly string[]): VmRequirement | undefined => {
  const vcpus = argument(args, '-smp');
  const memoryMib = argument(args, '-m');
  const known = vcpus > 0 && Number.isInteger(memoryMib) && memoryMib > 0;
  return known ? { vcpus, memoryMib, rootDiskMib: 1 } : undefined;
};

const requirementOf = async (uid: number): Promise<VmRequirement | undefined> => {
  const [vmm] = await processesOfUid(uid);
  const text = vmm && (await readFile(`/proc/${vmm.pid}/cmdline`, 'utf8').catch(() => undefined));
  return text === undefined ? undefined : requirementOfCommand(text.split('\0'));
};

/** Instances that have a process in a group of ours and no directory: a state directory that is not mounted is no order to end VMs. */
export const runningWithoutDirectory = async (
  { cgroups }: AgentContext,
  known: ReadonlySet<string>,
): Promise<string[]> => {
  const found: string[] = [];
  for (const name of await cgroups.list())
    if (isId('instance', name) && !known.has(name) && (await cgroups.processes(name)).length > 0)
      found.push(name);
  return found;
};

/** The uid of what runs in the VM's group. */
const uidOfProcess = async (
  { cgroups, config }: AgentContext,
  instanceId: string,
): Promise<number | undefined> => {
  const [pid] = await cgroups.processes(instanceId);
  const uid = pid === undefined ? undefined : await uidOfPid(pid);
  const ours = uid !== undefined && uid >= config.uidBase && uid < config.uidBase + vmsPerHostMax;
  return ours ? uid : undefined;
};

/**
 * Uids of this host's range with processes that no VM accounts for: where there are no control groups, a VMM whose directory is gone is
 * found by nothing else. Nobody else is given such a uid, since whoever ends a VM ends all processes of its uid.
 */
export const strangeUids = async (
  { uidBase }: Pick<AgentContext['config'], 'uidBase'>,
  known: ReadonlySet<number>,
): Promise<ReadonlySet<number>> => {
  const found = await uidsWithProcesses(uidBase, vmsPerHostMax);
  return new Set([...found].filter((uid) => !known.has(uid)));
};

/** A record in place of the unreadable one, which is put aside for people to look at. `taken`: uids of other VMs. */
export const rebuildRecord = async (
  context: AgentContext,
  instanceId: string,
  taken: ReadonlySet<number>,
): Promise<VmRecord> => {
  const paths = context.store.paths(instanceId);
  const shown = (await uidOf(context, paths.run, taken)) ?? (await uidOfProcess(context, instanceId));
  const { uidBase, runPrefix } = context.config;
  let uid = shown ?? uidBase;
  const strange = await strangeUids(context.config, taken);
  while (shown === undefined && (taken.has(uid) || strange.has(uid))) uid += 1;
  await rename(paths.record, `${paths.record}.unreadable`).catch(() => undefined);
  return {
    instanceId,
    uid,
    tap: tapName(runPrefix, uid - uidBase),
    state: 'stopped',
    reason: recoveredReason,
    recovered: true,
    requirement: await requirementOf(uid),
    workflows: [],
  };
};
