/**
 * Which run has which index on this machine: one file per index below /run, made exclusively, naming the run's directory.
 * A reboot forgets them, together with the namespaces that they stand for.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { runtimeDirectory } from '#node/directory.ts';
import { withLockWaiting } from '#node/lock.ts';
import { isAlive, processIdentity } from '#node/processIdentity.ts';
import { prefixOf, runIndexMax } from './plan.ts';
import { namespacesOf } from './topology.ts';

const claimsDirectory = join(runtimeDirectory, 'runs');
const lockFile = join(runtimeDirectory, 'claims.lock');
const lockWaitMsMax = 60_000;

const claim = z.object({
  directory: z.string(),
  /** Set for a run that must not outlive a process, as a test's. */
  owner: processIdentity.optional(),
  /** Where the owner's number counts; absent: written by the last release. */
  pidNamespace: z.string().optional(),
});
export type Claim = z.infer<typeof claim>;

const ownPidNamespace = (): string => readlinkSync('/proc/self/ns/pid');

const isOwned = ({ owner }: Claim): boolean => owner !== undefined && isAlive(owner);

const pathOf = (index: number): string => join(claimsDirectory, String(index));

const read = (index: number): Claim | undefined => {
  try {
    return claim.parse(JSON.parse(readFileSync(pathOf(index), 'utf8')));
  } catch {
    return undefined;
  }
};

const claimExclusively = (index: number, wanted: Claim): boolean => {
  try {
    const written: Claim = { pidNamespace: ownPidNamespace(), ...wanted };
    writeFileSync(pathOf(index), JSON.stringify(written), { flag: 'wx', mode: 0o600 });
    return true;
  } catch {
    return false;
  }
};

/**
 * Claims an index for `wanted.directory`: the one that it has already, else `preferred`, else the lowest free one.
 * A claim whose owner and directory are gone and whose names are all gone from the machine is free.
 */
export function claimIndex(wanted: Claim, preferred?: number): Promise<number> {
  mkdirSync(claimsDirectory, { recursive: true, mode: 0o755 });
  // Of two that find the same claim of a run that is gone, the second would remove what the first has put in its place.
  return withLockWaiting(lockFile, { waitMsMax: lockWaitMsMax }, () => claimAlone(wanted, preferred));
}

async function claimAlone(wanted: Claim, preferred?: number): Promise<number> {
  const all = Array.from({ length: runIndexMax + 1 }, (_, index) => index);
  const mine = all.find((index) => read(index)?.directory === wanted.directory);
  if (mine !== undefined) return mine;
  // Index 0 has the well-known addresses: only who asks for it gets it.
  const order =
    preferred === undefined
      ? all.slice(1)
      : [preferred, ...all.slice(1).filter((index) => index !== preferred)];
  for (const index of order) {
    const present = read(index);
    // Where only /run is shared, another's directory is not seen here.
    if (present !== undefined && (existsSync(present.directory) || isOwned(present))) continue;
    if ((await namespacesOf(prefixOf(index))).length > 0) continue;
    if (present !== undefined) rmSync(pathOf(index), { force: true });
    if (claimExclusively(index, wanted)) return index;
  }
  throw new Error(
    `All ${runIndexMax + 1} runs of this machine are taken. See ${claimsDirectory}; end one by: pando down --dir DIR`,
  );
}

/** Whether the run of this directory has this index. */
export const isClaimed = (index: number, directory: string): boolean => read(index)?.directory === directory;

/** Gives the index back. Answers whether that was the last claim of this machine. */
export const releaseIndex = (index: number, directory: string): boolean => {
  if (isClaimed(index, directory)) rmSync(pathOf(index), { force: true });
  return claims().size === 0;
};

/**
 * The directory of another run that has this index; undefined: none. A copy of a run's directory, or a backup that was restored beside it,
 * names the index of the run that it was taken from: that one's processes and names are not the copy's.
 */
export function otherHolder(index: number, directory: string): string | undefined {
  const holder = read(index)?.directory;
  // A run whose directory was moved is where the directory is now.
  if (holder === undefined || !existsSync(holder)) return undefined;
  const isSame = existsSync(directory) && realpathSync(holder) === realpathSync(directory);
  return isSame || holder === directory ? undefined : holder;
}

/** Every claim on this machine, by index. */
export function claims(): Map<number, Claim> {
  const names = existsSync(claimsDirectory) ? readdirSync(claimsDirectory) : [];
  const found = new Map<number, Claim>();
  for (const index of names.map(Number)) {
    const present = read(index);
    if (present !== undefined) found.set(index, present);
  }
  return found;
}

/** The runs whose owner has died. One whose number counts elsewhere, in a container that shares /run, may live. */
export const abandoned = (): [number, Claim][] =>
  [...claims()].filter(
    ([, each]) =>
      each.owner !== undefined &&
      !isOwned(each) &&
      (each.pidNamespace ?? ownPidNamespace()) === ownPidNamespace(),
  );
