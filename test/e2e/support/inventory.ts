/** Everything that a run's VMs could leave behind on the machine, as sorted lists of names. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import { linksOf, namespacesOf } from '#lab/topology.ts';
import type { TestRegion } from './region.ts';

/** Written over and over by processes that live: their names do not change, but temporary ones come and go. */
const passing = /\.new$|\.tmp$/;

/** Kind → what there is of it. */
export async function inventory(region: TestRegion): Promise<Record<string, string[]>> {
  const { plan, directory } = region;
  const namespaces = await namespacesOf(plan.prefix);
  const perNamespace = async (look: (name: string) => Promise<string[]>): Promise<string[]> =>
    (
      await Promise.all(namespaces.map(async (name) => (await look(name)).map((what) => `${name}: ${what}`)))
    ).flat();
  return {
    processes: processes(directory.root, plan.prefix),
    namespaces,
    links: await perNamespace(async (name) => [...(await linksOf(name))].sort()),
    routes: await perNamespace((name) => lines('ip', ['-n', name, 'route', 'show', 'table', 'all'])),
    neighbours: await perNamespace((name) => lines('ip', ['-n', name, 'neigh', 'show', 'nud', 'permanent'])),
    rules: await perNamespace((name) => lines('ip', ['netns', 'exec', name, 'nft', '-s', 'list', 'ruleset'])),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((row) => row.split(' ')[4] ?? '')
      .filter((path) => path.startsWith(directory.root))
      .sort(),
    cgroups: await cgroups(plan.prefix),
    files: readdirSync(join(directory.root, 'state'), { recursive: true, encoding: 'utf8' })
      .filter((path) => !passing.test(path))
      .sort(),
  };
}

async function lines(command: string, args: readonly string[]): Promise<string[]> {
  const { stdout } = await exec(command, args, { allow: [1] });
  return stdout.split('\n').filter((line) => line.trim() !== '');
}

/** Commands of the processes that name the run's directory or are in a group of its VMs (in a jail they name nothing), without their pids. */
function processes(root: string, prefix: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const args = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
        const named = args.some((arg) => arg.startsWith(root)) && !args[0]?.endsWith('ssh');
        const grouped = readFileSync(`/proc/${name}/cgroup`, 'utf8').includes(`/${prefix}-`);
        return named || grouped ? [args.join(' ').trim()] : [];
      } catch {
        return [];
      }
    })
    .sort();
}

async function cgroups(prefix: string): Promise<string[]> {
  const { stdout } = await exec('find', ['/sys/fs/cgroup', '-type', 'd', '-path', `*${prefix}-*`], {
    allow: [1],
  });
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .sort();
}
