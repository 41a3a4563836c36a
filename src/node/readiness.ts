/**
 * Whether a process is ready to serve. For a process that only dials, its peers are asked: they know whether it is connected, it only
 * believes so.
 */
import { readFileSync } from 'node:fs';
import { get } from 'node:http';
import { createConnection } from 'node:net';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import type { TlsPaths } from '#base/config.ts';
import { type Peer, Peers } from './peers.ts';
import type { ProcessSpec, Ready } from './processSpec.ts';

/** What is still missing, for people; undefined: the process of this specification, with this pid, is ready. Never throws. */
export type Missing = (spec: ProcessSpec, pid: number) => Promise<string | undefined>;

export interface Readiness {
  readonly missing: Missing;
  /** Whether some cell has said lately that a limit of it nears. */
  nearlyFull(): boolean;
  close(): void;
}

const listenState = '0A';
const httpTimeoutMs = 2_000;
/** With eight replicas one of them is missed in so many tries once in five thousand times. */
const routerTriesMax = 64;
const routerTriesAtOnce = 8;

/** Whether some socket listens on `port` in the network namespace of `pid`. */
export function isListening(pid: number, port: number): boolean {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['tcp', 'tcp6'].some((table) => {
    try {
      const rows = readFileSync(`/proc/${pid}/net/${table}`, 'utf8').split('\n').slice(1);
      return rows.some((row) => {
        const [, local, , state] = row.trim().split(/\s+/);
        return state === listenState && local?.endsWith(wanted);
      });
    } catch {
      return false;
    }
  });
}

const shortName = (identity: string): string => identity.slice(identity.lastIndexOf('/') + 1);

/** Readiness as each specification defines it. Processes are asked under the identity in `files`. */
export function checkReadiness(files: TlsPaths): Readiness {
  const peers = new Peers(files);
  const full = new Set<string>();
  return {
    missing: async (spec, pid) => {
      if (spec.kind === 'postgres') return undefined;
      try {
        return await missing(peers, full, spec.ready, pid);
      } catch (error) {
        if (spec.ready.kind === 'health') full.delete(spec.ready.identity);
        return error instanceof Error ? error.message : String(error);
      }
    },
    nearlyFull: () => full.size > 0,
    close: () => peers.close(),
  };
}

async function missing(
  peers: Peers,
  full: Set<string>,
  ready: Ready,
  pid: number,
): Promise<string | undefined> {
  switch (ready.kind) {
    case 'alive':
      return undefined;
    case 'listening':
      return isListening(pid, ready.port) ? undefined : `does not listen on port ${ready.port} yet`;
    case 'socket':
      return answersAt(ready.path);
    case 'health':
      return isListening(pid, ready.port) ? health(peers, full, ready) : 'does not listen yet';
    case 'router':
      return isListening(pid, ready.port) ? router(ready.port, pid) : 'does not listen yet';
    case 'gateway':
      return (await peers.ask(ready.region, 'operator.status', {})).gatewayConnected
        ? undefined
        : 'not connected to the region';
    case 'host':
      return host(peers, ready);
  }
}

/** A socket whose process has died is a file that nobody answers at. */
const answersAt = (path: string): Promise<string | undefined> =>
  new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', () => resolve(`does not answer at ${path} yet`));
  });

async function health(peers: Peers, full: Set<string>, peer: Peer): Promise<string | undefined> {
  const { ready, nearlyFull, detail = 'not ready' } = await peers.ask(peer, 'process.health', {});
  if (nearlyFull === true) full.add(peer.identity);
  else full.delete(peer.identity);
  return ready ? undefined : detail;
}

const routerHealth = z.object({
  /** Absent: a router of the last release. */
  pid: z.number().optional(),
  ready: z.boolean(),
  region: z.boolean(),
  cells: z.array(z.object({ cellId: z.string(), live: z.boolean() })),
});

type RouterHealth = z.infer<typeof routerHealth>;

/** A connection of its own each time: of all routers that listen on the port, each has a part of them. */
const healthAt = (port: number): Promise<RouterHealth> =>
  new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(httpTimeoutMs);
    const asked = get({ host: '127.0.0.1', port, path: '/_pando/health', agent: false, signal }, (answer) => {
      text(answer)
        .then((body) => routerHealth.parse(JSON.parse(body)))
        .then(resolve, reject);
    });
    asked.once('error', reject);
  });

/**
 * What the router with this pid says. The kernel chooses who gets a connection, so several are made, all of a batch at once: one that is
 * frozen delays the others' answers by no more than its timeout. Undefined: only others answered.
 * @throws where nobody answered
 */
async function healthOf(port: number, asked: number): Promise<RouterHealth | undefined> {
  let answered = 0;
  for (let tries = 0; tries < routerTriesMax; tries += routerTriesAtOnce) {
    const batch = Array.from({ length: tries === 0 ? 1 : routerTriesAtOnce }, () => healthAt(port));
    const own = await Promise.any(
      batch.map(async (each) => {
        const health = await each;
        answered += 1;
        if (health.pid !== undefined && health.pid !== asked) throw new Error('another router');
        return health;
      }),
    ).catch(() => undefined);
    if (own !== undefined) return own;
    if (answered === 0) await batch[0];
  }
  return undefined;
}

async function router(port: number, asked: number): Promise<string | undefined> {
  const health = await healthOf(port, asked);
  if (health === undefined) return 'other routers answer, this one does not yet';
  const { ready, region, cells } = health;
  if (!region) return 'not connected to the region';
  const away = cells.filter(({ live }) => !live).map(({ cellId }) => cellId);
  if (away.length > 0) return `not connected to ${away.join(' ')}`;
  return ready && cells.length > 0 ? undefined : 'knows no cell yet';
}

/** Every processor must have a stream to the host, and the host one to its card. */
async function host(
  peers: Peers,
  { hostId, processors }: Extract<Ready, { kind: 'host' }>,
): Promise<string | undefined> {
  const seen = await Promise.all(
    processors.map(async (peer) => {
      const { hosts } = await peers.ask(peer, 'operator.hosts', {});
      return { peer, found: hosts.find((each) => each.hostId === hostId) };
    }),
  );
  const apart = seen.filter(({ found }) => found?.connected !== true);
  if (apart.length > 0)
    return `not connected to ${apart.map(({ peer }) => shortName(peer.identity)).join(' ')}`;
  return seen.every(({ found }) => found?.card === 'ok') ? undefined : 'not connected to its card';
}
