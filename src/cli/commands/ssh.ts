import { spawn } from 'node:child_process';
import { instanceOf } from '../operator.ts';
import { progress, UserError } from '../output.ts';
import { openRegion, type Region } from '../region.ts';
import { refuseSimulated } from '../simulated/directory.ts';
import { itemsAt, textAt } from '../xmlTree.ts';

/** What to do about an instance that is not running, by its state. */
const nextSteps: Readonly<Record<string, string>> = {
  pending: 'It is starting: try again in a moment.',
  stopping: 'Wait until it is stopped, then start it: pando aws ec2 start-instances --instance-ids',
  stopped: 'Start it: pando aws ec2 start-instances --instance-ids',
};

/** The public address of a running instance. Throws a `UserError` that says what to do when it has none. */
export async function publicAddressOf({ ec2 }: Region, instanceId: string): Promise<string> {
  const answer = await ec2.call('DescribeInstances', { 'InstanceId.1': instanceId });
  const instance = itemsAt(answer, 'reservationSet').flatMap((each) => itemsAt(each, 'instancesSet'))[0];
  const state = instance === undefined ? 'unknown' : textAt(instance, 'instanceState', 'name');
  if (instance === undefined || state !== 'running') {
    const next = nextSteps[state] ?? 'pando status shows those that run.';
    throw new UserError(
      `${instanceId} is ${state}. ${next.endsWith('ids') ? `${next} ${instanceId}` : next}`,
    );
  }
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

const notConnectedExitCode = 255;

/** `pando ssh INSTANCE [COMMAND…]`: with the key that `up` made. */
export async function ssh(
  instanceId: string,
  command: readonly string[],
  options: { dir: string; user: string },
): Promise<void> {
  const region = openRegion(options);
  refuseSimulated(
    region.run,
    `no guest runs in its VMs, and nothing answers at their addresses. pando console ${instanceId} and the API are what there is; a VM to log in to: sudo pando up`,
  );
  const { id } = instanceOf(region.run, instanceId);
  const address = await publicAddressOf(region, id);
  const args = [...sshOptions(region.directory.keyFile), `${options.user}@${address}`, ...command];
  const child = spawn('ssh', args, { stdio: 'inherit' });
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
  // The command's own exit code may be 255 too: this is a hint, not a verdict.
  if (process.exitCode === notConnectedExitCode)
    progress(
      `If it could not connect: ${id} may still be booting (pando console ${id}), its security group may keep port 22 shut, or it was launched with another key.`,
    );
}
