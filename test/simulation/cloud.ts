/** The processes of a region, each put together as its `main.ts` does it, in a world of virtual time. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Logger, loggerTo } from '#base/log.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { type Cell, createCell } from '#cell/cell.ts';
import { listen } from '#cell/listener.ts';
import { openRegionLink } from '#cell/region-link.ts';
import type { CellSchema } from '#cell/store/sql.ts';
import { regionConfig } from '#region/config.ts';
import { openRegion, type Region } from '#region/region.ts';
import { serveRegion } from '#region/server.ts';
import { routerConfig } from '#router/config.ts';
import { startRouter } from '#router/router.ts';
import { SimWorld } from '#simhost/world.ts';
import { type HostMachine, startAgent } from './agents.ts';
import type { Certificates } from './certificates.ts';
import type { Network } from './network.ts';
import { Obedience } from './obedience.ts';
import { randomOf } from './random.ts';
import * as names from './shape.ts';
import type { SimStore } from './store.ts';
import type { SimProcess, World } from './world.ts';

const publicPool = { cidr: '198.19.0.0/24', first: '198.19.0.16', last: '198.19.0.250' };
const restMs = 2_000;
const storeRetryMs = 500;
const oversubscription = { vcpus: 4, memory: 1 };

export interface LoggedLine {
  readonly process: string;
  readonly level: number;
  readonly message: string;
  readonly line: string;
}

export interface CloudParts {
  readonly world: World;
  readonly network: Network;
  readonly stores: ReadonlyMap<string, SimStore>;
  readonly certificates: Certificates;
  readonly shape: names.Shape;
  /** For files that a process reads at its start. */
  readonly directory: string;
}

export class Cloud {
  readonly parts: CloudParts;
  readonly guests = new SimWorld();
  readonly obedience = new Obedience();
  readonly processes = new Map<string, SimProcess>();
  readonly machines = new Map<string, HostMachine>();
  /** Lines of warnings and worse. */
  readonly logged: LoggedLine[] = [];
  /** The region's own object, of its present life. */
  region: Region | undefined;
  readonly cells = new Map<string, Cell>();

  constructor(parts: CloudParts) {
    this.parts = parts;
  }

  get world(): World {
    return this.parts.world;
  }

  /** Starts whatever has that name; a life that it has is over. */
  start(name: string): void {
    const former = this.processes.get(name);
    if (former !== undefined) this.world.kill(former);
    const store = this.parts.stores.get(name);
    if (store !== undefined) {
      store.start();
      if (store.process !== undefined) this.processes.set(name, store.process);
      return;
    }
    const process = this.world.process(name);
    process.wallAheadMs = former?.wallAheadMs ?? 0;
    this.processes.set(name, process);
    const main = this.#mainOf(name);
    this.world.after(process, 0, () => {
      main(process).catch((error: unknown) => this.world.failed(process, error));
    });
  }

  kill(name: string): void {
    const process = this.processes.get(name);
    if (process !== undefined) this.world.kill(process);
  }

  isUp(name: string): boolean {
    return this.processes.get(name)?.state === 'running';
  }

  startAll(): void {
    for (const name of names.processNames(this.parts.shape)) if (!this.isUp(name)) this.start(name);
  }

  #mainOf(name: string): (process: SimProcess) => Promise<unknown> {
    if (name === names.regionProcess) return () => this.#runRegion();
    const [, cell, kind, number] = /^c(\d+)-([ph])(\d+)$/.exec(name) ?? [];
    if (cell === undefined) return () => this.#runRouter(name);
    if (kind === 'p') return (process) => this.#runProcessor(process, Number(cell), Number(number));
    return async () => {
      const { certificates, shape } = this.parts;
      this.machines.set(
        name,
        startAgent(
          {
            name,
            cell: Number(cell),
            number: Number(number),
            certificates,
            shape,
            guests: this.guests,
            obedience: this.obedience,
            world: this.world,
          },
          this.machines.get(name),
        ),
      );
    };
  }

  log(process: string): Logger {
    const write = (line: string): void => {
      const { level, msg = '' } = JSON.parse(line) as { level: number; msg?: string };
      if (level < 40) return;
      this.world.tell(`log ${process} ${msg}`);
      this.logged.push({ process, level, message: msg, line });
    };
    return loggerTo(process, { write });
  }

  async #runRegion(): Promise<void> {
    const { certificates, directory, shape } = this.parts;
    const config = regionConfig.parse({
      regionName: names.regionName,
      zones: names.zones(shape.cells),
      databaseUrl: `postgresql://sim@${names.regionStore}:5432/region`,
      poolMax: 6,
      listen: { host: names.regionProcess, port: names.regionPort },
      tls: certificates.region,
      publicPool,
      imagesDir: join(directory, 'images'),
      secretKeyFile: join(directory, 'seal.key'),
      privateRestMs: restMs,
      publicRestMs: restMs,
    });
    const region = await openRegion(config, this.log('region'));
    this.region = region;
    await serveRegion(region);
  }

  /**
   * In half of the histories a router that has just started asks the cells about every token, as it does by default. In the others it
   * believes that it knows all tokens, and what alone keeps a launch from being carried out twice is the region's claim on its token.
   */
  #routerLimits(): { limits?: { repeatsWithinMs: number } } {
    return randomOf(this.world.seed, 'routers').chance(0.5) ? { limits: { repeatsWithinMs: 0 } } : {};
  }

  async #runRouter(name: string): Promise<void> {
    const config = routerConfig.omit({ tls: true }).parse({
      name,
      regionName: names.regionName,
      listen: { host: name, port: names.routerPort },
      region: { host: names.regionProcess, port: names.regionPort },
      ...this.#routerLimits(),
    });
    await startRouter({ config, tls: this.parts.certificates.of('router', name), log: this.log(name) });
  }

  async #runProcessor(process: SimProcess, number: number, at: number): Promise<void> {
    const { certificates, shape } = this.parts;
    const name = process.name;
    const cellId = names.cellName(number);
    const log = this.log(name);
    const tls = certificates.of('cell', name, cellId);
    const zone = names.zoneOf(number);
    const url = `postgresql://sim@${names.cellStore(number)}:5432/cell`;
    const database = openDatabase<CellSchema>({ url, poolMax: 6, name });
    const identity = { cellId, cellNumber: number, processorId: name, zone, region: '' };
    let cell: Cell | undefined;
    const processors = names
      .numbers(shape.processorsPerCell)
      .map((one) => `${names.processorName(number, one)}:${names.processorPort}`);
    const region = openRegionLink({
      ...{ tls, at: [{ host: names.regionProcess, port: names.regionPort }], log },
      cell: () => cell,
      onJoin: (joined) => {
        identity.region = joined;
      },
      record: { cellId, number, processors, zone, state: 'active' },
    });
    const limits = { hosts: shape.hostsPerCell, vms: 10_000 };
    while (cell === undefined)
      try {
        cell = await createCell({ identity, limits, oversubscription, database, region, log });
      } catch (error) {
        log.warn({ err: error }, `the store is not ready: trying again (${at})`);
        await delay(storeRetryMs);
      }
    this.cells.set(name, cell);
    await listen({ cell, name, tls, host: name, port: names.processorPort, log });
  }
}
