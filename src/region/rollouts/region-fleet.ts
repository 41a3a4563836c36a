/**
 * The devices of a region: the cards of every cell's hosts, and the gateway. A cell that is away still has its cards: which ones is kept in
 * rows, and only the cell's own word takes one away.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import type { Logger } from '#base/log.ts';
import type { NetworkDevice } from '#contracts/network-objects.ts';
import type { FleetDevice } from '#rollout/waves.ts';
import type { CellDevice, GatewayDevice } from '../devices.ts';
import type { Database } from '../schema.ts';
import type { Fleet } from './fleet.ts';

export interface RegionFleetOptions {
  readonly db: Database;
  readonly cells: ReadonlyMap<string, CellDevice>;
  readonly gateway: GatewayDevice;
  readonly log: Logger;
  readonly everyMs?: number;
}

const everyMsDefault = 1_000;

interface Row {
  device_id: string;
  cell_id: string | null;
  zone: string | null;
}

export class RegionFleet implements Fleet {
  readonly #options: RegionFleetOptions;
  readonly #stop = new AbortController();
  readonly #devices = new Map<string, FleetDevice>();
  readonly #connected = new Set<string>();
  #list: readonly FleetDevice[] | undefined;
  #loop: Promise<void> | undefined;

  constructor(options: RegionFleetOptions) {
    this.#options = options;
  }

  /** Reads what was known, then asks the cells every so often. */
  async start(): Promise<void> {
    await this.refresh();
    this.#loop = this.#run();
  }

  /** Takes in what other processes of the region have written down. */
  async refresh(): Promise<void> {
    const { rows } = await sql<Row>`select device_id, cell_id, zone from fleet_device`.execute(
      this.#options.db,
    );
    for (const { device_id: id, cell_id, zone } of rows)
      if (!this.#devices.has(id)) {
        this.#devices.set(id, { id, cell: cell_id ?? undefined, zone: zone ?? undefined });
        this.#list = undefined;
      }
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  devices(): readonly FleetDevice[] {
    this.#list ??= [...this.#devices.values()];
    return this.#list;
  }

  reachable(deviceId: string): boolean {
    return this.#connected.has(deviceId);
  }

  device(deviceId: string): NetworkDevice | undefined {
    const known = this.#devices.get(deviceId);
    if (known === undefined) return undefined;
    if (known.cell === undefined) return this.#options.gateway.device(deviceId);
    return this.#options.cells.get(known.cell)?.device(deviceId);
  }

  async #run(): Promise<void> {
    const { log, everyMs = everyMsDefault } = this.#options;
    while (!this.#stop.signal.aborted) {
      await this.#look().catch((err: unknown) =>
        log.warn({ err }, 'the devices of the region were not looked at'),
      );
      await delay(everyMs, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined);
    }
  }

  async #look(): Promise<void> {
    const { cells, gateway } = this.#options;
    await Promise.all([...cells.values()].map((cell) => this.#lookAt(cell)));
    const vtep = await this.#gatewayVtep();
    if (vtep === undefined) return;
    const id = `gateway/${vtep}`;
    await this.#keep([{ id, cell: undefined, zone: undefined }], (device) => device.cell === undefined);
    this.#mark(id, gateway.isReached);
  }

  /** A cell that does not answer has the devices that it had; none of them can be reached. */
  async #lookAt(cell: CellDevice): Promise<void> {
    const isOfCell = (device: FleetDevice): boolean => device.cell === cell.cellId;
    const told = cell.isReached ? await cell.devices().catch(() => undefined) : undefined;
    if (told === undefined) {
      for (const device of this.#devices.values()) if (isOfCell(device)) this.#connected.delete(device.id);
      return;
    }
    const { zone } = told;
    await this.#keep(
      told.devices.map(({ deviceId }) => ({ id: deviceId, cell: cell.cellId, zone })),
      isOfCell,
    );
    for (const { deviceId, connected } of told.devices) this.#mark(deviceId, connected);
  }

  #mark(deviceId: string, connected: boolean): void {
    if (connected) this.#connected.add(deviceId);
    else this.#connected.delete(deviceId);
  }

  /** Those of `among` are these now; written down where that is new. */
  async #keep(now: readonly FleetDevice[], among: (device: FleetDevice) => boolean): Promise<void> {
    const ids = new Set(now.map(({ id }) => id));
    const added = now.filter(({ id }) => !this.#devices.has(id));
    const gone = [...this.#devices.values()].filter((device) => among(device) && !ids.has(device.id));
    if (added.length + gone.length === 0) return;
    const { db } = this.#options;
    for (const { id, cell, zone } of added)
      await sql`insert into fleet_device (device_id, cell_id, zone) values (${id}, ${cell ?? null}, ${zone ?? null})
        on conflict (device_id) do update set cell_id = excluded.cell_id, zone = excluded.zone`.execute(db);
    await sql`delete from fleet_device where device_id = any(${gone.map(({ id }) => id)})`.execute(db);
    for (const device of added) this.#devices.set(device.id, device);
    for (const { id } of gone) {
      this.#devices.delete(id);
      this.#connected.delete(id);
    }
    this.#list = undefined;
  }

  async #gatewayVtep(): Promise<string | undefined> {
    const { rows } = await sql<{ vtep: string }>`select vtep from gateway_device`.execute(this.#options.db);
    return rows[0]?.vtep;
  }
}
