/** A cell of a test's own: processors over one real PostgreSQL, simulated hosts, a region in memory. */
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { ensureDatabase } from '#base/postgres/create.ts';
import { type OpenDatabaseOptions, openDatabase } from '#base/postgres/database.ts';
import { listenStore } from '#base/postgres/listen.ts';
import type { Caller } from '#base/rpc/contract.ts';
import { type Cell, type CellOptions, createCell } from '#cell/cell.ts';
import { systemClock } from '#cell/clock.ts';
import type { CellSchema, Database } from '#cell/store/sql.ts';
import type { Faults } from '#cell/workflow/faults.ts';
import type { EngineTiming } from '#cell/workflow/timing.ts';
import type { regionContract } from '#contracts/region.ts';
import { SimCaller } from '#simhost/caller.ts';
import { SimHost, type SimHostOptions } from '#simhost/sim-host.ts';
import { SimWorld } from '#simhost/world.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { FakeRegion } from './fake-region.ts';

export const zone = 'test-1a';
export const accountId = '111122223333';
const log = pino({ level: process.env.PANDO_LOG ?? 'silent' });

/** A processor, its database handle and its sessions. */
export interface TestProcessor {
  readonly cell: Cell;
  readonly callers: SimCaller[];
  /** Called when it is killed or stopped: what a test has put in front of it. */
  readonly closers: (() => unknown)[];
  /** Transactions that it began. */
  readonly counts: { transactions: number };
  /** Connects a host that it was not given at its start. */
  dial(host: SimHost): Promise<void>;
  /** The host does not reach this processor any more, until `dial`. */
  cut(host: SimHost): void;
  /** Stops dead: nothing of it reaches store, hosts or region any more. */
  kill(): void;
  stop(): Promise<void>;
}

export interface ProcessorOptions {
  readonly faults?: Faults;
  readonly leaseTtlMs?: number;
  readonly leaseRenewEveryMs?: number;
  readonly hosts?: readonly SimHost[];
  readonly vmsMax?: number;
  readonly hostsMax?: number;
  readonly timing?: Partial<EngineTiming>;
  readonly adoptionGraceMs?: number;
  readonly definitions?: CellOptions['definitions'];
  readonly hostManifest?: CellOptions['hostManifest'];
  readonly power?: CellOptions['power'];
  readonly webhooks?: CellOptions['webhooks'];
  /** How it reaches the store: another way than directly, other limits. */
  readonly store?: Partial<OpenDatabaseOptions>;
}

/** Never settles: what a dead process waits for. */
const never = (): Promise<never> => new Promise(() => undefined);

export class TestCell {
  readonly database: TestDatabase;
  readonly url: string;
  readonly world = new SimWorld();
  readonly region: FakeRegion;
  readonly hosts: SimHost[] = [];
  readonly processors: TestProcessor[] = [];
  #nextProcessor = 1;

  /** First digits of its ids. */
  readonly number: number;

  readonly zone: string;

  private constructor(database: TestDatabase, url: string, number: number, inZone: string) {
    this.database = database;
    this.url = url;
    this.number = number;
    this.zone = inZone;
    this.region = new FakeRegion({ zone: inZone });
  }

  /** Uses a database of its own on a server that may be shared by several test cells. */
  static async start(
    shared?: Pick<TestDatabase, 'url' | 'stop'>,
    number = 1,
    inZone = zone,
  ): Promise<TestCell> {
    const database = shared ?? (await startTestDatabase());
    const url = await ensureDatabase(
      database.url,
      `cell_${process.pid}_${Math.random().toString(36).slice(2, 8)}`,
    );
    return new TestCell(database, url, number, inZone);
  }

  addHost(options: Partial<SimHostOptions> = {}): SimHost {
    const number = this.hosts.length + 1;
    const host = new SimHost({
      hostId: `h-${number}`,
      zone: this.zone,
      vtep: `198.18.1.${10 + number}`,
      world: this.world,
      ...options,
    });
    this.hosts.push(host);
    return host;
  }

