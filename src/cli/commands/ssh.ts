import { spawn } from 'node:child_process';
import { UserError } from '../output.ts';
import { openRegion, type Region } from '../region.ts';
import { itemsAt, textAt } from '../xmlTree.ts';

/** The public address of a running instance. */
export async function publicAddressOf({ ec2 }: Region, instanceId: string): Promise<string> {
  const answer = await ec2.call('DescribeInstances', { 'InstanceId.1': instanceId });
  const instance = itemsAt(answer, 'reservationSet').flatMap((each) => itemsAt(each, 'instancesSet'))[0];
  const state = instance === undefined ? 'unknown' : textAt(instance, 'instanceState', 'name');
  if (instance === undefined || state !== 'running')
    throw new UserError(
      `${instanceId} is ${state}. Start it: pando aws ec2 start-instances --instance-ids ${instanceId}`,
    );
  const address = textAt(instance, 'ipAddress');
  if (address === '')
    throw new UserError(
      `${instanceId} has no public address. Give it one: pando aws ec2 allocate-address, then associate-address`,
    );
  return address;
}

/** Options of `ssh` that trust a VM by the region's own network instead of by a host key that is new with every VM. */
export const sshOptions = (keyFile: string): string[] => [
  '-i',
  keyFile,
  '-o',
  'IdentitiesOnly=yes',
  '-o',
  'StrictHostKeyChecking=no',
  '-o',
  'UserKnownHostsFile=/dev/null',
  '-o',
  'LogLevel=ERROR',
  '-o',
  'ConnectTimeout=15',
  '-o',
  'ServerAliveInterval=5',
];

/** `pando ssh INSTANCE [COMMAND…]`: with the key that `up` made. */
export async function ssh(
  instanceId: string,
  command: readonly string[],
  options: { dir: string; user: string },
): Promise<void> {
  const region = openRegion(options);
  const address = await publicAddressOf(region, instanceId);
  const args = [...sshOptions(region.directory.keyFile), `${options.user}@${address}`, ...command];
  const child = spawn('ssh', args, { stdio: 'inherit' });
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
