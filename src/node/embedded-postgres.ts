/**
 * Supervises an embedded PostgreSQL: one cluster in a directory of its own, reached by a Unix socket alone.
 *
 * A postmaster outlives the process that started it, unless it was asked to die with it. So a start first looks for one that was left
 * behind. It adopts a postmaster that listens at the wanted socket, and stops any other.
 */
import { spawn } from 'node:child_process';
import { chmod, chown, mkdir, open, readdir, readFile, readlink, realpath, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { exec } from '#base/exec.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { sqlStateOf } from '#base/postgres/faults.ts';
import { confined } from './confine.ts';
import { give, readUnfollowed } from './ownership.ts';
import { type PostgresPackage, postgresPackage } from './postgres-package.ts';
import type { User } from './users.ts';

const startTimeoutMs = 30_000;
const recoveryTimeoutMs = 120_000;
const stopTimeoutMs = 15_000;
const killTimeoutMs = 5_000;
const pollMs = 20;
const tooManyConnections = '53300';
const root: User = { uid: 0, gid: 0 };
/** A Unix socket's path is at most 107 bytes; PostgreSQL adds `/.s.PGSQL.5432.lock`. */
const socketDirBytesMax = 107 - '/.s.PGSQL.5432.lock'.length;

export interface StartPostgresOptions {
  /** The cluster's directory; made by `initdb` when it is empty or absent. */
  readonly dataDir: string;
  /** Where the socket lies; made if absent, private to its owner. */
  readonly socketDir: string;
  /**
   * The user that the server runs as. Its directories become this user's, and the socket is open to this user's group. Absent: our own
   * user, or, where we are root, a user of a namespace of its own.
   */
  readonly user?: User | undefined;
  /** Told what the supervisor does, a line at a time. The server's own log is the file `<dataDir>.log`. */
  log?(line: string): void;
  /** Die with the process that starts it (tests). Default: outlive it, to be adopted by the next start. */
  readonly dieWithParent?: boolean;
  /** Extra `-c` settings, for example `{ shared_buffers: '32MB' }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface RunningPostgres {
  /** URL of the `postgres` database of the cluster. */
  readonly url: string;
  readonly pid: number;
  /** Whether the server was found running rather than started. */
  readonly adopted: boolean;
  /** Shuts down cleanly (clients are disconnected); kills after a bounded wait. Repeatable. */
  stop(): Promise<void>;
}

/** Starts (or adopts) the cluster in `dataDir` and returns when it accepts connections. */
export const startPostgres = async (options: StartPostgresOptions): Promise<RunningPostgres> => {
  if (Buffer.byteLength(path.resolve(options.socketDir)) > socketDirBytesMax)
    throw new RangeError(
      `the socket directory ${options.socketDir} is longer than ${socketDirBytesMax} bytes: choose a shorter one`,
    );
  await mkdir(options.socketDir, { recursive: true, mode: 0o700 });
  await mkdir(options.dataDir, { recursive: true, mode: 0o700 });
  const dataDir = await realpath(options.dataDir);
  const socketDir = await realpath(options.socketDir);
  const left = await findPostmaster(dataDir);
  const adoptable = left?.socketDir === socketDir && (await runsAs(left.pid, options.user));
  if (left !== undefined && adoptable && (await staysUp(dataDir, socketDir, left.pid))) {
    options.log?.(`adopting the postmaster ${left.pid} that was left behind`);
    return running(dataDir, socketDir, left.pid, true);
  }
  if (left !== undefined) {
    const why = adoptable ? 'which is shutting down' : `which listens in ${left.socketDir}`;
    options.log?.(`stopping the postmaster ${left.pid}, ${why}`);
    await stopPostmaster(dataDir, left.pid);
  }
  await clearRemains(dataDir, socketDir);
  // Beside the cluster, not in a directory of the server's user: root's `initdb` loads these libraries too.
  const files = await postgresPackage(`${dataDir}.lib`);
  await initialise(files, dataDir);
  if (options.user !== undefined) await handOver(options.user, dataDir, socketDir);
  // Files are root's after a way back to the first release, whose servers ran as root.
  else if (process.getuid?.() === 0) for (const directory of [dataDir, socketDir]) give(directory, root);
  const pid = await launch(files, dataDir, socketDir, options);
  await waitReady(dataDir, pid, recoveryTimeoutMs);
  return running(dataDir, socketDir, pid, false);
};

const urlAt = (socketDir: string): string =>
  `postgresql://pando@localhost/postgres?host=${encodeURIComponent(socketDir)}`;

const running = (dataDir: string, socketDir: string, pid: number, adopted: boolean): RunningPostgres => ({
  url: urlAt(socketDir),
  pid,
  adopted,
  stop: () => stopPostmaster(dataDir, pid),
});

/** Ends the server of `dataDir`, where one runs, whoever started it. */
export const stopPostgresIn = async (dataDir: string): Promise<void> => {
  const directory = await realpath(dataDir).catch(() => undefined);
  const left = directory === undefined ? undefined : await findPostmaster(directory);
  if (directory !== undefined && left !== undefined) await stopPostmaster(directory, left.pid);
};

/**
 * Whether a server that was left behind is there to stay. One that was told to end serves nobody, and is gone a moment later. Its pid file
 * may say so late, but it heeds its signals before it accepts a connection: so an answer proves that none came before.
 */
const staysUp = async (dataDir: string, socketDir: string, pid: number): Promise<boolean> => {
  const deadline = monotonicMs() + recoveryTimeoutMs;
  while (await becomesReady(dataDir, pid, deadline - monotonicMs())) {
    if (await answers(urlAt(socketDir))) return true;
    await delay(pollMs);
  }
  return false;
};

/** Whether the server takes connections. One that has no room for another one does. */
const answers = async (connectionString: string): Promise<boolean> => {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: startTimeoutMs });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return true;
  } catch (error) {
    return sqlStateOf(error) === tooManyConnections;
  } finally {
    await client.end().catch(() => undefined);
  }
};

