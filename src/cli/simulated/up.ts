/** `pando up --simulated`: the same API over simulated hosts, without root and without VMs. */
import { existsSync, mkdirSync, mkdtempSync, statfsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { monotonicMs } from '#base/monotonic.ts';
import { type RunRecord, readRun, writeRun } from '#lab/runRecord.ts';
import { hasState, type SimulatedRun, simulatedProcess } from '#lab/simulatedRun.ts';
import { type RunDirectory, runDirectory } from '#node/directory.ts';
import { withLock, withLockWaiting } from '#node/lock.ts';
import { livingIn } from '#node/processIdentity.ts';
import { writeAwsFiles } from '../awsFiles.ts';
import { interruptible } from '../interrupt.ts';
import { paint, print, progress, seconds, ticking, UserError } from '../output.ts';
import { openRegion } from '../region.ts';
import { simulatedCache, simulatedDirectory } from './directory.ts';
import { dropFromMemory, endSimulated, memoryParent, memoryPrefix } from './end.ts';
import { PortTaken, portTaken, type StartedProcess, startProcess } from './process.ts';

export interface SimulatedUpOptions {
  readonly dir?: string;
  readonly port?: number;
  readonly cells?: number;
  readonly hostsPerCell?: number;
  readonly region?: string;
  readonly anyRegion?: boolean;
  readonly instant?: boolean;
  readonly persist?: boolean;
  readonly foreground?: boolean;
}

const regionNameDefault = 'us-east-1';
const cellsDefault = 3;
const hostsPerCellDefault = 2;
const firstPort = 4566;
const portsTried = 100;
/** Regions that start at once, each with the port that all had found free: one of them gets it each time. */
const startsMax = 8;
/** What a store in memory may need: less, and it goes to the directory. */
const memoryBytesMin = 512 * 1024 * 1024;
const lockWaitMsMax = 60_000;

export async function upSimulated(options: SimulatedUpOptions): Promise<void> {
  const directory = runDirectory(resolve(options.dir ?? simulatedDirectory()));
  const begun = monotonicMs();
  const started = await whenFree(directory, () =>
    interruptible(
      (signal) => bringAtFreePort(directory, options, signal),
      `What is there stays: pando up --simulated goes on from it, pando down --dir ${directory.root} removes it.`,
    ),
  );
  greet(directory, started === undefined, monotonicMs() - begun);
  if (started === undefined) return;
  if (options.foreground === true) return inFront(directory, started);
  started.child.disconnect();
  started.child.unref();
}

/** Two that start the same region at once: the second waits, and finds it up. */
const whenFree = <T>(directory: RunDirectory, work: () => Promise<T>): Promise<T> =>
  withLockWaiting(
    directory.lockFile,
    {
      waitMsMax: lockWaitMsMax,
      onWait: (pid) => progress(`Another pando (pid ${pid}) is at work on ${directory.root}: waiting for it`),
    },
    work,
  );

/** Whoever asked for no port gets the first that nobody takes between our look and our listening. */
async function bringAtFreePort(
  directory: RunDirectory,
  options: SimulatedUpOptions,
  signal: AbortSignal,
): Promise<StartedProcess | undefined> {
  const present = readRun(directory);
  const isChosen = (present?.port ?? options.port) !== undefined;
  for (let tries = 1; ; tries++)
    try {
      return await bring(directory, present, options, signal);
    } catch (error) {
      if (!(error instanceof PortTaken) || isChosen || tries >= startsMax) throw error;
      // The next try makes a state of its own.
      await dropFromMemory(readRun(directory)?.simulated?.state ?? '');
    }
}

async function bring(
  directory: RunDirectory,
  present: RunRecord | undefined,
  options: SimulatedUpOptions,
  signal: AbortSignal,
): Promise<StartedProcess | undefined> {
  if (present !== undefined) assertAsStarted(directory, present, options);
  if (present !== undefined && livingIn(directory.pidFile(simulatedProcess)) !== undefined) {
    // Ready ones wrote their ports down; one without lost its starter, and ends by itself.
    if (present.simulated?.ports !== undefined && options.foreground !== true) return undefined;
    if (options.foreground === true)
      throw new UserError(
        `It runs already. To have it in front: pando down --dir ${directory.root}, then again.`,
      );
  }
  mkdirSync(directory.root, { recursive: true, mode: 0o700 });
  const run = await decide(directory, present, options);
  const { simulated } = run;
  if (simulated === undefined) throw new Error('not a simulated run');
  const { ports: _, ...state } = simulated;
  // So that a start that breaks off leaves no ports of a process that is gone.
  writeRun(directory, { ...run, simulated: state });
  const config = {
    ...{ root: directory.root, state: state.state, persist: state.persist, cache: simulatedCache() },
    ...{ port: run.port, regionName: run.regionName, cells: run.cells, hostsPerCell: run.hostsPerCell },
    ...{ anyRegion: state.anyRegion, instant: state.instant, foreground: options.foreground === true },
    accessKeyId: run.account?.accessKeyId,
  };
  const started = await ticking(() =>
    startProcess(directory, config, signal, (line) => progress(`• ${line}`)),
  );
  const { account, regionPort, cellPorts, imageId } = started.ready;
  writeRun(directory, {
    ...run,
    ...(account === undefined
      ? {}
      : {
          account: {
            accountId: account.accountId,
            accessKeyId: account.accessKeyId,
            secret: account.secretAccessKey,
          },
        }),
    simulated: { ...state, ports: { region: regionPort, cells: cellPorts }, imageId },
  });
  writeAwsFiles(openRegion({ dir: directory.root }));
  return started;
}

function assertAsStarted(directory: RunDirectory, present: RunRecord, options: SimulatedUpOptions): void {
  const { simulated } = present;
  if (simulated === undefined)
    throw new UserError(
      `${directory.root} holds a real region. A simulated one needs a directory of its own: --dir`,
    );
  const asked = [
    ['--port', options.port, present.port],
    ['--cells', options.cells, present.cells],
    ['--hosts-per-cell', options.hostsPerCell, present.hostsPerCell],
    ['--region', options.region, present.regionName],
    ['--any-region', options.anyRegion, simulated.anyRegion],
    ['--instant', options.instant, simulated.instant],
    ['--persist', options.persist, simulated.persist],
  ] as const;
  for (const [option, value, now] of asked)
    if (value !== undefined && value !== now)
      throw new UserError(
        `The region in ${directory.root} was started with ${typeof now === 'boolean' ? `${now ? '' : 'no '}${option}` : `${option} ${now}`}. ` +
          'To change it: pando down --purge, then up; or another one beside it: --dir DIR',
      );
}

async function decide(
  directory: RunDirectory,
  present: RunRecord | undefined,
  options: SimulatedUpOptions,
): Promise<RunRecord> {
  const persist = present?.simulated?.persist ?? options.persist ?? false;
  const kept = present?.simulated?.state;
  const goesOn = kept !== undefined && hasState(kept);
  if (kept !== undefined && !goesOn) await dropFromMemory(kept);
  const port = present?.port ?? options.port;
  if (port !== undefined && !(await isFree(port))) throw new UserError(portTaken(port));
  const simulated: SimulatedRun = {
    persist,
    state: goesOn ? kept : newState(directory, persist),
    instant: present?.simulated?.instant ?? options.instant ?? false,
    anyRegion: present?.simulated?.anyRegion ?? options.anyRegion ?? false,
  };
  return {
    format: 1,
    index: 0,
    cells: present?.cells ?? options.cells ?? cellsDefault,
    hostsPerCell: present?.hostsPerCell ?? options.hostsPerCell ?? hostsPerCellDefault,
    port: port ?? (await firstFree()),
    regionName: present?.regionName ?? options.region ?? regionNameDefault,
    ...(present?.account === undefined ? {} : { account: present.account }),
    simulated,
  };
}

/** In the machine's memory where there is enough of it, with a name that nobody can guess and that is ours alone. */
function newState(directory: RunDirectory, persist: boolean): string {
  if (!persist && existsSync(memoryParent)) {
    const { bavail, bsize } = statfsSync(memoryParent);
    if (bavail * bsize >= memoryBytesMin)
      try {
        return mkdtempSync(join(memoryParent, memoryPrefix));
      } catch {
        // Not writable for us, as in some containers.
      }
  }
  return directory.state(simulatedProcess);
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });

