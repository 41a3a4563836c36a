/**
 * Ends a run and leaves nothing of it, whatever state it is in: up, half up, crashed, or its supervisor dead.
 * Only what is provably the run's is touched: processes named by its records, inside its namespaces or started with its
 * configuration; names with its prefix; files below its directory.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { rm, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { exec } from '#base/exec.ts';
import { askSupervisor } from '#node/control.ts';
import { type RunDirectory, runDirectory } from '#node/directory.ts';
import { restoreMachineSettings } from '#node/machineSettings.ts';
import { endProcess, identify, livingIn, type ProcessIdentity } from '#node/processIdentity.ts';
import { abandoned, isClaimed, otherHolder, releaseIndex } from './claims.ts';
import { dropDatabases } from './externalPostgres.ts';
import { prefixOf } from './plan.ts';
import { readRun } from './runRecord.ts';
import { namespacesOf, removeTopology, topologyLeft } from './topology.ts';
import { removeWebhookFence } from './webhookFence.ts';

const stopTimeoutMs = 60_000;
const graceMs = 3_000;
const cgroupRoot = '/sys/fs/cgroup';
const cgroupDepthMax = 4;

type Log = (line: string) => void;

/** The index, and with it all that is found by its names, is another run's. */
export class IndexOfAnother extends Error {
  constructor(directory: RunDirectory, holder: string) {
    super(
      `${directory.runFile} speaks of the region in ${holder}, whose directory this is a copy of: nothing is touched. To end that region: pando down --dir ${holder}`,
    );
  }
}

/**
 * Ends the run of `directory` with this index, and removes its directory. Repeatable.
 * @throws IndexOfAnother
 */
export async function takeDown(directory: RunDirectory, index: number, log: Log): Promise<void> {
  // Done already: from then on the index may be given to another run at any time.
  if (!existsSync(directory.root) && !isClaimed(index, directory.root)) return;
  const holder = otherHolder(index, directory.root);
  if (holder !== undefined) throw new IndexOfAnother(directory, holder);
  const prefix = prefixOf(index);
  await stopBySupervisor(directory, log);
  const left = [...recorded(directory), ...ofConfiguration(directory), ...(await ofNamespaces(prefix))];
  if (left.length > 0) log(`ending ${left.length === 1 ? 'one process' : `${left.length} processes`} more`);
  await Promise.all(
    left.filter((each) => each.pid !== process.pid).map((each) => endProcess(each, graceMs, 'SIGINT')),
  );
  await removeDatabases(directory, log);
  await removeTopology(prefix);
  await removeWebhookFence(prefix);
  await removeCgroups(prefix);
  await unmountBelow(directory.root);
  if (existsSync(directory.runFile)) await rm(directory.root, { recursive: true, force: true });
  // Before the index is given back: afterwards they may be the next run's.
  const remains = await topologyLeft(prefix);
  if (remains.length > 0) throw new Error(`These could not be removed: ${remains.join(' ')}`);
  if (releaseIndex(index, directory.root)) restoreMachineSettings();
}

/** Of a run whose record tells where they are. */
async function removeDatabases(directory: RunDirectory, log: Log): Promise<void> {
  try {
    const run = readRun(directory);
    if (run !== undefined) await dropDatabases(run, log);
  } catch {
    // A damaged record: it tells nothing.
  }
}

/** Ends the runs that a dead process left behind. */
export async function removeAbandonedRuns(log: Log): Promise<void> {
  for (const [index, claim] of abandoned()) {
    log(`removing what the ended process ${claim.owner?.pid} left in ${claim.directory}`);
    await takeDown(runDirectory(claim.directory), index, log).catch((error: unknown) => {
      // Another process has removed it meanwhile, and a third one has the index.
      if (!(error instanceof IndexOfAnother)) throw error;
    });
  }
}

async function stopBySupervisor(directory: RunDirectory, log: Log): Promise<void> {
  const supervisor = livingIn(directory.pidFile('supervisor'));
  if (supervisor === undefined) return;
  try {
    await askSupervisor(directory.controlSocket, { op: 'stop' }, stopTimeoutMs);
  } catch (error) {
    log(`the supervisor did not stop the processes: ${error instanceof Error ? error.message : error}`);
  }
  await endProcess(supervisor, graceMs);
}

/** Processes of the run's pid files that still live. */
function recorded(directory: RunDirectory): ProcessIdentity[] {
  if (!existsSync(directory.run)) return [];
  return readdirSync(directory.run)
    .filter((name) => name.endsWith('.pid'))
    .flatMap((name) => livingIn(join(directory.run, name)) ?? []);
}

const ours = ['node', 'postgres', 'qemu-system-x86_64', 'qemu-storage-daemon'];

/** Processes of the kinds that a run starts whose arguments name a path below its directory. */
function ofConfiguration(directory: RunDirectory): ProcessIdentity[] {
  const below = [`${directory.run}/`, join(directory.root, 'postgres/'), join(directory.root, 'state/')];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      try {
        const [command = '', ...args] = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
        const named = args.some((arg) => below.some((path) => arg.includes(path)));
        return named && ours.includes(basename(command)) ? (identify(Number(name)) ?? []) : [];
      } catch {
        return [];
      }
    });
}

/** Everything that runs inside the run's namespaces: they carry the run's prefix, so it is the run's. */
async function ofNamespaces(prefix: string): Promise<ProcessIdentity[]> {
  const lists = await Promise.all(
    (await namespacesOf(prefix)).map((name) => exec('ip', ['netns', 'pids', name], { allow: [1] })),
  );
  const pids = lists.flatMap(({ stdout }) =>
    stdout
      .split('\n')
      .filter((line) => line !== '')
      .map(Number),
  );
  return pids.flatMap((pid) => identify(pid) ?? []);
}

/** Removes control groups named after the run, deepest first; one that is still used stays for the next attempt. */
async function removeCgroups(prefix: string): Promise<void> {
  if (!existsSync(cgroupRoot)) return;
  const { stdout } = await exec(
    'find',
    [
      cgroupRoot,
      '-mindepth',
      '1',
      '-maxdepth',
      String(cgroupDepthMax),
      '-type',
      'd',
      '(',
      '-name',
      prefix,
      '-o',
      '-name',
      `${prefix}-*`,
      ')',
    ],
    { allow: [1] },
  );
  for (const top of stdout.split('\n').filter((line) => line !== '')) {
    const nested = await exec('find', [top, '-depth', '-type', 'd'], { allow: [1] });
    for (const path of nested.stdout.split('\n').filter((line) => line !== ''))
      await rmdir(path).catch(() => undefined);
  }
}

async function unmountBelow(root: string): Promise<void> {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((row) => row.split(' ')[4] ?? '');
  for (const mount of mounts
    .filter((path) => path.startsWith(`${root}/`))
    .sort()
    .reverse())
    await exec('umount', ['-l', mount], { allow: [1, 32] });
}
