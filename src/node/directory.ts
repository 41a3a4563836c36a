/** Where a run keeps its files. One object, so that no other module puts a path together. */
import { join, resolve } from 'node:path';

export interface RunDirectory {
  readonly root: string;
  readonly runFile: string;
  /** It lies beside the directory, so that `down` keeps it locked while the directory itself is removed. */
  readonly lockFile: string;
  readonly pki: string;
  readonly run: string;
  readonly log: string;
  readonly processList: string;
  readonly controlSocket: string;
  readonly aws: string;
  readonly env: string;
  readonly keyFile: string;
  /** In it, a directory and a log (`NAME.log`) for each PostgreSQL. */
  readonly postgresRoot: string;
  config(name: string): string;
  pidFile(name: string): string;
  /** Of the process with this name: a PostgreSQL's lies beside its data. */
  logFile(name: string): string;
  postgres(name: string): { readonly dataDir: string; readonly socketDir: string };
  /** Working directory of one host's agent, or of another process. */
  state(name: string): string;
  /** Where a process shows its metrics; in a directory of its own. */
  metricsSocket(name: string): string;
  /** Leads to the collector of spans, out of every network namespace. */
  readonly spanSocket: string;
  /** Where the certificate authority's process answers; in a directory of its own. */
  readonly caSocket: string;
  /** Where the webhook sender takes what is to be sent; in a directory of its own. */
  readonly webhooksSocket: string;
  /** What the sender knows its cells by. */
  readonly webhooksKey: string;
  /** Versions of the card's program, each in a directory that is named by the digest of its code. */
  readonly programs: string;
  /** The processes' code as Node's compile cache has it: root's to write, all processes' to read. */
  readonly compiled: string;
  /** Seals access keys' secrets in the region's database. */
  readonly sealKey: string;
}

/** How the processes that are a PostgreSQL are named, before the name of its store. */
export const postgresPrefix = 'postgres-';

/** Paths below `root` (absolute). */
export const runDirectory = (root: string): RunDirectory => {
  const run = join(root, 'run');
  const log = join(root, 'log');
  return {
    root,
    runFile: join(root, 'run.json'),
    lockFile: `${root}.lock`,
    pki: join(root, 'pki'),
    run,
    log,
    processList: join(run, 'processes.json'),
    controlSocket: join(run, 'supervisor.sock'),
    aws: join(root, 'aws'),
    env: join(root, 'env.sh'),
    keyFile: join(root, 'keys', 'pando.pem'),
    postgresRoot: join(root, 'postgres'),
    metricsSocket: (name) => join(root, 'sockets', `${name}.metrics`, 'http'),
    spanSocket: join(root, 'sockets', 'spans', 'otlp'),
    caSocket: join(root, 'state', 'ca', 'ca.sock'),
    webhooksSocket: join(root, 'state', 'webhooks', 'deliver.sock'),
    webhooksKey: join(root, 'keys', 'webhooks.key'),
    programs: join(root, 'programs'),
    compiled: join(root, 'compiled'),
    sealKey: join(root, 'keys', 'seal.key'),
    config: (name) => join(run, `${name}.json`),
    pidFile: (name) => join(run, `${name}.pid`),
    logFile: (name) =>
      name.startsWith(postgresPrefix)
        ? join(root, 'postgres', `${name.slice(postgresPrefix.length)}.log`)
        : join(log, `${name}.log`),
    postgres: (name) => ({ dataDir: join(root, 'postgres', name), socketDir: join(root, 'sockets', name) }),
    state: (name) => join(root, 'state', name),
  };
};

/** Pando's own code: the directory that holds `src/`. */
export const codeDirectory = join(import.meta.dirname, '..', '..');

/** Built images and downloads: shared by all runs of the machine, kept by `pando down`. */
export const cacheDirectory = resolve(process.env.PANDO_CACHE ?? '/var/cache/pando');

/** What the machine remembers of runs until it reboots. */
export const runtimeDirectory = '/run/pando';