/** Whether a server is this user's; no user wanted: any is. */
const runsAs = async (pid: number, user: User | undefined): Promise<boolean> =>
  user === undefined || (await stat(`/proc/${pid}`).catch(() => undefined))?.uid === user.uid;

/** With no server running. The socket's directory is open to the group, and the socket is of the server's own group. */
const handOver = async (user: User, dataDir: string, socketDir: string): Promise<void> => {
  for (const directory of [dataDir, socketDir]) give(directory, user);
  await chmod(socketDir, 0o750);
};

/**
 * PostgreSQL refuses to run as root. Where we are root, it gets a user namespace in which we are another user. `initdb` looks that one up
 * in /etc/passwd: user 1 is there on every distribution, an ordinary user only where somebody made one.
 */
const unprivileged = (command: readonly string[]): readonly string[] =>
  process.getuid?.() === 0 ? ['unshare', '--user', '--map-user=1', '--map-group=1', ...command] : command;

const initialise = async (files: PostgresPackage, dataDir: string): Promise<void> => {
  if (await exists(path.join(dataDir, 'PG_VERSION'))) return;
  // Nobody else puts anything into it while root writes there. It must be empty: initdb refuses any other.
  if (process.getuid?.() === 0) await chown(dataDir, root.uid, root.gid);
  await chmod(dataDir, 0o700);
  const [command = '', ...args] = unprivileged([
    files.initdb,
    '--pgdata',
    dataDir,
    '--username=pando',
    '--auth=trust',
    '--encoding=UTF8',
    '--locale-provider=builtin',
    '--locale=C.UTF-8',
    '--data-checksums',
    '--no-instructions',
  ]); // prettier-ignore
  await exec(command, args, { timeoutMs: startTimeoutMs, env: environment(files) });
};

const environment = (files: PostgresPackage): NodeJS.ProcessEnv => ({
  PATH: process.env.PATH,
  LC_ALL: 'C',
  ...(files.libraryPath === undefined ? {} : { LD_LIBRARY_PATH: files.libraryPath }),
});

const baseSettings: Readonly<Record<string, string>> = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: '100',
  shared_buffers: '64MB',
  jit: 'off',
  io_method: 'sync',
  log_min_messages: 'warning',
};

/** Starts the server in a session of its own, so that neither our death nor our terminal's signals reach it. */
const launch = async (
  files: PostgresPackage,
  dataDir: string,
  socketDir: string,
  options: StartPostgresOptions,
): Promise<number> => {
  const reachable = options.user === undefined ? {} : { unix_socket_permissions: '0770' };
  const settings = { ...baseSettings, ...reachable, unix_socket_directories: socketDir, ...options.settings };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const server = [files.postgres, '-D', dataDir, ...flags];
  const { user } = options;
  const program = options.dieWithParent ? ['setpriv', '--pdeathsig', 'INT', ...server] : server;
  const [command = '', ...args] =
    user === undefined
      ? unprivileged(program)
      : confined({ user, reaches: [path.dirname(dataDir), path.dirname(socketDir)] }, program);
  const log = await open(logFile(dataDir), 'a', 0o600);
  try {
    const child = spawn(command, args, {
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: environment(files),
    });
    const pid = await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('spawn', () => resolve(child.pid ?? 0));
    });
    child.unref();
    return pid;
  } finally {
    await log.close();
  }
};

