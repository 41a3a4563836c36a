/** Taps: made in the host's namespace for one uid, handed to the card's namespace once the VMM holds them open. */
import { exec } from '#base/exec.ts';
import { KeptShell } from '#base/keptShell.ts';
import { removeDevice } from '#base/removeDevice.ts';
import { tapScriptTimeoutMs } from './limits.ts';

/** The tap of the VM with this uid. At most 15 characters, which is what the kernel allows. */
export const tapName = (runPrefix: string, index: number): string => `${runPrefix}t${index.toString(36)}`;

/** Stays, so that a launch does not start a process for each command; ended by what ends us. */
let shell: KeptShell | undefined;

const run = (script: string): Promise<string> => {
  if (shell === undefined || shell.ended) shell = new KeptShell('sh', []);
  return shell.run(script, tapScriptTimeoutMs);
};

/** Removes the tap from our own namespace; absent: nothing. */
export const deleteTap = async (name: string): Promise<void> => {
  await run(removeDevice(name));
};

/** Makes a persistent tap that only `uid` may open. One that is here already is made anew. */
export const createTap = async (name: string, uid: number): Promise<void> => {
  await run(`${removeDevice(name)}ip tuntap add name ${name} mode tap user ${uid} group ${uid}\n`);
};

/**
 * Moves the tap into the card's namespace. The VMM keeps its descriptor; the device is the card's from now on.
 * False when it is not here (moved before).
 */
export const giveTap = async (name: string, netns: string): Promise<boolean> => {
  const moved = await run(
    `if [ -e /proc/sys/net/ipv4/conf/${name} ]; then ip link set dev ${name} netns ${netns}; echo moved; fi\n`,
  );
  return moved !== '';
};

/** Names of our taps that are in our own namespace. */
export const ourTaps = async (runPrefix: string): Promise<string[]> => {
  const { stdout } = await exec('ip', ['-o', 'tuntap', 'show'], { allow: [0, 1] });
  const ours = new RegExp(`^${runPrefix}t[0-9a-z]+$`);
  return stdout
    .split('\n')
    .map((line) => line.slice(0, line.indexOf(':')))
    .filter((name) => ours.test(name));
};
