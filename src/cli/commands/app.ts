/**
 * `pando app NAME up|down|status`: runs an application of this repository on this machine, on an embedded PostgreSQL of its own. The
 * application is another program: it is given a database's URL and a port, and nothing of Pando's.
 */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { monotonicMs } from '#base/monotonic.ts';
import { ensureDatabase } from '#base/postgres/create.ts';

import { startPostgres } from '#node/embedded-postgres.ts';
import { withLock } from '#node/lock.ts';
import { endProcess, identify, isAlive, processIdentity } from '#node/processIdentity.ts';
import { type AppName, appDirectory, appNames, ensureAppModules, ensureAppPages } from '../appModules.ts';

import { print, seconds, step, UserError } from '../output.ts';

const readyTimeoutMs = 30_000;
const endTimeoutMs = 10_000;
const pollMs = 50;
export const appPortDefault = 8480;

const record = z.object({
  process: processIdentity,
  port: z.number(),
  mode: z.enum(['demo', 'live']),
  operatorToken: z.string(),
});
type Record = z.infer<typeof record>;

export interface AppOptions {
  readonly dir?: string;
  readonly port?: number;
  readonly live?: boolean;
  readonly purge?: boolean;
  readonly json?: boolean;
}

const isRoot = process.getuid?.() === 0;
const defaultDirectory = (name: AppName): string =>
  isRoot ? `/var/lib/pando-${name}` : join(homedir(), '.local', 'state', `pando-${name}`);

interface Place {
  readonly name: AppName;
  readonly root: string;
  readonly recordFile: string;
  readonly logFile: string;
  readonly lockFile: string;
  readonly postgres: { readonly dataDir: string; readonly socketDir: string };
}

function placeOf(app: string, options: AppOptions): Place {
  const name = appNames.find((each) => each === app);
  if (name === undefined)
    throw new UserError(`There is no application "${app}". There is: ${appNames.join(', ')}`);
  const root = resolve(options.dir ?? defaultDirectory(name));
  return {
    name,
    root,
    recordFile: join(root, 'app.json'),
    logFile: join(root, 'app.log'),
    lockFile: `${root}.lock`,
    postgres: { dataDir: join(root, 'postgres'), socketDir: join(root, 'socket') },
  };
}

function readRecord(place: Place): Record | undefined {
  if (!existsSync(place.recordFile)) return undefined;
  return record.parse(JSON.parse(readFileSync(place.recordFile, 'utf8')));
}

const urlOf = (run: Pick<Record, 'port'>): string => `http://localhost:${run.port}`;

/** Starts what is not running; run again, it says where it is. */
export async function appUp(app: string, options: AppOptions): Promise<void> {
  const place = placeOf(app, options);
  await ensureAppModules(place.name);
  await ensureAppPages(place.name);
  const run = await withLock(place.lockFile, async () => {
    mkdirSync(place.root, { recursive: true, mode: 0o700 });
    const old = readRecord(place);
    if (old !== undefined && isAlive(old.process)) return refuseOtherwise(old, options);
    const url = await step(`PostgreSQL in ${place.postgres.dataDir}`, async (say) => {
      const server = await startPostgres({ ...place.postgres, log: say });
      return ensureDatabase(server.url, place.name);
    });
    return step(`${place.name}`, () => launch(place, url, old, options));
  });
  print(`${place.name} is up: ${urlOf(run)} (${run.mode} mode)`);
  if (run.mode === 'demo') print('Demo mode: anybody who reaches it may sign in as one of the demo people.');
  print(`Operator's token: ${run.operatorToken}`);
  print(`Log: ${place.logFile}   End it: pando app ${place.name} down`);
}

function refuseOtherwise(run: Record, options: AppOptions): Record {
  const isOther =
    (options.port !== undefined && options.port !== run.port) ||
    (options.live === true) !== (run.mode === 'live');
  if (isOther) throw new UserError(`It runs already, on port ${run.port} in ${run.mode} mode. End it first.`);
  return run;
}

