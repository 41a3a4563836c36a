/** Removes what test processes left that were killed: processes, namespaces, devices, control groups, files. */
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { exec } from '#base/exec.ts';
import { dropFromMemory } from '#cli/simulated/end.ts';
import { deleteLink } from '#lab/links.ts';
import { readRun } from '#lab/runRecord.ts';
import { removeAbandonedRuns } from '#lab/teardown.ts';
import { runDirectory } from '#node/directory.ts';
import { endProcess, identify } from '#node/processIdentity.ts';
import { labOf } from './labName.ts';

const graceMs = 2_000;
const scratchPrefix = 'pando-test-';

const isGone = (pid: number): boolean => identify(pid) === undefined;

/** A name that goes on otherwise than with a number is somebody else's. */
const isOfGone = (name: string): boolean => {
  const pid = /^\d+$/.exec(name.slice(scratchPrefix.length))?.[0];
  return name.startsWith(scratchPrefix) && pid !== undefined && isGone(Number(pid));
};

/** The directory for all temporary files of the test run of this process. */
export const scratchOf = (pid: number): string => join(tmpdir(), `${scratchPrefix}${pid}`);

/** Everything of runs and test files that are gone. A runner that was killed leaves its test files running: these end first. */
export async function removeAbandoned(log: (line: string) => void): Promise<void> {
  const left = readdirSync(tmpdir())
    .filter((name) => isOfGone(name))
    .map((name) => join(tmpdir(), name));
  for (const directory of left) await endThoseOf(directory);
  await removeAbandonedRuns(log);
  await removeAbandonedLabs(log);
  for (const directory of left) await removeScratch(directory);
}

/** Namespaces, devices and control groups of test files that are gone. */
export async function removeAbandonedLabs(log: (line: string) => void): Promise<void> {
  const names = await namespaces();
  const labs = new Set(
    [...names, ...controlGroups().map((path) => basename(path))].flatMap((name) => {
      const owner = labOf(name);
      return owner !== undefined && isGone(owner.pid) ? [owner.lab] : [];
    }),
  );
  for (const lab of labs) {
    log(`removing what an ended test left: ${lab}`);
    await removeLab(lab, names);
  }
}

/** Ends this process's children: the test files of an interrupted run. What they leave is abandoned only once they are gone. */
export async function endChildren(): Promise<void> {
  const lists = globSync('/proc/self/task/*/children').map((path) => readFileSync(path, 'utf8'));
  await end(lists.flatMap((text) => text.split(' ').filter(Boolean).map(Number)));
}

/** Ends what runs with files below the directory, and removes it. */
export async function removeScratch(directory: string): Promise<void> {
  await endThoseOf(directory);
  for (const record of globSync('**/run.json', { cwd: directory })) await dropState(join(directory, record));
  await rm(directory, { recursive: true, force: true });
}

/** A simulated region's state lies in memory, outside of the run's directory. */
async function dropState(record: string): Promise<void> {
  try {
    await dropFromMemory(readRun(runDirectory(dirname(record)))?.simulated?.state ?? '');
  } catch {
    // A record that was half written tells nothing.
  }
}

/** Ends the processes whose arguments or environment name a file below the directory: a run's test files, and what they started. */
async function endThoseOf(directory: string): Promise<void> {
  const names = (pid: number, file: string): boolean => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'utf8').includes(`${directory}/`);
    } catch {
      return false;
    }
  };
  const pids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && (names(pid, 'cmdline') || names(pid, 'environ')));
  await end(pids);
}

async function removeLab(lab: string, names: readonly string[]): Promise<void> {
  const own = names.filter((name) => labOf(name)?.lab === lab);
  const groups = controlGroups().filter((path) => labOf(basename(path))?.lab === lab);
  const lists = await Promise.all(own.map((name) => exec('ip', ['netns', 'pids', name], { allow: [1] })));
  const inside = lists.flatMap(({ stdout }) => stdout.split('\n').filter(Boolean).map(Number));
  const grouped = groups
    .flatMap((path) => globSync(`${path}/**/cgroup.procs`))
    .flatMap((path) => readFileSync(path, 'utf8').split('\n').filter(Boolean).map(Number));
  await end([...new Set([...inside, ...grouped])]);
  for (const name of own) await exec('ip', ['netns', 'del', name], { allow: [1] });
  const { stdout } = await exec('ip', ['-o', 'link']);
  for (const [, link = ''] of stdout.matchAll(/^\d+: ([^:@]+)/gm))
    if (labOf(link)?.lab === lab) await deleteLink(link);
  for (const path of groups) await removeGroups(path);
}

const namespaces = async (): Promise<string[]> =>
  (await exec('ip', ['netns', 'list'])).stdout.split('\n').map((line) => line.split(' ')[0] ?? '');

/** Of tests: they lie at the top of each hierarchy. */
const controlGroups = (): string[] => globSync('/sys/fs/cgroup/{,*/}pt*').filter((path) => existsSync(path));

async function end(pids: readonly number[]): Promise<void> {
  await Promise.all(
    pids.flatMap((pid) => identify(pid) ?? []).map((each) => endProcess(each, graceMs, 'SIGKILL')),
  );
}

/** Deepest first. */
async function removeGroups(top: string): Promise<void> {
  const below = globSync(`${top}/**/`).sort().reverse();
  for (const path of [...below, top]) await rmdir(path).catch(() => undefined);
}
