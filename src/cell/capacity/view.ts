/**
 * What this processor believes of its cell's capacity: every host's vector and what runs there, in memory, so that a placement is
 * decided in microseconds. The store arbitrates each claim (store/claims.ts): a view that is behind costs a try, and never a promise.
 */
import { type Amount, clamped, minus, plus } from '#slots/amount.ts';
import { type Fitness, type HostFacts, SlotMap } from '#slots/slot-map.ts';
import type { CapacityRow, Occupants } from '../store/capacity.ts';
import type { HostCounters } from '../store/claims.ts';

const nobody: Occupants = { running: new Map(), accounts: new Set() };

export const usedOf = (row: HostCounters): Amount => ({
  vcpusMilli: row.used_vcpus_milli,
  memoryMib: row.used_memory_mib,
  diskMib: row.used_disk_mib,
  networkMbps: row.used_network_mbps,
});

interface InFlight {
  readonly amount: Amount;
  /** Of the host's row as the claim left it. */
  readonly epoch: number;
}

interface Known {
  row: CapacityRow;
  occupants: Occupants;
  /** Of claims whose transaction has not ended, as far as is known here, by their id. */
  readonly inFlight: Map<string, InFlight>;
  /** Something was committed here since `occupants` were read: the counters are known, who is there is not. */
  occupantsBehind: boolean;
  /** When `row` was last changed by a commit of this processor, in the clock of refreshes. */
  committedAt: number;
}

export class CapacityView {
  readonly slots: SlotMap;
  readonly #known = new Map<string, Known>();
  /** How many readings were taken over: who knows its own tells whether another came after it. */
  #readings = 0;

  constructor(fitness?: Fitness) {
    this.slots = new SlotMap(fitness);
  }

  get readings(): number {
    return this.#readings;
  }

  /** Hosts of which what runs there has changed since it was read. */
  changed(rows: readonly CapacityRow[]): string[] {
    return rows
      .filter((row) => {
        const known = this.#known.get(row.id);
        return known === undefined || known.occupantsBehind || !sameRow(known.row, row);
      })
      .map(({ id }) => id);
  }

  /**
   * Takes over what was read of all hosts. `readAt`: before the read began; what was committed here since, and was not seen by the reading, stays.
   * `occupants`: of those that had changed, what is there. Answers which reading it is.
   */
  refresh(rows: readonly CapacityRow[], readAt: number, occupants: ReadonlyMap<string, Occupants>): number {
    const seen = new Set<string>();
    for (const row of rows) {
      seen.add(row.id);
      const known = this.#known.get(row.id);
      const there = occupants.get(row.id) ?? known?.occupants ?? nobody;
      if (known === undefined) {
        this.#known.set(row.id, {
          row,
          occupants: there,
          inFlight: new Map(),
          occupantsBehind: false,
          committedAt: Number.NEGATIVE_INFINITY,
        });
        this.#put(row.id);
        continue;
      }
      // A reading with a later epoch has seen that commit, whatever the clocks of both say.
      if (known.committedAt >= readAt && row.epoch < known.row.epoch) continue;
      const same = sameRow(known.row, row) && there === known.occupants;
      known.row = row;
      known.occupants = there;
      if (occupants.has(row.id)) known.occupantsBehind = false;
      if (!same) this.#put(row.id);
    }
    for (const id of this.#known.keys()) if (!seen.has(id)) this.#forget(id);
    return ++this.#readings;
  }

  /** A claim that is being made, and left the host with these counters: it counts until its transaction has ended. */
  begin(claimId: string, { id, epoch }: HostCounters, amount: Amount): void {
    const known = this.#known.get(id);
    if (known === undefined) return;
    known.inFlight.set(claimId, { amount, epoch });
    this.#put(id);
  }

  /** It was rolled back, or nobody knows: then the next refresh does. */
  abandon(claimId: string, hostId: string): void {
    const known = this.#known.get(hostId);
    if (known?.inFlight.delete(claimId)) this.#put(hostId);
  }

  /** It was committed, and left the host with these counters. */
  commit(claimId: string, counters: HostCounters, at: number): void {
    const known = this.#known.get(counters.id);
    if (known === undefined) return;
    known.inFlight.delete(claimId);
    // Of several commits the last one's counters stand, in whatever order their answers come.
    if (counters.epoch > known.row.epoch) known.row = { ...known.row, ...counters };
    known.committedAt = at;
    known.occupantsBehind = true;
    this.#put(counters.id);
  }

  rows(): CapacityRow[] {
    return [...this.#known.values()].map(({ row }) => row);
  }

  row(hostId: string): CapacityRow | undefined {
    return this.#known.get(hostId)?.row;
  }

  #forget(hostId: string): void {
    this.#known.delete(hostId);
    this.slots.delete(hostId);
  }

  #put(hostId: string): void {
    const known = this.#known.get(hostId);
    if (known !== undefined) this.slots.set(factsOf(known));
  }
}

const compared = [
  ...([
    'epoch',
    'open',
    'accelerator',
    'zone',
    'rack',
    'dedicated_to',
    'limit_vcpus_milli',
    'limit_memory_mib',
    'limit_network_mbps',
  ] as const),
  ...(['capacity_vcpus_milli', 'capacity_memory_mib', 'capacity_disk_mib'] as const),
  ...(['used_vcpus_milli', 'used_memory_mib', 'used_disk_mib', 'used_network_mbps'] as const),
];

/** Not by the epoch alone: in a store that has lost its last commits, an epoch comes a second time with other counters. */
const sameRow = (a: CapacityRow, b: CapacityRow): boolean =>
  compared.every((column) => a[column] === b[column]) && a.capabilities.join() === b.capabilities.join();

const factsOf = ({ row, occupants, inFlight }: Known): HostFacts => {
  let used = usedOf(row);
  // A row of that epoch or a later one has it: its commit may be read before it is answered. Or the epoch is another's, who came after its end.
  for (const { amount, epoch } of inFlight.values()) if (epoch > row.epoch) used = plus(used, amount);
  return {
    hostId: row.id,
    limit: limitOf(row),
    used,
    realVcpusMilli: row.capacity_vcpus_milli,
    open: row.open,
    hostClass: `${row.accelerator}/${row.capacity_vcpus_milli}m/${row.capacity_memory_mib}`,
    capabilities: new Set([row.accelerator, ...row.capabilities]),
    ...occupants,
    ...(row.rack === null ? {} : { rack: row.rack }),
    ...(row.dedicated_to === null ? {} : { dedicatedTo: row.dedicated_to }),
  };
};

export const limitOf = (row: CapacityRow): Amount => ({
  vcpusMilli: row.limit_vcpus_milli,
  memoryMib: row.limit_memory_mib,
  diskMib: row.capacity_disk_mib,
  networkMbps: row.limit_network_mbps ?? Number.POSITIVE_INFINITY,
});

/** What is free of a row; no part below nothing. */
export const freeOf = (row: CapacityRow): Amount => clamped(minus(limitOf(row), usedOf(row)));
