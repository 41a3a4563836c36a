/** Taps: made in the host's namespace for one uid, handed to the card's namespace once the VMM holds them open. */
import { exec } from '#base/exec.ts';

/** The tap of the VM with this uid. At most 15 characters, which is what the kernel allows. */
export const tapName = (runPrefix: string, index: number): string => `${runPrefix}t${index.toString(36)}`;

/** Whether a tap of this name is in our own namespace now. */
export const tapIsHere = async (name: string): Promise<boolean> => {
  const { exitCode } = await exec('ip', ['link', 'show', 'dev', name], { allow: [0, 1] });
  return exitCode === 0;
};

/** Makes a persistent tap that only `uid` may open. One that is here already is made anew. */
export const createTap = async (name: string, uid: number): Promise<void> => {
  await deleteTap(name);
  await exec('ip', ['tuntap', 'add', 'name', name, 'mode', 'tap', 'user', String(uid), 'group', String(uid)]);
};

/** Removes the tap from our own namespace; absent: nothing. */
export const deleteTap = async (name: string): Promise<void> => {
  await exec('ip', ['link', 'delete', 'dev', name], { allow: [0, 1] });
};

/**
 * Moves the tap into the card's namespace. The VMM keeps its descriptor; the device is the card's from now on.
 * False when it is not here (moved before).
 */
export const giveTap = async (name: string, netns: string): Promise<boolean> => {
  if (!(await tapIsHere(name))) return false;
  await exec('ip', ['link', 'set', 'dev', name, 'netns', netns]);
  return true;
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
