/** Whether this host may take one more VM. Pure. */
import { PandoError } from '#contracts/errors.ts';
import type { VmRequirement, VmState } from '#contracts/host.ts';
import { overheadTypicalMib } from './limits.ts';

export interface Neighbour {
  readonly state: VmState;
  readonly requirement?: VmRequirement;
  /** What its VMM has in memory now. */
  readonly residentMib?: number;
}

export interface Load {
  /** The other VMs of this host. */
  readonly others: readonly Neighbour[];
  readonly capacityMib: number;
  /** What the machine really has free now. */
  readonly availableMib: number;
}

const usesMemory: Record<VmState, boolean> = {
  absent: false,
  preparing: true,
  incoming: true,
  running: true,
  paused: true,
  stopped: false,
  failed: false,
};

/** Memory that was promised to a VM and that it has not touched yet: free for now, but not to give away again. */
const untouchedMib = ({ requirement, residentMib = 0 }: Neighbour): number =>
  requirement === undefined ? 0 : Math.max(0, requirement.memoryMib + overheadTypicalMib - residentMib);

/** Throws `InsufficientInstanceCapacity` when the declared capacity or the machine's free memory would not do. */
export const admit = (wanted: VmRequirement, load: Load): void => {
  const users = load.others.filter(({ state }) => usesMemory[state]);
  const promisedMib = users.reduce((sum, { requirement }) => sum + (requirement?.memoryMib ?? 0), 0);
  if (promisedMib + wanted.memoryMib > load.capacityMib)
    throw new PandoError(
      'InsufficientInstanceCapacity',
      `The host has ${load.capacityMib - promisedMib} MiB of its ${load.capacityMib} MiB left; ${wanted.memoryMib} MiB are asked for.`,
    );
  const freeMib = load.availableMib - users.reduce((sum, user) => sum + untouchedMib(user), 0);
  if (wanted.memoryMib + overheadTypicalMib > freeMib)
    throw new PandoError(
      'InsufficientInstanceCapacity',
      `The machine has ${Math.floor(freeMib)} MiB free and not promised; ${wanted.memoryMib} MiB and the VMM's own are asked for.`,
    );
};