async function launch(
  place: Place,
  databaseUrl: string,
  old: Record | undefined,
  options: AppOptions,
): Promise<Record> {
  const settings = {
    port: options.port ?? old?.port ?? appPortDefault,
    mode: options.live === true ? ('live' as const) : ('demo' as const),
    operatorToken: old?.operatorToken ?? randomBytes(18).toString('base64url'),
  };
  const output = openSync(place.logFile, 'a', 0o600);
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', join(appDirectory(place.name), 'src', 'main.ts')],
    {
      cwd: appDirectory(place.name),
      detached: true,
      stdio: ['ignore', output, output],
      env: {
        PATH: process.env.PATH,
        PAYMENTS_DATABASE_URL: databaseUrl,
        PAYMENTS_MODE: settings.mode,
        PAYMENTS_PORT: `${settings.port}`,
        PAYMENTS_OPERATOR_TOKEN: settings.operatorToken,
      },
    },
  );
  closeSync(output);
  child.unref();
  const identity = child.pid === undefined ? undefined : identify(child.pid);
  if (identity === undefined) throw new UserError(`${place.name} could not be started: see ${place.logFile}`);
  const run: Record = { process: identity, ...settings };
  writeFileSync(place.recordFile, JSON.stringify(run), { mode: 0o600 });
  await ready(place, run);
  return run;
}

async function ready(place: Place, run: Record): Promise<void> {
  const until = monotonicMs() + readyTimeoutMs;
  for (;;) {
    if (!isAlive(run.process)) throw new UserError(`${place.name} ended while starting:\n${logEnd(place)}`);
    if (await answers(run)) return;
    if (monotonicMs() > until)
      throw new UserError(
        `${place.name} does not answer after ${seconds(readyTimeoutMs)}:\n${logEnd(place)}`,
      );
    await delay(pollMs);
  }
}

const logEnd = (place: Place): string => readFileSync(place.logFile, 'utf8').slice(-1_500);

const answers = (run: Record): Promise<boolean> =>
  fetch(`http://127.0.0.1:${run.port}/v1/about`, { signal: AbortSignal.timeout(2_000) }).then(
    (response) => response.ok,
    () => false,
  );

/** Ends it and its PostgreSQL. The books stay; `--purge` removes them. */
export async function appDown(app: string, options: AppOptions): Promise<void> {
  const place = placeOf(app, options);
  if (!existsSync(place.postgres.dataDir)) {
    print('Nothing was running.');
    return;
  }
  await withLock(place.lockFile, async () => {
    const run = readRecord(place);
    if (run !== undefined) await step(`ending ${place.name}`, () => endProcess(run.process, endTimeoutMs));
    // Found by its own files, so that one that outlived its record is ended too.
    const server = await startPostgres(place.postgres);
    await server.stop();
    if (options.purge === true) rmSync(place.root, { recursive: true, force: true });
  });
  print(
    options.purge === true
      ? `Nothing is left in ${place.root}.`
      : `Its books stay in ${place.root} (--purge removes them).`,
  );
}

export async function appStatus(app: string, options: AppOptions): Promise<void> {
  const place = placeOf(app, options);
  const run = readRecord(place);
  const isRunning = run !== undefined && isAlive(run.process);
  const isAnswering = isRunning && (await answers(run));
  const state = isAnswering ? 'up' : isRunning ? 'not answering' : 'down';
  if (options.json === true) {
    const where = run === undefined ? {} : { url: urlOf(run), mode: run.mode, pid: run.process.pid };
    print(
      JSON.stringify({ app: place.name, state, directory: place.root, ...(isRunning ? where : {}) }, null, 2),
    );
    return;
  }
  print(
    `${place.name}  ${state}${isRunning && run !== undefined ? `  ${urlOf(run)}  ${run.mode} mode  pid ${run.process.pid}` : ''}  ${place.root}`,
  );
}
