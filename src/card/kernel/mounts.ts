/** `ip netns exec` gives a process a mount table of its own: namespaces named there would be lost with the process. */
import { readlinkSync } from 'node:fs';

/** Who has fewer capabilities than his starter may not look: nsenter started him then, which keeps the mounts. */
const isOurs = (starter: string): boolean => {
  try {
    return readlinkSync('/proc/self/ns/mnt') === readlinkSync(starter);
  } catch {
    return true;
  }
};

/**
 * Starts this very process again (same pid) among the mounts of whoever started it, if those are others, so that the names
 * under /run/netns outlive it. The network namespace is kept.
 */
export const joinStarterMounts = (): void => {
  const starter = `/proc/${process.ppid}/ns/mnt`;
  if (process.execve === undefined || isOurs(starter)) return;
  process.execve('/usr/bin/nsenter', [
    'nsenter',
    `--mount=${starter}`,
    `--wd=${process.cwd()}`,
    process.execPath,
    ...process.execArgv,
    ...process.argv.slice(1),
  ]);
};
