/** Network devices of this machine that a lab made. */
import { existsSync } from 'node:fs';
import { exec } from '#base/exec.ts';

const isThere = async (name: string, netns: string | undefined): Promise<boolean> =>
  netns === undefined
    ? existsSync(`/sys/class/net/${name}`)
    : (await exec('ip', ['-n', netns, 'link', 'show', 'dev', name], { allow: [1] })).exitCode === 0;

/**
 * Deletes a device of this namespace, or of the named one, unless it is gone. The kernel takes one end of a pair away by itself some time
 * after the namespace of the other end has ended: `ip` ends with 1 where it finds no such device, and with 2 where that happens between
 * its finding and its deleting.
 *
 * @throws where the device is there still.
 */
export async function deleteLink(name: string, netns?: string): Promise<void> {
  const where = netns === undefined ? [] : ['-n', netns];
  const { exitCode, stderr } = await exec('ip', [...where, 'link', 'delete', 'dev', name], { allow: [1, 2] });
  if (exitCode !== 0 && (await isThere(name, netns)))
    throw new Error(`The device ${name} was not deleted: ${stderr}`);
}
