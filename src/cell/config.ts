/** A request processor's configuration file. */
import { z } from 'zod';
import { tlsFiles } from '#base/config.ts';
import { metricsEndpoint } from '#base/metricsListener.ts';
import { cellNumberMax } from '#contracts/ids.ts';
import { cellTakes } from '#contracts/region.ts';
import { redfishMachines } from './reconfiguration/redfish.ts';

const endpoint = z.object({ host: z.string(), port: z.number().int().min(0).max(65_535) });

export const cellConfig = z.object({
  /** This processor's name, unique in its cell; its certificate is `spiffe://pando/cell/<cell>/<name>`. */
  name: z.string(),
  cellId: z.string(),
  /** First digits of the cell's ids (S3.4): never changed. */
  cellNumber: z.number().int().min(1).max(cellNumberMax),
  zone: z.string(),
  /** `host:port` of each processor of the cell, as routers reach them. Default: this one alone. */
  processors: z.array(z.string()).optional(),
  /** The cell's own database, shared by its processors alone. */
  databaseUrl: z.string(),
  poolMax: z.number().int().min(2).max(100).default(16),
  /** Routers, hosts and operators connect here; each is offered what its role may call. */
  listen: endpoint,
  region: endpoint,
  /** Further replicas of the region: it dials all of them, so that each can push network state to it. */
  regionReplicas: z.array(endpoint).default([]),
  tls: tlsFiles,
  /** Where its metrics are read; absent: nowhere. */
  metrics: metricsEndpoint.optional(),
  /** What its hosts can take at all; routers send nothing else here. Default: anything. */
  takes: cellTakes.optional(),
  /** Fixed limits of a cell (S3.7). */
  limits: z
    .object({
      hosts: z.number().int().positive().default(1_000),
      vms: z.number().int().positive().default(20_000),
    })
    .prefault({}),
  /**
   * How much of a host's vCPUs, memory and bandwidth may be promised: 1 is none beyond what it has (S1.7, I3). Few guests use their
   * bandwidth at the same time; a network that is full is reported, and lowers what is placed there.
   */
  oversubscription: z
    .object({
      vcpus: z.number().min(1).max(64).default(4),
      memory: z.number().min(1).max(20).default(1),
      network: z.number().min(1).max(64).default(4),
    })
    .prefault({}),
  /** The webhook sender's socket, what it knows its cells by, and the ranges beside public addresses to which it sends. */
  webhooks: z
    .object({ socket: z.string(), key: z.string(), allowed: z.array(z.string()).default([]) })
    .optional(),
  /** What each host keeps for itself, beyond what VMs may be promised. */
  reserve: z
    .object({
      vcpus: z.number().min(0).default(0),
      memoryMib: z.number().int().min(0).default(0),
      diskMib: z.number().int().min(0).default(0),
      networkMbps: z.number().int().min(0).default(0),
    })
    .prefault({}),
  /** Management controllers of hosts, by the host's id: how a rebuild turns the machine off and on. Without one its processes begin anew. */
  redfish: redfishMachines.default({}),
  /** What hosts shall run: a rebuild checks it (S5.2). Absent: whatever they run. */
  hostManifest: z
    .object({
      /** Versions by component; one that a host does not have is not asked of it. */
      firmware: z.record(z.string().max(64), z.string().max(128)).optional(),
      /** Digest of the agent's code. */
      image: z.string().max(64).optional(),
    })
    .optional(),
});
export type CellConfig = z.infer<typeof cellConfig>;
