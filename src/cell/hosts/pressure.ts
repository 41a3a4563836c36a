/** Hosts that report to be under pressure (S4.4): their slots are lowered while it lasts, so that new VMs go elsewhere. */
import type { ParsedParams } from '#base/rpc/contract.ts';
import type { HostPressure, hostEventsContract } from '#contracts/host.ts';
import { type AdverseKind, adverseKinds } from '#slots/adverse.ts';
import type { Capacity } from '../capacity/capacity.ts';
import type { Clock } from '../clock.ts';
import {
  diskBusyShareMax,
  ioStallShareMax,
  loadPerProcessorMax,
  memoryAvailablePartMin,
  memoryStallShareMax,
  networkShareMax,
  pressureEveryMs,
  stealShareMax,
  throttledShareMax,
} from '../limits.ts';

type Report = Pick<
  ParsedParams<typeof hostEventsContract, 'host.report'>,
  'hostId' | 'loadAverage1' | 'memoryAvailableMib' | 'pressure'
>;

/**
 * What a host's own figures say that it is short of. A disk that is busy all the time may still be quick: it is full once somebody also
 * waits for it. Pure.
 */
export const kindsOfPressure = (pressure: HostPressure | undefined): AdverseKind[] => {
  if (pressure === undefined) return [];
  const { stealShare = 0, throttledShare = 0, memoryStallShare = 0, networkShare = 0 } = pressure;
  const { diskBusyShare = 0, ioStallShare = diskBusyShare } = pressure;
  const short: Readonly<Partial<Record<AdverseKind, boolean>>> = {
    steal: stealShare > stealShareMax || throttledShare > throttledShareMax,
    'memory-pressure': memoryStallShare > memoryStallShareMax,
    disk: diskBusyShare > diskBusyShareMax && ioStallShare > ioStallShareMax,
    network: networkShare > networkShareMax,
  };
  return adverseKinds.filter((kind) => short[kind] === true);
};

export class PressureWatch {
  readonly #options: { readonly capacity: Capacity; readonly clock: Pick<Clock, 'monotonicMs'> };
  readonly #toldAt = new Map<string, number>();

  constructor(options: { readonly capacity: Capacity; readonly clock: Pick<Clock, 'monotonicMs'> }) {
    this.#options = options;
  }

  /** Counts pressure on a host, at most once a minute: it comes with every report while it lasts. */
  look(report: Report): void {
    const { capacity, clock } = this.#options;
    const kinds = this.#kindsOf(report);
    if (kinds.length === 0) return;
    const now = clock.monotonicMs();
    if (now - (this.#toldAt.get(report.hostId) ?? Number.NEGATIVE_INFINITY) < pressureEveryMs) return;
    this.#toldAt.set(report.hostId, now);
    for (const kind of kinds) capacity.adverse(report.hostId, kind);
  }

  forget(hostId: string): void {
    this.#toldAt.delete(hostId);
  }

  #kindsOf({ hostId, loadAverage1, memoryAvailableMib, pressure }: Report): AdverseKind[] {
    const row = this.#options.capacity.view.row(hostId);
    if (row === undefined) return [];
    const steal = loadAverage1 > loadPerProcessorMax * (row.capacity_vcpus_milli / 1_000);
    const memory = memoryAvailableMib < memoryAvailablePartMin * row.capacity_memory_mib;
    // A simulated host whose VMs take all that it has shows no memory: only what is used beyond what was promised is pressure.
    const promised = row.used_memory_mib >= row.capacity_memory_mib * (1 - memoryAvailablePartMin);
    const kinds = new Set(kindsOfPressure(pressure));
    if (steal) kinds.add('steal');
    if (memory && !promised) kinds.add('memory-pressure');
    return [...kinds];
  }
}
