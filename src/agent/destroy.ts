/** Leaves nothing of a VM (S1.12). May be interrupted anywhere and repeated: the record goes last. */

import { releaseNetwork } from './network.ts';
import { identifyProcess, killProcess, processesOfUid } from './process.ts';
import type { Vm } from './vm.ts';

export const destroyVm = async (vm: Vm): Promise<void> => {
  const { record, context } = vm;
  await vm.kill();
  await killStrays(vm);
  await context.cgroups.remove(record.instanceId);
  await context.fence.set(record.uid, undefined);
  await releaseNetwork(vm);
  // No record is written behind the removal.
  vm.removed = true;
  try {
    await context.store.remove(record.instanceId);
  } catch (error) {
    // It is still there: who asks again must not be told that it is gone.
    vm.removed = false;
    throw error;
  }
};

/** A VMM that was started but not written down before a crash is found by its group or by its uid. */
export const killStrays = async (vm: Vm): Promise<void> => {
  const { instanceId, uid } = vm.record;
  for (const pid of await vm.context.cgroups.processes(instanceId)) {
    const identity = await identifyProcess(pid);
    if (identity !== undefined) await killProcess(identity);
  }
  for (const identity of await processesOfUid(uid)) await killProcess(identity);
};