async function firstFree(): Promise<number> {
  for (let port = firstPort; port < firstPort + portsTried; port++) if (await isFree(port)) return port;
  throw new UserError(
    `No port from ${firstPort} to ${firstPort + portsTried - 1} is free: choose one with --port`,
  );
}

/** Until it ends, or we are asked to end it. */
async function inFront(directory: RunDirectory, { child }: StartedProcess): Promise<void> {
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill('SIGTERM'));
  const code = child.exitCode ?? (await ended);
  await withLock(directory.lockFile, () => endSimulated(directory, { purge: false }));
  if (code !== 0)
    throw new UserError(`The simulated region ended by itself: see ${directory.logFile(simulatedProcess)}`);
}

function greet(directory: RunDirectory, wasUp: boolean, tookMs: number): void {
  const { run, endpoint } = openRegion({ dir: directory.root });
  const { simulated } = run;
  const dir = directory.root === simulatedDirectory() ? '' : ` --dir ${directory.root}`;
  print(
    `${paint('ok', '✔')} ${paint('bold', `The simulated region ${run.regionName} ${wasUp ? 'was up already' : 'is up'}`)} (${seconds(tookMs)})${simulated?.anyRegion === true ? ', under any region’s name' : ''}`,
  );
  print(`  endpoint   ${endpoint}`);
  print(`  keys       . ${directory.env}     (an AWS profile of its own; ~/.aws is not touched)`);
  print(`  image      ${simulated?.imageId ?? ''}`);
  print(
    `  state      ${simulated?.persist === true ? `${simulated.state} (kept until pando down --purge)` : 'in memory'}`,
  );
  print('Try:');
  print(
    `  . ${directory.env}; aws ec2 run-instances --image-id ${simulated?.imageId ?? ''} --instance-type t3.micro`,
  );
  print(`  pando status${dir}   pando logs${dir}   pando down${dir}`);
}
