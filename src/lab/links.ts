/** Network devices of this machine that a lab made. */
import { existsSync } from 'node:fs';
import { exec } from '#base/exec.ts';

/**
 * Deletes a device, unless it is gone. The kernel takes one end of a pair away by itself some time after the namespace of the other end
 * has ended: `ip` ends with 1 where it finds no such device, and with 2 where that happens between its finding and its deleting.
 *
 * @throws where the device is there still.
 */
export async function deleteLink(name: string): Promise<void> {
  const { exitCode, stderr } = await exec('ip', ['link', 'delete', 'dev', name], { allow: [1, 2] });
  if (exitCode !== 0 && existsSync(`/sys/class/net/${name}`))
    throw new Error(`The device ${name} was not deleted: ${stderr}`);
}
