/** What a VM could leave on its host. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { identifyProcess } from '#agent/process.ts';
import { exec } from '#base/exec.ts';
import type { TestHost } from './lab.ts';

/** What is left of a destroyed VM; empty: nothing. */
export const traces = async (host: TestHost, instanceId: string, pid: number): Promise<string[]> => {
  const { stateDir, card, runPrefix, cgroupPrefix } = host.config;
  const left: string[] = [];
  const note = (what: string, found: boolean): void => void (found && left.push(what));
  // A zombie whose new parent has not asked for it yet is none of the host's.
  note('process', (await identifyProcess(pid)) !== undefined);
  note('directory', (await readdir(join(stateDir, 'vms'))).includes(instanceId));
  for (const controller of ['cpu', 'memory', 'pids', 'devices']) {
    const groups: string[] = await readdir(`/sys/fs/cgroup/${controller}/${cgroupPrefix}`).catch(() => []);
    note(`group ${controller}`, groups.includes(instanceId));
  }
  const places: string[][] = [[], ['-n', card.netns]];
  for (const links of places)
    note(`tap in ${links}`, (await exec('ip', [...links, 'link'])).stdout.includes(`${runPrefix}t`));
  note('mount', (await readFile('/proc/self/mountinfo', 'utf8')).includes(instanceId));
  return left;
};
