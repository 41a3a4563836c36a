/** Whether this host may take one more VM. Pure. */
import { PandoError } from '#contracts/errors.ts';
import type { VmRequirement, VmState } from '#contracts/host.ts';
import { overheadTypicalMib } from './limits.ts';

export interface Load {
  /** The other VMs of this host. */
  readonly others: readonly { state: VmState; requirement?: VmRequirement }[];
  readonly capacityMib: number;
  /** What the machine really has free now. */
  readonly availableMib: number;
}

const holdsMemory: Record<VmState, boolean> = {
  absent: false,
  preparing: true,
  incoming: true,
  running: true,
  paused: true,
  stopped: false,
  failed: false,
};

/** Throws `InsufficientInstanceCapacity` when the declared capacity or the machine's free memory would not do. */
export const admit = (wanted: VmRequirement, load: Load): void => {
  const held = load.others
    .filter(({ state }) => holdsMemory[state])
    .reduce((sum, { requirement }) => sum + (requirement?.memoryMib ?? 0), 0);
  if (held + wanted.memoryMib > load.capacityMib)
    throw new PandoError(
      'InsufficientInstanceCapacity',
      `The host has ${load.capacityMib - held} MiB of its ${load.capacityMib} MiB left; ${wanted.memoryMib} MiB are asked for.`,
    );
  if (wanted.memoryMib + overheadTypicalMib > load.availableMib)
    throw new PandoError(
      'InsufficientInstanceCapacity',
      `The machine has ${Math.floor(load.availableMib)} MiB free; ${wanted.memoryMib} MiB and the VMM's own are asked for.`,
    );
};
