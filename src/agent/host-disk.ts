/** The disk of this host: what its VMs hold of it, and whether one more fits. */
import type { VmRequirement } from '#contracts/host.ts';
import type { AgentConfig } from './config.ts';
import { hasDisk } from './disk.ts';
import { spareRoomBytes } from './limits.ts';
import { admitDisk, type DiskClaim, diskCapacityMib, type Room, roomOf, takenMib } from './room.ts';
import { SpareRoom } from './spare-room.ts';
import type { Vm } from './vm.ts';

type DiskConfig = Pick<AgentConfig, 'stateDir' | 'diskReserveMib' | 'capacity'>;

/** Throws `InsufficientInstanceCapacity` where the disk does not fit. */
export type DiskCheck = () => void;

export class HostDisk {
  readonly #config: DiskConfig;
  readonly spare: SpareRoom;

  constructor(config: DiskConfig) {
    this.#config = config;
    this.spare = new SpareRoom(config.stateDir, spareRoomBytes);
  }

  room(): Promise<Room> {
    return roomOf(this.#config.stateDir);
  }

  /** What all VMs may have together, as the file system is now. */
  async capacityMib(vms: readonly Vm[]): Promise<number> {
    const { diskReserveMib: reserveMib, capacity } = this.#config;
    const claims = await Promise.all(vms.map((vm) => claimOf(vm)));
    const { availableMib } = await this.room();
    return diskCapacityMib(claims, { availableMib, reserveMib, declaredMib: capacity.diskMib });
  }

  /**
   * Measures, and answers what decides without a wait: from the check to the claim nothing may come between. A VM that has its disk
   * needs no other, so that it starts on a full disk too.
   */
  async measure(vm: Vm | undefined, wanted: VmRequirement, all: () => readonly Vm[]): Promise<DiskCheck> {
    if (vm !== undefined && (await hasDisk(vm.paths))) return () => undefined;
    const taken = new Map<Vm, number>();
    for (const other of all()) taken.set(other, await takenMib(other.paths.disk));
    const { availableMib } = await this.room();
    return () =>
      admitDisk(wanted.rootDiskMib, {
        availableMib,
        reserveMib: this.#config.diskReserveMib,
        others: all()
          .filter((other) => other !== vm && claimsDisk(other))
          .map((other) => promiseOf(other, taken.get(other) ?? 0)),
      });
  }
}

/** One that failed before it ran is about to be destroyed. */
const claimsDisk = ({ record }: Vm): boolean => record.state !== 'absent' && record.state !== 'failed';

const promiseOf = ({ record }: Vm, taken: number): DiskClaim => ({
  promisedMib: record.requirement?.rootDiskMib ?? 0,
  takenMib: taken,
});

const claimOf = async (vm: Vm): Promise<DiskClaim> => promiseOf(vm, await takenMib(vm.paths.disk));
