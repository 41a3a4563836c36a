/** The agent's configuration file. */
import { relative } from 'node:path';
import { z } from 'zod';
import { tlsFiles } from '#base/config.ts';
import { metricsEndpoint } from '#base/metricsListener.ts';
import { diskReserveMibDefault, migrationStallMsMaxDefault } from './limits.ts';

const endpoint = z.object({ host: z.string(), port: z.number().int() });

export const agentConfig = z.object({
  hostId: z.string(),
  zone: z.string(),
  /** Everything that must outlive this process: one directory per VM below `vms/`. */
  stateDir: z.string(),
  imageCacheDir: z.string(),
  imageCacheBytesMax: z
    .number()
    .int()
    .default(16 * 1024 ** 3),
  cell: z.object({
    /** Prefix, ending in `/`, of the identity that every processor must prove. */
    identityPrefix: z.string().default('spiffe://pando/cell/'),
    /** `host:port` of every request processor of the cell. */
    processors: z.array(z.string()).min(1),
  }),
  /** The card: where it listens, the network namespace that takes the taps, the identity that it must prove. */
  card: endpoint.extend({ netns: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/), identity: z.string() }),
  /** Where images are fetched, by digest. */
  region: endpoint.extend({ identity: z.string() }),
  /** Further replicas of the region, asked for images while the ones before them are away. */
  regionReplicas: z.array(endpoint.extend({ identity: z.string() })).default([]),
  vtep: z.string(),
  /** Hosts of one rack are near each other: a cluster placement group stays within one. Absent: all that say nothing are one rack. */
  rack: z.string().min(1).max(64).optional(),
  tls: tlsFiles,
  /** Where its metrics are read; absent: nowhere. */
  metrics: metricsEndpoint.optional(),
  capacity: z.object({
    vcpus: z.number().positive(),
    memoryMib: z.number().int().positive(),
    /** At most; less where the file system of `stateDir` has less. */
    diskMib: z.number().int().positive(),
    /** Bandwidth that VMs share, in Mbit/s. Absent: what the card's underlay device says that it has. */
    networkMbps: z.number().positive().optional(),
  }),
  /** Of that file system: what no VM is promised. */
  diskReserveMib: z.number().int().nonnegative().default(diskReserveMibDefault),
  /** Each VM has a uid of its own from here up. Ranges of two hosts of one machine must not meet. */
  uidBase: z.number().int().min(1000),
  /** Directory of this host's VMs below each cgroup controller. */
  cgroupPrefix: z.string().regex(/^[A-Za-z0-9._-]+$/),
  /** First letters of each tap's name. */
  runPrefix: z.string().regex(/^[a-z0-9-]{1,9}$/),
  accelerator: z.enum(['auto', 'tcg', 'kvm']).default('auto'),
  /** Address of this host on which it takes the memory and the disk of a VM that moves here. */
  migrationAddress: z.string(),
  /** Whether memory and disks of VMs that move are sent in the clear: only where the network itself is private. */
  migrationTls: z.enum(['required', 'off']).default('required'),
  /** How long the copy of a VM that moves away may stand still before it is given up. */
  migrationStallMsMax: z.number().int().positive().default(migrationStallMsMaxDefault),
  /** Swap whose key is lost with the boot: pages of guests on it tell nobody anything. As `/proc/swaps` names it. */
  encryptedSwap: z.array(z.string()).default([]),
  /** Where the control groups are mounted; default: found. */
  cgroupRoot: z.string().optional(),
});

export type AgentConfig = z.infer<typeof agentConfig>;

/** Whether other hosts of this machine may keep their images in the same directory: it is not this host's alone. */
export const sharesImages = ({
  stateDir,
  imageCacheDir,
}: Pick<AgentConfig, 'stateDir' | 'imageCacheDir'>): boolean => {
  const inside = relative(stateDir, imageCacheDir);
  return inside === '' || inside.startsWith('..');
};
