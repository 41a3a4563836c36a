/**
 * Devices that return get what they should have *by now* (S8.5): not what they missed. Level-triggered: whoever is owed something, or has
 * just come back, is asked what it has, and brought from there to what it should have. What was changed by hand is told and left alone.
 */
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import type { NetworkDevice, ObjectChange } from '#contracts/network-objects.ts';
import type { AuditRecord } from '#rollout/record.ts';
import type { Database } from '../schema.ts';
import type { DesiredBook } from './desired.ts';
import { type Fence, outcomeOf } from './device-orders.ts';
import type { Fleet } from './fleet.ts';
import { type DesiredRow, objectByDigest, writeAudits } from './store.ts';

const atOnceMax = 16;
const retryMs = 2_000;
/** A look at who is there takes one part in so many of the time: a large fleet is gone through less often. */
const restPerLook = 20;

export interface ReconciliationOptions {
  readonly db: Database;
  readonly fleet: Fleet;
  readonly log: Logger;
  readonly desired: DesiredBook;
  nextFence(): Fence;
  now(): number;
  write(rows: readonly DesiredRow[]): Promise<void>;
}

export class Reconciliation {
  readonly #options: ReconciliationOptions;
  /** Devices that could be reached at the last look: one that was not, and is now, has come back. */
  #reached = new Set<string>();
  #nextLookMs = 0;
  readonly #due = new Set<string>();
  readonly #working = new Set<string>();
  readonly #notBefore = new Map<string, number>();

  constructor(options: ReconciliationOptions) {
    this.#options = options;
  }

  /** `isBusy`: a rollout is at the device. */
  async look(isBusy: (deviceId: string) => boolean): Promise<void> {
    const { fleet, desired, now } = this.#options;
    const beganMs = monotonicMs();
    if (beganMs >= this.#nextLookMs) {
      this.#lookWhoIsThere();
      this.#nextLookMs = monotonicMs() + restPerLook * (monotonicMs() - beganMs);
    }
    for (const id of desired.owing()) if (!isBusy(id)) this.#due.add(id);
    for (const id of this.#due) {
      if (this.#working.size >= atOnceMax) break;
      const waits = (this.#notBefore.get(id) ?? 0) > now();
      if (!fleet.reachable(id) || isBusy(id) || this.#working.has(id) || waits) continue;
      this.#due.delete(id);
      this.#working.add(id);
      void this.#bring(id).finally(() => this.#working.delete(id));
    }
  }

  #lookWhoIsThere(): void {
    const { fleet, desired } = this.#options;
    const reached = new Set<string>();
    for (const { id } of fleet.devices()) if (fleet.reachable(id)) reached.add(id);
    for (const id of reached) if (!this.#reached.has(id) && desired.has(id)) this.#due.add(id);
    this.#reached = reached;
  }

  async #bring(deviceId: string): Promise<void> {
    const { fleet, desired, log } = this.#options;
    const device = fleet.device(deviceId);
    if (device === undefined) return;
    try {
      const { objects } = await device.objects();
      for (const row of desired.of(deviceId)) {
        const has =
          objects.find(({ kind, id }) => kind === row.kind && id === row.id)?.current?.digest ?? null;
        if (has === row.digest || (await this.#change(device, row, has))) await this.#has(row);
      }
    } catch (error) {
      this.#notBefore.set(deviceId, this.#options.now() + retryMs);
      log.debug({ err: error, deviceId }, 'rollouts: a device was not brought to what it should have');
    }
  }

  /** Whether it has it now. */
  async #change(device: NetworkDevice, row: DesiredRow, has: string | null): Promise<boolean> {
    const { db, nextFence } = this.#options;
    const { kind, id } = row;
    const known = has === null || (await objectByDigest(db, { kind, id, digest: has })) !== undefined;
    const to = row.digest === null ? undefined : await objectByDigest(db, { kind, id, digest: row.digest });
    if (!known) {
      await this.#tell(device.deviceId, row, has, 'drift', 'it has what nobody rolled out: left as it is');
      return false;
    }
    const change: ObjectChange = { kind, id, from: has, ...(to !== undefined && { to }) };
    try {
      await device.transact({ objects: [change], places: [], fence: nextFence() });
    } catch (error) {
      const outcome = outcomeOf(error);
      if (outcome.kind === 'lost') throw error;
      await this.#tell(device.deviceId, row, has, outcome.kind, 'detail' in outcome ? outcome.detail : '');
      return false;
    }
    await this.#tell(device.deviceId, row, has, 'reconciled', undefined);
    return true;
  }

  async #has(row: DesiredRow): Promise<void> {
    if (row.owed) await this.#options.write([{ ...row, owed: false }]);
  }

  async #tell(
    deviceId: string,
    { kind, id, digest }: DesiredRow,
    has: string | null,
    to: string,
    detail: string | undefined,
  ): Promise<void> {
    const { db, log, now } = this.#options;
    this.#notBefore.set(deviceId, now() + retryMs);
    const what = `${kind}/${id}`;
    const audit: AuditRecord = {
      ...{ atMs: now(), who: 'reconciliation', deviceId, what, from: has ?? 'none', to },
      detail: [digest === null ? 'to none' : `to ${digest}`, detail].filter(Boolean).join(': '),
    };
    await writeAudits(db, 'reconciliation', [audit]);
    if (to !== 'reconciled')
      log.error({ alarm: 'device-drift', deviceId, what, has, detail }, 'a device is not what it should be');
  }
}
