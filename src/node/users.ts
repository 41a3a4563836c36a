/**
 * Users of their own for the processes of a run. They are numbers alone, with no name in /etc/passwd, from a range that no account of
 * the machine or of a directory (SSSD: up to 2 000 200 000), no user's sub-ids (Debian: up to 600 100 000) and no systemd container
 * (up to 1 879 048 191) has: 2 100 000 000 and up, a hundred for each run of a machine. VMs have others: from 200 000 up, see `uidBase`
 * of the agent.
 *
 *   +0 ca   +1 region   +2 router   +3 postgres-region   +4 group of the region's store   +5 webhooks
 *   +10n group of cell n's store   +10n+1 … its processors   +10n+9 its postgres
 */
import { z } from 'zod';

export const uidFirst = 2_100_000_000;
export const uidsPerRun = 100;
const uidsPerCell = 10;

export const user = z.object({ uid: z.number().int().positive(), gid: z.number().int().positive() });
export type User = z.infer<typeof user>;

/** Whose process it is. A store's group is the primary group of all who may reach its socket. */
export type Account =
  | { readonly role: 'ca' | 'region' | 'router' | 'region-store' | 'webhooks' }
  | { readonly role: 'processor'; readonly cell: number; readonly replica: number }
  | { readonly role: 'cell-store'; readonly cell: number };

const offsets = (account: Account): User => {
  switch (account.role) {
    case 'ca':
      return { uid: 0, gid: 0 };
    case 'region':
      return { uid: 1, gid: 4 };
    case 'router':
      return { uid: 2, gid: 2 };
    case 'region-store':
      return { uid: 3, gid: 4 };
    case 'webhooks':
      return { uid: 5, gid: 5 };
    case 'processor':
      return { uid: account.cell * uidsPerCell + account.replica, gid: account.cell * uidsPerCell };
    case 'cell-store':
      return { uid: account.cell * uidsPerCell + uidsPerCell - 1, gid: account.cell * uidsPerCell };
  }
};

/**
 * The message where this range is not available, as in a container that has only some ids. Undefined: it is. `map` is the content of
 * /proc/self/uid_map or gid_map. Pure.
 */
export const idsMissing = (map: string, runIndex: number): string | undefined => {
  const first = uidFirst + runIndex * uidsPerRun;
  const covered = map.split('\n').some((line) => {
    const [inside = Number.NaN, , count = 0] = line.trim().split(/\s+/).map(Number);
    return inside <= first && first + uidsPerRun <= inside + count;
  });
  return covered
    ? undefined
    : `Pando's processes run as users ${first} to ${first + uidsPerRun - 1}, which this container does not have. Run it on the machine itself, or give the container all user ids.`;
};

/** The user of a process of the run with this index. Pure. */
export const userOf = (runIndex: number, account: Account): User => {
  const { uid, gid } = offsets(account);
  const base = uidFirst + runIndex * uidsPerRun;
  return { uid: base + uid, gid: base + gid };
};
