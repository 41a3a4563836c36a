/** The router's configuration file. Everything but the region's address and the TLS files has a default. */
import { z } from 'zod';
import { tlsFiles } from '#base/config.ts';
import { metricsEndpoint } from '#base/metricsListener.ts';
import { cellsPerAccountDefault } from '#contracts/region.ts';

const positive = z.number().int().positive();

const address = z.object({ host: z.string(), port: z.number().int().min(1).max(65_535) });

/** Limits of one router process. Times in milliseconds, sizes in bytes. */
export const routerLimits = z.object({
  /** Longest form. Longer: `RequestEntityTooLarge`, 413. */
  bodyBytesMax: positive.default(1024 * 1024),
  /** Open client connections; the kernel's queue holds the rest. */
  connectionsMax: positive.default(2048),
  /** The same for each source address (for IPv6: each /64); one more is closed. */
  connectionsPerSourceMax: positive.default(1024),
  /** Requests of one source without a valid signature, at once and a second; above, only keys that are known here are looked at. */
  unauthenticatedBurst: positive.default(200),
  unauthenticatedPerSecond: positive.default(10),
  /** Requests being answered, once their body has been read; one more gets `RequestLimitExceeded`, 503. */
  inFlightMax: positive.default(512),
  /** Of these, requests that wait until the region has said whose key theirs is: the others are left to keys that are known here. */
  unknownInFlightMax: positive.default(256),
  /** The same for each account. */
  accountInFlightMax: positive.default(128),
  /** Bodies of all requests together. */
  bufferedBytesMax: positive.default(64 * 1024 * 1024),
  /** A longer body is a large one, read and parsed in slices: so many of a source at once, and so many of an account, of which one is served. */
  largeBodyBytes: positive.default(64 * 1024),
  largePerSourceMax: positive.default(16),
  largePerAccountMax: positive.default(8),
  /** A client must have sent its headers, and its whole request, in this time. */
  headersTimeoutMs: positive.default(10_000),
  requestTimeoutMs: positive.default(20_000),
  /** How long an idle connection is kept. */
  keepAliveTimeoutMs: positive.default(65_000),
  /** Deadline of one call to the region or to a cell. */
  callTimeoutMs: positive.default(20_000),
  /** Cells tried after the first one (S3.8). */
  otherCellsMax: z.number().int().nonnegative().default(2),
  /** How many cells an account launches in (S3.9), until a region of this release has said it. */
  cellsPerAccount: positive.default(cellsPerAccountDefault),
  /** How long a cell that does not seem to live is waited for by who gathers from several. */
  silentCellMs: positive.default(700),
  /**
   * Clients that got no answer from a router that died ask again within this time. So long after its start a router
   * takes every client token for one that was sent before.
   */
  repeatsWithinMs: z.number().int().nonnegative().default(30_000),
  /** A key is asked for again after this time; a revoked key works no longer than this while the region lives. */
  keyTtlMs: positive.default(60_000),
  /** An unknown key is asked for again after this time. */
  unknownKeyTtlMs: positive.default(3_000),
  keysMax: positive.default(10_000),
  /** How often the list of cells is fetched, and every processor's health asked. */
  cellsEveryMs: positive.default(2_000),
  healthTimeoutMs: positive.default(1_500),
});
export type RouterLimits = z.infer<typeof routerLimits>;

export const routerConfig = z.object({
  /** This replica's name, for logs. Its identity is in its certificate: `spiffe://pando/router/-/<name>`. */
  name: z.string().default('router'),
  /** The region that signatures must be scoped to. */
  regionName: z.string().regex(/^[a-z0-9-]{1,64}$/),
  /** Requests may be signed for any region and are answered in its terms (`regionNames.ts`). For simulated regions: it needs secrets. */
  anyRegion: z.boolean().default(false),
  listen: z.object({ host: z.string().default('127.0.0.1'), port: z.number().int().min(0).max(65_535) }),
  region: address,
  /** Further replicas of the region, asked while the ones before them are away. */
  regionReplicas: z.array(address).default([]),
  tls: tlsFiles,
  /** Where its metrics are read; absent: nowhere. */
  metrics: metricsEndpoint.optional(),
  /** The audit log of calls, in CloudTrail's shape; absent: none is kept. */
  audit: z
    .object({
      path: z.string(),
      fileBytesMax: positive.default(64 * 1024 * 1024),
      filesMax: positive.default(8),
      waitingMax: positive.default(10_000),
    })
    .optional(),
  limits: routerLimits.prefault({}),
});
export type RouterConfig = z.infer<typeof routerConfig>;