interface Postmaster {
  readonly pid: number;
  readonly socketDir: string;
  /** `starting`, `ready`, `stopping`: the last line of `postmaster.pid`. */
  readonly status: string;
}

/**
 * The live postmaster of `dataDir`, by its `postmaster.pid`. A number alone proves nothing (it may have been reused):
 * the process must be a postgres whose working directory is the cluster.
 */
const findPostmaster = async (dataDir: string): Promise<Postmaster | undefined> => {
  const text = readUnfollowed(path.join(dataDir, 'postmaster.pid')) ?? '';
  const lines = text.split('\n');
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 0 || !(await isPostmaster(pid, dataDir))) return undefined;
  return { pid, socketDir: lines[4] ?? '', status: lines[7]?.trim() ?? '' };
};

const isPostmaster = async (pid: number, dataDir: string): Promise<boolean> => {
  const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '');
  const exe = await readlink(`/proc/${pid}/exe`).catch(() => '');
  return cwd === dataDir && path.basename(exe).startsWith('postgres');
};

const waitReady = async (dataDir: string, pid: number, timeoutMs: number): Promise<void> => {
  if (!(await becomesReady(dataDir, pid, timeoutMs)))
    throw new Error(`PostgreSQL in ${dataDir} ended while starting: ${await tail(dataDir)}`);
};

/** False: it ends, or has ended. Throws where it is neither ready nor gone in time. */
const becomesReady = async (dataDir: string, pid: number, timeoutMs: number): Promise<boolean> => {
  const deadline = monotonicMs() + timeoutMs;
  while (monotonicMs() < deadline) {
    const found = await findPostmaster(dataDir);
    if (found?.pid === pid && found.status === 'ready') return true;
    if (found?.status === 'stopping' || !signalIfAlive(pid, 0)) return false;
    await delay(pollMs);
  }
  throw new Error(`PostgreSQL in ${dataDir} was not ready in ${timeoutMs} ms: ${await tail(dataDir)}`);
};

const logFile = (dataDir: string): string => `${dataDir}.log`;

const tail = async (dataDir: string): Promise<string> =>
  (await readFile(logFile(dataDir), 'utf8').catch(() => '')).slice(-2000);

/** Fast shutdown first, then an immediate one (the next start recovers), then the kernel's. */
const stopPostmaster = async (dataDir: string, pid: number): Promise<void> => {
  for (const [signal, waitMs] of [
    ['SIGINT', stopTimeoutMs],
    ['SIGQUIT', killTimeoutMs],
    ['SIGKILL', killTimeoutMs],
  ] as const) {
    if (!(await isPostmaster(pid, dataDir))) return;
    signalIfAlive(pid, signal);
    const deadline = monotonicMs() + waitMs;
    while (monotonicMs() < deadline) {
      if (!(await isPostmaster(pid, dataDir))) return;
      await delay(pollMs);
    }
  }
  throw new Error(`PostgreSQL ${pid} in ${dataDir} could not be stopped`);
};

/**
 * Clears what a killed postmaster left. Its backends may live on for a while and keep shared memory. Its pid file may name an unrelated
 * process. Either would make the next start fail. Call with no postmaster alive.
 */
const clearRemains = async (dataDir: string, socketDir: string): Promise<void> => {
  for (const signal of ['SIGQUIT', 'SIGKILL'] as const) {
    const deadline = monotonicMs() + killTimeoutMs;
    let orphans = await processesOf(dataDir);
    for (const pid of orphans) signalIfAlive(pid, signal);
    while (orphans.length > 0 && monotonicMs() < deadline) {
      await delay(pollMs);
      orphans = await processesOf(dataDir);
    }
  }
  await rm(path.join(dataDir, 'postmaster.pid'), { force: true });
  // The socket's lock names a pid too. PostgreSQL takes even an unreaped zombie for a rival. A live rival's lock stays.
  const lock = path.join(socketDir, '.s.PGSQL.5432.lock');
  const holder = Number(readUnfollowed(lock)?.split('\n')[0]);
  const exe = await readlink(`/proc/${holder}/exe`).catch(() => '');
  if (!path.basename(exe).startsWith('postgres')) await rm(lock, { force: true });
};

const processesOf = async (dataDir: string): Promise<readonly number[]> => {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => Number.isInteger(pid) && pid > 0);
  const ours = await Promise.all(pids.map(async (pid) => ((await isPostmaster(pid, dataDir)) ? [pid] : [])));
  return ours.flat();
};

const signalIfAlive = (pid: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
};

const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );
