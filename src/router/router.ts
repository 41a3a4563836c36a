/** One router replica, composed from its configuration. */
import type { AddressInfo } from 'node:net';
import type { TlsMaterial } from '#base/identity.ts';
import type { Logger } from '#base/log.ts';
import { AuditLog } from './audit/log.ts';
import type { RouterConfig } from './config.ts';
import { CellDirectory } from './directory.ts';
import { Admission } from './http/admission.ts';
import { createEndpoint } from './http/server.ts';
import { Sources } from './http/sources.ts';
import { KeyCache } from './keyCache.ts';
import { LaunchMemory } from './launchMemory.ts';
import { Lru } from './lru.ts';
import { RegionLink } from './regionLink.ts';

export interface Router {
  readonly port: number;
  /** Stops listening, lets requests in flight end for a bounded time, then closes every stream. */
  close(): Promise<void>;
}

export interface RouterDependencies {
  readonly config: Omit<RouterConfig, 'tls'>;
  readonly tls: TlsMaterial;
  readonly log: Logger;
  /** Wall time, milliseconds since 1970: signatures are dated by it. */
  readonly now?: () => number;
}

const subnetZonesMax = 20_000;
const drainMsMax = 5_000;

/** Starts a replica. It listens at once: without the region it answers `Unavailable`, and waits for nothing. */
export const startRouter = async ({
  config,
  tls,
  log,
  now = Date.now,
}: RouterDependencies): Promise<Router> => {
  const { limits, regionName, anyRegion, listen } = config;
  const region = new RegionLink({
    ...{ tls, ...config.region, callTimeoutMs: limits.callTimeoutMs },
    signingKeys: !anyRegion,
  });
  const cells = new CellDirectory(region, tls, limits, log);
  const keys = new KeyCache({
    lookup: (id) => region.accessKey(id),
    keysMax: limits.keysMax,
    ttlMs: limits.keyTtlMs,
    unknownTtlMs: limits.unknownKeyTtlMs,
  });
  const audit = config.audit === undefined ? undefined : new AuditLog(config.audit, log);
  const server = createEndpoint({
    parts: {
      region,
      cells,
      launches: new LaunchMemory(limits.repeatsWithinMs),
      subnetZones: new Lru(subnetZonesMax),
      otherCellsMax: limits.otherCellsMax,
    },
    read: {
      keys,
      regionName,
      anyRegion,
      bodyBytesMax: limits.bodyBytesMax,
      now,
      admission: new Admission(limits),
      sources: new Sources(limits),
    },
    audit,
    limits,
    log,
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(listen.port, listen.host, resolve);
  });
  void cells.refresh();
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const drain = setTimeout(() => server.closeAllConnections(), drainMsMax);
      await closed;
      clearTimeout(drain);
      await audit?.drain();
      cells.close();
      region.close();
    },
  };
};
