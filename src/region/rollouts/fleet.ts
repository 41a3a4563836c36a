/** The devices of the region as rollouts see them. */
import type { NetworkDevice } from '#contracts/network-objects.ts';
import type { FleetDevice } from '#rollout/waves.ts';

export interface Fleet {
  /** Every device there is, whether or not it can be reached. Asked often: answered from memory. */
  devices(): readonly FleetDevice[];
  /** Devices that another process of the region knows are known here then too. Absent: there is no other. */
  refresh?(): Promise<void>;
  reachable(deviceId: string): boolean;
  /** undefined: there is no such device. */
  device(deviceId: string): NetworkDevice | undefined;
}

/** Nobody is there yet. */
export const emptyFleet: Fleet = { devices: () => [], reachable: () => false, device: () => undefined };
