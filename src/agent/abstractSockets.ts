/**
 * Abstract Unix sockets have no file and no uid that a VMM's jail or fence could hold against it: whoever is in the network namespace
 * may connect. Nothing of Pando's listens on one. What else does, in the namespace of a host's VMMs, is told to the operator.
 */
import { readFile } from 'node:fs/promises';
import type { Logger } from '#base/log.ts';

const acceptsConnections = 0x10000;
const shownMax = 8;

/** Names of the abstract sockets that listen, in the text of /proc/net/unix. Pure. */
export const abstractListeners = (text: string): string[] => [
  ...new Set(
    text.split('\n').flatMap((line) => {
      const [, , , flags = '0', , , , name = ''] = line.trim().split(/\s+/);
      const listens = (Number.parseInt(flags, 16) & acceptsConnections) !== 0;
      return listens && name.startsWith('@') ? [name] : [];
    }),
  ),
];

export const warnOfAbstractSockets = async (log: Logger): Promise<void> => {
  const found = abstractListeners(await readFile('/proc/self/net/unix', 'utf8').catch(() => ''));
  if (found.length > 0)
    log.warn(
      { sockets: found.slice(0, shownMax), count: found.length },
      'programs of this host listen on abstract Unix sockets, which a broken-out VMM could reach: give them a path, or the agent a network namespace of its own',
    );
};
