/** The devices of one rollout: their records, how many stand where, and what has changed since it was last written down. */
import type { AuditRecord, DeviceRecord, DeviceState } from './record.ts';

/** Devices in these may still be told to apply. */
const openStates: ReadonlySet<DeviceState> = new Set(['planned', 'away', 'commanded']);

export class DeviceBook {
  readonly #records = new Map<string, DeviceRecord>();
  readonly #byWave: DeviceRecord[][] = [];
  readonly #counts: Map<DeviceState, number>[] = [];
  readonly #open: Set<DeviceRecord>[] = [];
  readonly #applied = new Set<DeviceRecord>();
  readonly #dirty = new Set<DeviceRecord>();
  #audits: AuditRecord[] = [];
  readonly #who: string;
  #touches: number;

  constructor(records: readonly DeviceRecord[], who: string) {
    this.#who = who;
    this.#touches = records.reduce((most, { touched = 0 }) => Math.max(most, touched), 0);
    for (const record of [...records].sort((a, b) => a.position - b.position)) {
      this.#records.set(record.deviceId, record);
      listOf(this.#byWave, record.wave, () => []).push(record);
      this.#count(record.wave, record.state, 1);
      this.#file(record);
    }
  }

  get size(): number {
    return this.#records.size;
  }

  get(deviceId: string): DeviceRecord | undefined {
    return this.#records.get(deviceId);
  }

  all(): Iterable<DeviceRecord> {
    return this.#records.values();
  }

  wave(wave: number): readonly DeviceRecord[] {
    return this.#byWave[wave] ?? [];
  }

  /** Those of a wave that may still be told to apply; grows shorter while it is gone through. */
  open(wave: number): ReadonlySet<DeviceRecord> {
    return listOf(this.#open, wave, () => new Set());
  }

  /** Those that have applied and were not told yet that it stays. */
  get applied(): ReadonlySet<DeviceRecord> {
    return this.#applied;
  }

  /** How many of a wave (of all: undefined) stand in one of these states. */
  count(wave: number | undefined, states: readonly DeviceState[]): number {
    const tables = wave === undefined ? this.#counts : [this.#counts[wave]];
    return tables.reduce(
      (sum, table) => sum + states.reduce((part, state) => part + (table?.get(state) ?? 0), 0),
      0,
    );
  }

  /** A transition of one device: counted, to be written, and audited. */
  move(record: DeviceRecord, state: DeviceState, nowMs: number, detail?: string): void {
    this.audit({
      atMs: nowMs,
      deviceId: record.deviceId,
      what: 'device',
      from: record.state,
      to: state,
      detail,
    });
    this.#count(record.wave, record.state, -1);
    this.#count(record.wave, state, 1);
    record.state = state;
    record.detail = detail;
    record.changedMs = nowMs;
    this.#file(record);
    this.#dirty.add(record);
  }

  /** From here on the device may be in the second state. */
  touch(record: DeviceRecord): void {
    record.touched ??= ++this.#touches;
    this.#dirty.add(record);
  }

  tried(record: DeviceRecord, tries: number): void {
    record.tries = tries;
    this.#dirty.add(record);
  }

  /** Those that were touched, the latest first. */
  touchedLatestFirst(): DeviceRecord[] {
    return [...this.#records.values()]
      .filter(({ touched }) => touched !== undefined)
      .sort((a, b) => (b.touched ?? 0) - (a.touched ?? 0));
  }

  audit(record: Omit<AuditRecord, 'who'> & { readonly who?: string }): void {
    this.#audits.push({ who: this.#who, ...record });
  }

  /** What is to be written; asked for once. */
  drain(): { devices: DeviceRecord[]; audits: AuditRecord[] } {
    const drained = { devices: [...this.#dirty].map((record) => ({ ...record })), audits: this.#audits };
    this.#dirty.clear();
    this.#audits = [];
    return drained;
  }

  /** Lists of the few that there is something to do about: a fleet is not gone through for each answer. */
  #file(record: DeviceRecord): void {
    const open = listOf(this.#open, record.wave, () => new Set());
    if (openStates.has(record.state)) open.add(record);
    else open.delete(record);
    if (record.state === 'applied') this.#applied.add(record);
    else this.#applied.delete(record);
  }

  #count(wave: number, state: DeviceState, by: number): void {
    const table = listOf(this.#counts, wave, () => new Map());
    table.set(state, (table.get(state) ?? 0) + by);
  }
}

const listOf = <T>(lists: T[], at: number, make: () => T): T => {
  const made = lists[at] ?? make();
  lists[at] = made;
  return made;
};
