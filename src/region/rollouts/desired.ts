/** What each device should have by now, in memory of the engine that alone changes it; rows are its form at rest. */
import type { DeviceRecord, RolloutRecord } from '#rollout/record.ts';
import { type Desired, objectKey, sayOf } from '#rollout/schedule.ts';
import type { DesiredRow } from './store.ts';

const settled: ReadonlySet<string> = new Set(['confirmed', 'reverted']);

export class DesiredBook implements Desired {
  readonly #rows = new Map<string, Map<string, DesiredRow>>();
  readonly #owing = new Set<string>();

  constructor(rows: readonly DesiredRow[]) {
    for (const row of rows) this.set(row);
  }

  digest(deviceId: string, key: string): string | undefined {
    return this.#rows.get(deviceId)?.get(key)?.digest ?? undefined;
  }

  owed(deviceId: string, key: string): boolean {
    return this.#rows.get(deviceId)?.get(key)?.owed ?? false;
  }

  of(deviceId: string): DesiredRow[] {
    return [...(this.#rows.get(deviceId)?.values() ?? [])];
  }

  /** Whether anything is known that it should have. */
  has(deviceId: string): boolean {
    return this.#rows.has(deviceId);
  }

  /** Devices that are not known to have what they should. */
  owing(): Iterable<string> {
    return this.#owing;
  }

  set(row: DesiredRow): void {
    const rows = this.#rows.get(row.device_id) ?? new Map<string, DesiredRow>();
    this.#rows.set(row.device_id, rows);
    rows.set(objectKey(row), row);
    if ([...rows.values()].some(({ owed }) => owed)) this.#owing.add(row.device_id);
    else this.#owing.delete(row.device_id);
  }
}

/** What a rollout's devices should have by now; only rows that change. */
export const rowsOf = (
  record: RolloutRecord,
  devices: Iterable<DeviceRecord>,
  book: DesiredBook,
): DesiredRow[] => {
  const rows: DesiredRow[] = [];
  for (const device of devices) {
    const say = sayOf(record, device);
    if (say !== 'first' && say !== 'second') continue;
    for (const transition of record.transitions) {
      const digest = (say === 'first' ? transition.from : transition.to)?.digest ?? null;
      const key = objectKey(transition);
      const owed = !settled.has(device.state);
      const same = (book.digest(device.deviceId, key) ?? null) === digest;
      if (same && book.owed(device.deviceId, key) === owed) continue;
      rows.push({ device_id: device.deviceId, kind: transition.kind, id: transition.id, digest, owed });
    }
  }
  return rows;
};
