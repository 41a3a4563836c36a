/** One router replica, composed from its configuration. */
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { TlsMaterial } from '#base/identity.ts';
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { AccountCellIndex } from './accountCells.ts';
import { AuditLog } from './audit/log.ts';
import type { RouterConfig } from './config.ts';
import { CellDirectory } from './directory.ts';
import { Admission } from './http/admission.ts';
import { LargeBodies } from './http/largeBodies.ts';
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
  /** It follows a router that serves still: it listens beside it, once it can serve as well. */
  readonly takesOver?: boolean;
  /** No other router may listen on its port: whoever finds a port free may be the second to find it. */
  readonly alone?: boolean;
}

const subnetZonesMax = 20_000;
const drainMsMax = 5_000;
/** A router that takes over listens after this time even if it reaches nothing: the one before it may have gone. */
const takeOverMsMax = 10_000;
const lookEveryMs = 20;

/** Resolves when every cell is reached, or after a bounded wait. */
const reachesCells = async (region: RegionLink, cells: CellDirectory): Promise<void> => {
  const end = monotonicMs() + takeOverMsMax;
  const reached = (): boolean =>
    region.connected && cells.known.length > 0 && cells.known.every(({ live }) => live);
  while (!reached() && monotonicMs() < end) await delay(lookEveryMs);
};

/** Starts a replica. It listens at once: without the region it answers `Unavailable`, and waits for nothing. */
export const startRouter = async ({
  config,
  tls,
  log,
  now = Date.now,
  takesOver = false,
  alone = false,
}: RouterDependencies): Promise<Router> => {
  const { limits, regionName, anyRegion, listen } = config;
  const region = new RegionLink({
    ...{ tls, at: [config.region, ...config.regionReplicas], callTimeoutMs: limits.callTimeoutMs },
    signingKeys: !anyRegion,
  });
  const cells = new CellDirectory(region, tls, limits, log);
  const keys = new KeyCache({
    lookup: (id, sessionToken) => region.accessKey(id, sessionToken),
    keysMax: limits.keysMax,
    ttlMs: limits.keyTtlMs,
    unknownTtlMs: limits.unknownKeyTtlMs,
  });
  const audit = config.audit === undefined ? undefined : new AuditLog(config.audit, log);
  const server = createEndpoint({
    parts: {
      region,
      cells,
      accountCells: new AccountCellIndex(region, cells),
      launches: new LaunchMemory(limits.repeatsWithinMs),
      subnetZones: new Lru(subnetZonesMax),
      otherCellsMax: limits.otherCellsMax,
      silentCellMs: limits.silentCellMs,
    },
    read: {
      keys,
      regionName,
      anyRegion,
      bodyBytesMax: limits.bodyBytesMax,
      now,
      admission: new Admission(limits),
      large: new LargeBodies(limits),
      sources: new Sources(limits),
    },
    audit,
    limits,
    log,
  });
  void cells.refresh();
  if (takesOver) await reachesCells(region, cells);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // With the kernel's own port sharing, which it grants to processes of one user alone, the next router listens before this one leaves.
    server.listen({ ...listen, reusePort: !alone }, resolve);
  });
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
