/** One cell of a simulated region: a processor as `src/cell/main.ts` puts it together, with its hosts in the same process. */
import type { TlsMaterial } from '#base/identity.ts';
import type { Logger } from '#base/log.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { listenStore } from '#base/postgres/listen.ts';
import { createCell } from '#cell/cell.ts';
import { cellConfig } from '#cell/config.ts';
import { listen } from '#cell/listener.ts';
import { openRegionLink, type RegionLink } from '#cell/region-link.ts';
import type { CellSchema } from '#cell/store/sql.ts';
import { PandoError } from '#contracts/errors.ts';
import type { PlannedCell } from '#lab/plan.ts';
import { processorName } from '#lab/processes.ts';
import { type HostsOptions, joinHosts } from './hosts.ts';
import { loopback, type Parts } from './parts.ts';

const poolMax = 6;
const joinTimeoutMs = 20_000;
const limits = { hosts: 100, vms: 100_000 };
const { oversubscription } = cellConfig.pick({ oversubscription: true }).parse({});

export interface SimulatedCellOptions extends HostsOptions {
  readonly cell: PlannedCell;
  readonly databaseUrl: string;
  readonly regionName: string;
  readonly regionPort: number;
  readonly tls: TlsMaterial;
  readonly log: Logger;
}

/** Starts the cell, joined to the region and with its hosts; answers the port of its processor. */
export const startSimulatedCell = async (options: SimulatedCellOptions, parts: Parts): Promise<number> => {
  const { cell: planned, tls, log, zone } = options;
  const name = processorName(planned, 1);
  const database = openDatabase<CellSchema>({ url: options.databaseUrl, poolMax, name });
  parts.add(() => database.destroy());
  let link: RegionLink | undefined;
  const cell = await createCell({
    identity: {
      cellId: planned.name,
      cellNumber: planned.number,
      processorId: name,
      zone,
      region: options.regionName,
    },
    limits,
    oversubscription,
    database,
    listenStore: (channel, heard) => listenStore({ url: options.databaseUrl, channel, heard }),
    region: {
      call: (method, params, more) =>
        link === undefined
          ? Promise.reject(new PandoError('HostUnreachable', 'The region is not connected.'))
          : link.call(method, params, more),
    },
    log,
  });
  parts.add(() => cell.stop().catch(() => undefined));
  const server = await listen({ cell, name, tls, ...loopback, log });
  parts.add(() => server.close());
  const opened = openRegionLink({
    ...{ tls, at: [{ host: loopback.host, port: options.regionPort }], log },
    cell: () => cell,
    onJoin: () => undefined,
    record: {
      cellId: planned.name,
      number: planned.number,
      processors: [`${loopback.host}:${server.port}`],
      zone,
      state: 'active',
    },
  });
  link = opened;
  parts.add(() => opened.close());
  await opened.ready(joinTimeoutMs);
  parts.add(await joinHosts(cell, options));
  return server.port;
};