  async addProcessor(options: ProcessorOptions = {}): Promise<TestProcessor> {
    const gate = { dead: false };
    const counts = { transactions: 0 };
    const handle = openDatabase<CellSchema>({ url: this.url, ...options.store });
    const guard = <T>(work: Promise<T>): Promise<T> =>
      work.then(
        (value) => (gate.dead ? never() : value),
        (error: unknown) => (gate.dead ? never() : Promise.reject(error)),
      );
    const region: Caller<typeof regionContract> = {
      call: (method, params) => (gate.dead ? never() : guard(this.region.call(method, params))),
    };
    const wrapDatabase = (db: Database): Database => ({
      query: (text, values) => (gate.dead ? never() : guard(db.query(text, values))),
      transaction: (work) => {
        counts.transactions++;
        return gate.dead
          ? never()
          : guard(
              db.transaction((tx) =>
                work({
                  query: async (text, values) => {
                    // A killed process's open transaction is rolled back by the server.
                    if (gate.dead) throw new Error('killed');
                    return tx.query(text, values);
                  },
                }).then((value) => {
                  if (gate.dead) throw new Error('killed');
                  return value;
                }),
              ),
            );
      },
    });
    const cell = await createCell({
      identity: {
        cellId: `cell-${this.number}`,
        cellNumber: this.number,
        processorId: `p${this.#nextProcessor++}`,
        zone: this.zone,
        region: 'test-1',
      },
      limits: { hosts: options.hostsMax ?? 10_000, vms: options.vmsMax ?? 100_000 },
      oversubscription: { vcpus: 1, memory: 1 },
      database: handle,
      region,
      log,
      clock: systemClock,
      wrapDatabase,
      listenStore: (channel, heard) => listenStore({ url: this.url, channel, heard }),
      ...(options.faults === undefined ? {} : { faults: options.faults }),
      ...(options.webhooks === undefined ? {} : { webhooks: options.webhooks }),
      ...(options.timing === undefined ? {} : { timing: options.timing }),
      ...(options.definitions === undefined ? {} : { definitions: options.definitions }),
      hostManifest: options.hostManifest,
      power: options.power,
      adoptionGraceMs: options.adoptionGraceMs ?? 1_000,
      leaseTtlMs: options.leaseTtlMs ?? 400,
      leaseRenewEveryMs: options.leaseRenewEveryMs ?? 100,
    });
    const callers: SimCaller[] = [];
    const closers: (() => unknown)[] = [];
    const cut = new Set<string>();
    let reporting: NodeJS.Timeout | undefined;
    const processor: TestProcessor = {
      cell,
      callers,
      closers,
      counts,
      dial: (host) => {
        cut.delete(host.hostId);
        return connect(processor, host, gate, cut);
      },
      cut: (host) => {
        cut.add(host.hostId);
        for (const caller of callers) if (caller.hostId === host.hostId) caller.close();
      },
      kill: () => {
        gate.dead = true;
        clearInterval(reporting);
        cell.abandon();
        for (const close of closers) close();
        for (const caller of callers) caller.close();
        void handle.destroy().catch(() => undefined);
      },
      stop: async () => {
        if (gate.dead) return;
        clearInterval(reporting);
        await cell.stop();
        for (const close of closers) await close();
        for (const caller of callers) caller.close();
        gate.dead = true;
        await handle.destroy();
      },
    };
    for (const host of options.hosts ?? this.hosts) await connect(processor, host, gate, cut);
    reporting = setInterval(() => {
      for (const host of this.hosts)
        if (cell.services.hosts.has(host.hostId)) cell.reports.report(host.report());
    }, 100);
    this.processors.push(processor);
    return processor;
  }

  async stop(): Promise<void> {
    for (const processor of this.processors) await processor.stop().catch(() => undefined);
    await this.database.stop();
  }

  /** Ends the processors and keeps the database server, for the next case. */
  async reset(): Promise<void> {
    for (const processor of this.processors) await processor.stop().catch(() => undefined);
  }
}

/** Connects a host to a processor; it dials again when its agent comes back. */
const connect = async (
  processor: TestProcessor,
  host: SimHost,
  gate: { dead: boolean },
  cut: ReadonlySet<string>,
): Promise<void> => {
  if (cut.has(host.hostId)) return;
  const { cell, callers } = processor;
  const caller: SimCaller = new SimCaller(host, {
    checked: true,
    onClose: () => {
      cell.reports.gone(host.hostId, caller);
      if (!gate.dead)
        setTimeout(() => void (gate.dead || connect(processor, host, gate, cut).catch(() => undefined)), 20);
    },
  });
  callers.push(caller);
  host.joined(await cell.reports.hello(host.hello(), caller));
};

/** On a machine that does other things too. */
const patienceMs = 30_000;

/** Waits until `condition` holds; fails with what it was after `timeoutMs`. */
export const until = async <T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = patienceMs,
): Promise<T> => {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await delay(10);
  }
};

export const ec2 = async (
  cell: Cell,
  action: string,
  input: object = {},
  account = accountId,
): Promise<Record<string, unknown>> => {
  const { output } = await cell.ec2Call({
    requestId: 'r',
    accountId: account,
    principal: 'arn:test',
    action,
    input,
  });
  return JSON.parse(JSON.stringify(output)) as Record<string, unknown>;
};
