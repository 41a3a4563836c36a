/** What the supervisor is told to keep running: written by `up` as one file, read by the supervisor. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { endpoint, tlsFiles } from '#base/config.ts';
import { user } from './users.ts';

const peer = endpoint.extend({ identity: z.string() });

const ready = z.discriminatedUnion('kind', [
  /** Its own `process.health` says so, over mutually authenticated TLS. */
  peer.extend({ kind: z.literal('health') }),
  /** It listens on this TCP port in its own network namespace. */
  z.object({ kind: z.literal('listening'), port: z.number().int() }),
  /** A router on this port of the loopback is connected to the region and to every cell. */
  z.object({ kind: z.literal('router'), port: z.number().int() }),
  /** A host's agent: every processor has a stream to it, and it has one to its card. */
  z.object({ kind: z.literal('host'), hostId: z.string(), processors: z.array(peer) }),
  /** The region has a stream to the gateway. */
  z.object({ kind: z.literal('gateway'), region: peer }),
  /** It takes connections at this Unix socket. */
  z.object({ kind: z.literal('socket'), path: z.string() }),
  /** It lives. */
  z.object({ kind: z.literal('alive') }),
]);
export type Ready = z.infer<typeof ready>;

const common = {
  name: z.string().regex(/^[a-z0-9-]+$/),
  after: z.array(z.string()),
  /** As whom it runs; absent: as root. */
  user: user.optional(),
};

export const processSpec = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('node'),
    ...common,
    /** Module to run, absolute; it is given `--config FILE`. */
    entry: z.string(),
    /** Changes with the code that it runs (`codeDigest`); absent in lists of the first release. */
    code: z.string().optional(),
    configPath: z.string(),
    config: z.unknown(),
    netns: z.string().optional(),
    /** Its successor is started beside it, and it ends once that one is ready: both listen on one port for a while. */
    overlaps: z.boolean().optional(),
    /** Files and directories that are given to its user before it starts. */
    owns: z.array(z.string()).optional(),
    /** Variables of its environment, besides what it has of who started the region. */
    env: z.record(z.string(), z.string()).optional(),
    /** Capabilities that it keeps; absent: all (root) or none (another user). */
    capabilities: z.array(z.string().regex(/^[a-z_]+$/)).optional(),
    ready,
  }),
  z.object({ kind: z.literal('postgres'), ...common, dataDir: z.string(), socketDir: z.string() }),
]);
export type ProcessSpec = z.infer<typeof processSpec>;
export type NodeSpec = Extract<ProcessSpec, { kind: 'node' }>;
export type PostgresSpec = Extract<ProcessSpec, { kind: 'postgres' }>;

export const processList = z.object({
  /** Identity with which the supervisor asks processes for their health. */
  tls: tlsFiles,
  /**
   * Processes that run and must be started anew are replaced one at a time, in the order of this list. Absent, as in lists of the first
   * release: all are ended, then started.
   */
  rolling: z.boolean().optional(),
  /** Loopback address at which the supervisor shows the metrics of all. */
  metrics: endpoint.optional(),
  /** Where spans go, and the Unix socket by which processes in network namespaces of their own reach it. */
  otlp: z.object({ endpoint: z.url(), socket: z.string() }).optional(),
  /** The command that makes the next cell where one is due (S3.7); absent: only an alarm tells of it. */
  growth: z.object({ command: z.array(z.string()).min(1) }).optional(),
  processes: z.array(processSpec),
});
export type ProcessList = z.infer<typeof processList>;

/** Changes exactly when the process must be started anew to follow its specification. */
export const specDigest = (spec: ProcessSpec): string =>
  createHash('sha256')
    .update(JSON.stringify({ ...spec, after: undefined, ready: undefined }))
    .digest('hex')
    .slice(0, 16);

/** In an order in which each comes after all that it needs; throws on a circle or an unknown name. */
export function startOrder(specs: readonly ProcessSpec[]): ProcessSpec[] {
  const byName = new Map(specs.map((spec) => [spec.name, spec]));
  const ordered = new Map<string, ProcessSpec>();
  const visit = (name: string, path: readonly string[]): void => {
    if (ordered.has(name)) return;
    const spec = byName.get(name);
    if (spec === undefined) throw new Error(`${path.at(-1)} waits for ${name}, which is not in the list`);
    if (path.includes(name)) throw new Error(`processes wait for each other: ${[...path, name].join(' → ')}`);
    for (const needed of spec.after) visit(needed, [...path, name]);
    ordered.set(name, spec);
  };
  for (const spec of specs) visit(spec.name, []);
  return [...ordered.values()];
}
