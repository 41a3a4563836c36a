/**
 * What keeps reservations true by itself: those whose end has come end; claims of ended ones are released or forget them; one that lacks
 * slots, or has some on hosts that take no VMs, gets others where there is room.
 */
import * as limits from '../limits.ts';
import type { CellServices } from '../services.ts';
import { nameReservation } from '../store/claims.ts';
import { purgeDedicatedHosts } from '../store/dedicated-hosts.ts';
import { lockHosts } from '../store/hosts.ts';
import { lockInstances } from '../store/instances.ts';
import {
  countSlots,
  freeSlots,
  listDue,
  listOrphans,
  listUnsettled,
  lockReservation,
  purgeReservations,
  releaseSlots,
  slotsAstray,
  whatIsReserved,
} from '../store/reservations.ts';
import { addSlots, end } from './reserving.ts';

const silenceSeconds = limits.hostSilenceMsMax / 1000;

export class ReservationUpkeep {
  readonly #services: CellServices;

  constructor(services: CellServices) {
    this.#services = services;
  }

  async turn(): Promise<void> {
    const { active, orphans } = await whatIsReserved(this.#services.db);
    if (active) await this.#expire();
    // What has ended just now leaves orphans.
    if (active || orphans) await this.#forget();
    if (active) await this.#settle();
  }

  async purge(): Promise<void> {
    const { db, clock } = this.#services;
    const before = new Date(clock.now() - limits.reservationsKeptMs);
    await purgeReservations(db, before, limits.purgeBatchMax);
    await purgeDedicatedHosts(db, before, limits.purgeBatchMax);
  }

  async #expire(): Promise<void> {
    const { db, log } = this.#services;
    for (const { id } of await listDue(db, limits.reservationsPerTurnMax)) {
      await db.transaction(async (tx) => {
        const row = await lockReservation(tx, id);
        // Its end may have been moved since.
        const due =
          row !== undefined &&
          (await listDue(tx, limits.reservationsPerTurnMax)).some((one) => one.id === id);
        if (due) await end(tx, id, 'expired');
      });
      log.info({ reservation: id }, 'a capacity reservation has expired');
    }
  }

  async #forget(): Promise<void> {
    const { db } = this.#services;
    for (const { id, purpose, holder } of await listOrphans(db, limits.reservationsPerTurnMax))
      await db.transaction(async (tx) => {
        if (purpose !== 'instance') return releaseSlots(tx, [{ id }]);
        // The claim of an instance has one writer: who has its row.
        await lockInstances(tx, undefined, [holder]);
        await nameReservation(tx, [id], null);
      });
  }

  async #settle(): Promise<void> {
    const { db, capacity, log } = this.#services;
    for (const { id } of await listUnsettled(db, silenceSeconds, limits.reservationsPerTurnMax)) {
      const made = await capacity.transaction(async (tx, placing) => {
        const row = await lockReservation(tx, id);
        if (row?.state !== 'active') return 0;
        const { free = 0, used = 0 } = (await countSlots(tx, [id])).get(id) ?? {};
        const beyond = free + used - row.total;
        const spare = beyond > 0 ? (await freeSlots(tx, [id])).slice(0, beyond) : [];
        const astray = await slotsAstray(tx, id, silenceSeconds);
        await lockHosts(tx, [...new Set([...spare, ...astray].map((slot) => slot.host_id))].toSorted());
        await releaseSlots(tx, spare);
        const lacking = Math.max(0, -beyond);
        const more = await addSlots(tx, placing, row, lacking + astray.length);
        // A slot that takes no VM just now is kept until another one stands in for it.
        await releaseSlots(tx, astray.slice(0, Math.max(0, more - lacking)));
        return more;
      });
      if (made > 0) log.info({ reservation: id, made }, 'slots of a capacity reservation have moved');
    }
  }
}
