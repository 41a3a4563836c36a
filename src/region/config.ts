/** The region process's configuration file. */
import { z } from 'zod';
import { tlsFiles } from '#base/config.ts';
import { metricsEndpoint } from '#base/metricsListener.ts';
import { cellsPerAccountDefault } from '#contracts/region.ts';

export const zoneConfig = z.object({
  /** For example `pando-1a`. */
  name: z.string().regex(/^[a-z0-9-]{1,64}$/),
  /** For example `pan1-az1`. */
  id: z.string().regex(/^[a-z0-9-]{1,64}$/),
  type: z.enum(['availability-zone', 'local-zone', 'wavelength-zone']).default('availability-zone'),
});
export type ZoneConfig = z.infer<typeof zoneConfig>;

const ipv4 = z.ipv4();

export const regionConfig = z.object({
  regionName: z.string().regex(/^[a-z0-9-]{1,64}$/),
  zones: z.array(zoneConfig).min(1).max(64),
  /** How many cells an account launches in (S3.9): told to all routers. */
  cellsPerAccount: z.number().int().min(1).max(64).default(cellsPerAccountDefault),
  /** A database of the region alone; its schema is brought up at the start. */
  databaseUrl: z.string(),
  poolMax: z.number().int().min(2).max(90).default(12),
  listen: z.object({ host: z.string(), port: z.number().int().min(0).max(65_535) }),
  tls: tlsFiles,
  /** Where its metrics are read; absent: nowhere. */
  metrics: metricsEndpoint.optional(),
  /** Addresses that may be given to interfaces: those of `cidr` from `first` to `last` but for `excluded`. */
  publicPool: z.object({
    cidr: z.cidrv4(),
    first: ipv4.optional(),
    last: ipv4.optional(),
    excluded: z.array(ipv4).default([]),
  }),
  /** Where registered images are kept, a directory per digest. Ours alone. */
  imagesDir: z.string(),
  /** Directories out of which images may be registered. */
  imageSourceDirs: z.array(z.string()).default([]),
  /** File of 32 random bytes (made if absent, mode 600) that seals access keys' secrets in the database. */
  secretKeyFile: z.string(),
  /**
   * Ends the public DNS names of instances (`ec2-203-0-113-16.<this>`), where their VPC's attributes give them one. Default:
   * `<region>.compute.pando.internal`. `null`: no public name is given, for where nobody serves the zone and clients prefer a
   * name that does not resolve to an address that works.
   */
  publicDomainName: z
    .string()
    .regex(/^[a-z0-9.-]{1,200}$/)
    .nullable()
    .optional(),
  /** Handed out by DHCP inside VPCs; empty: none. */
  dnsServers: z.array(ipv4).default([]),
  /** Inner MTU of VPCs in bytes. */
  vpcMtu: z.number().int().min(576).max(9001).default(1450),
  /** How long an API call waits for devices to have its change, at most. */
  pushWaitMsMax: z.number().int().min(0).max(30_000).default(2_000),
  /** How often devices are compared with what they should have. */
  reconcileEveryMs: z.number().int().min(10).default(5_000),
  /** How often a part of the interfaces is compared with the instances that they were made for. */
  sweepEveryMs: z.number().int().min(10).default(60_000),
  /** An interface younger than this is not looked at: its launch may be under way. */
  sweepGraceMs: z.number().int().min(0).default(600_000),
  /** How long a freed private or public address is not given out again. */
  privateRestMs: z.number().int().min(0).default(60_000),
  publicRestMs: z.number().int().min(0).default(60_000),
  limits: z
    .object({
      vpcsPerAccountMax: z.number().int().default(50),
      subnetsPerVpcMax: z.number().int().default(200),
      routeTablesPerVpcMax: z.number().int().default(200),
      /** Those that have a quota (`quotas.ts`) are the default of accounts that have none of their own. */
      routesPerTableMax: z.number().int().default(200),
      groupsPerVpcMax: z.number().int().default(500),
      /** In each direction. */
      rulesPerGroupMax: z.number().int().default(60),
      groupsPerInterfaceMax: z.number().int().default(5),
      gatewaysPerAccountMax: z.number().int().default(50),
      addressesPerAccountMax: z.number().int().default(50),
      keyPairsPerAccountMax: z.number().int().default(5_000),
      imagesPerAccountMax: z.number().int().default(1_000),
    })
    .prefault({}),
});
export type RegionConfig = z.infer<typeof regionConfig>;
