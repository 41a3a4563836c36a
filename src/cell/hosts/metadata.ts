/**
 * What guests read of the metadata service follows their rows, also while they run: options, tags, names of groups, and credentials,
 * which are renewed long before they expire. Level-triggered: a
 * row says that its host is behind (`metadata_due`), any processor tells the host what the row is then, and clears the mark if it is
 * still that one. Woken by the request that made a change, and by a timer.
 */
import { PandoError } from '#contracts/errors.ts';
import { newCellId } from '#contracts/ids.ts';
import { generationOf } from '../generation.ts';
import {
  credentialsRenewedAfterMs,
  metadataRefreshesAtOnceMax,
  metadataRefreshesPerTurnMax,
  metadataRetryMsMax,
  metadataRetryMsMin,
} from '../limits.ts';
import type { CellServices } from '../services.ts';
import { clearMetadataDue, type InstanceRow, listMetadataDue } from '../store/instances.ts';
import { allocationOf, metadataOf } from '../workflows/steps/network.ts';

interface Delay {
  readonly ms: number;
  readonly untilMs: number;
}

export class MetadataRefresh {
  readonly #services: CellServices;
  /** Instances that could not be told, and when they are tried again. */
  readonly #delays = new Map<string, Delay>();
  #turn: Promise<void> | undefined;
  #again = false;

  constructor(services: CellServices) {
    this.#services = services;
  }

  /** There may be something to tell: soon, after what is being told now. */
  hint(): void {
    setImmediate(() => {
      this.turn().catch((error: unknown) =>
        this.#services.log.warn({ err: error }, 'guests’ metadata was not refreshed: it is tried again'),
      );
    });
  }

  /** One at a time; asked meanwhile, another follows. */
  turn(): Promise<void> {
    this.#again = this.#turn !== undefined;
    this.#turn ??= this.#run().finally(() => {
      this.#turn = undefined;
      if (this.#again) this.hint();
    });
    return this.#turn;
  }

  async #run(): Promise<void> {
    const { db, clock } = this.#services;
    const now = clock.monotonicMs();
    // Those that wait are not read: many whose host is away would fill every turn, and others would never have theirs.
    const except = [...this.#delays].filter(([, { untilMs }]) => untilMs > now).map(([id]) => id);
    const rows = await listMetadataDue(db, {
      now: new Date(clock.now()),
      except,
      limit: metadataRefreshesPerTurnMax,
    });
    const known = new Set([...except, ...rows.map(({ id }) => id)]);
    for (const id of this.#delays.keys()) if (!known.has(id)) this.#delays.delete(id);
    for (let at = 0; at < rows.length; at += metadataRefreshesAtOnceMax)
      await Promise.all(rows.slice(at, at + metadataRefreshesAtOnceMax).map((row) => this.#tellOrWait(row)));
  }

  async #tellOrWait(row: InstanceRow): Promise<void> {
    const { log, clock } = this.#services;
    try {
      await this.#tell(row);
      this.#delays.delete(row.id);
    } catch (error) {
      const before = this.#delays.get(row.id);
      const ms = before === undefined ? metadataRetryMsMin : Math.min(2 * before.ms, metadataRetryMsMax);
      this.#delays.set(row.id, { ms, untilMs: clock.monotonicMs() + ms });
      const { code } = PandoError.from(error);
      // Once: what is away is waited for.
      if (before === undefined)
        log.warn({ instance: row.id, host: row.host_id, code, err: error }, 'a guest’s metadata is behind');
    }
  }

  async #tell(row: InstanceRow): Promise<void> {
    const { db, hosts, identity, clock } = this.#services;
    if (row.state === 'running' && row.host_id !== null) {
      if (!hosts.has(row.host_id))
        throw new PandoError('HostUnreachable', `Host ${row.host_id} is not connected to this processor.`);
      const allocated = await allocationOf(this.#services, row);
      // A reboot's rule: under the generation as it is, taking nothing. A command of its own each time, so no record answers for it.
      const workflowId = newCellId('workflow', identity.cellNumber);
      const generation = generationOf(row.place_epoch);
      await hosts.call(row.host_id, 'vm.updateMetadata', {
        command: { workflowId, step: 'metadata', epoch: 1, generation },
        instanceId: row.id,
        metadata: metadataOf(this.#services, row, allocated),
        revision: row.version,
      });
    }
    // Of a stopped one it goes on as well: what a start gives then lasts longer than until the next time.
    const renewed = row.spec.instanceProfile !== undefined && row.state !== 'terminated';
    await clearMetadataDue(db, row, renewed ? new Date(clock.now() + credentialsRenewedAfterMs) : null);
  }
}
