/**
 * Nothing of a former tenant stays on this host (I8): directories of destroyed VMs, images, the card's state, and where the state
 * directory is a file system of its own, its free blocks. Overwritten and read back. What is not known here is not touched: it is told,
 * and the host does not pass.
 */
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { wipe } from '#base/wipe.ts';
import { sharesImages } from '../config.ts';
import type { AgentContext } from '../context.ts';
import type { Discards } from '../discards.ts';
import { isNoSpace } from '../room.ts';
import type { Machine } from './machine.ts';

/** What an agent keeps in its state directory beside VMs: ids, generations and settings, nothing that a tenant wrote. */
const own = new Set([
  ...['cell.json', 'fences.json', 'tombstones.jsonl', 'handover-port', 'rebuild.json', 'spare-room'],
  ...['vms', 'discarded'],
]);
/** Of an ext4 of its own; what a check of it has put there may be a tenant's. */
const lostAndFound = 'lost+found';
const chunk = Buffer.alloc(1024 * 1024);
const smallestBytes = 4096;

export interface ScrubParts {
  readonly context: Pick<AgentContext, 'config' | 'card'>;
  readonly discards: Discards;
  readonly machine: Machine;
}

export interface Scrubbed {
  readonly changed: boolean;
  /** What stands against it; empty: nothing is left. */
  readonly faults: readonly string[];
  readonly words: readonly string[];
}

/** Whether the directory is the root of a file system: then its free blocks are this host's. */
export const isOwnFileSystem = async (directory: string): Promise<boolean> =>
  (await stat(directory)).dev !== (await stat(dirname(directory))).dev;

/** Writes every free block of a file system, then gives them back. Bytes. */
export const fillFree = async (directory: string): Promise<number> => {
  const path = join(directory, 'fill');
  const file = await open(path, 'w', 0o600);
  let bytes = 0;
  try {
    for (let size = chunk.length; size >= smallestBytes; ) {
      try {
        // A short write: the rest of it finds no room either.
        bytes += (await file.write(chunk, 0, size)).bytesWritten;
      } catch (error) {
        if (!isNoSpace(error)) throw error;
        size /= 16;
      }
    }
    await file.sync();
  } finally {
    await file.close();
    await rm(path, { force: true });
  }
  return bytes;
};

/** Images may be a tenant's own. A cache that other agents share is theirs too: it is left. */
const scrubImages = async ({ config }: ScrubParts['context']): Promise<Scrubbed> => {
  const { imageCacheDir } = config;
  if (sharesImages(config))
    return { changed: false, faults: [], words: [`${imageCacheDir} is shared, and was left`] };
  const { files } = await wipe(imageCacheDir);
  await mkdir(imageCacheDir, { recursive: true, mode: 0o700 });
  return { changed: files > 0, faults: [], words: [] };
};

const strangers = async ({ config }: ScrubParts['context']): Promise<string[]> => {
  const images = relative(config.stateDir, config.imageCacheDir).split('/')[0] ?? '';
  const names = await readdir(config.stateDir);
  const vms = await readdir(join(config.stateDir, 'vms')).catch(() => []);
  const lost = (await readdir(join(config.stateDir, lostAndFound)).catch(() => [])).length > 0;
  const unknown = names.filter(
    (name) =>
      !own.has(name) &&
      name !== images &&
      !own.has(name.replace(/\.(new|unreadable)$/, '')) &&
      (lost || name !== lostAndFound),
  );
  return [...unknown, ...vms.map((name) => join('vms', name))].slice(0, 8);
};

const scrubCard = async ({ card }: ScrubParts['context']): Promise<Scrubbed> => {
  const { vpcs, left } = await card.rebuild('card.scrub', {});
  const after = await card.call('card.status', {});
  const there = [...after.vpcs.map(({ vpcId }) => vpcId), ...after.ports.map(({ eniId }) => eniId)];
  const faults = [...left, ...there].map((each) => `the card still has ${each}`);
  return { changed: vpcs > 0, faults, words: [] };
};

const scrubFree = async ({ context: { config }, discards }: ScrubParts): Promise<Scrubbed> => {
  if (!(await isOwnFileSystem(config.stateDir)))
    return {
      changed: false,
      faults: [],
      words: ['the file system is not this host’s alone: its free blocks were left'],
    };
  await mkdir(discards.dir, { recursive: true, mode: 0o700 });
  const bytes = await fillFree(discards.dir);
  return {
    changed: true,
    faults: [],
    words: [`${Math.floor(bytes / chunk.length)} MiB of free blocks overwritten`],
  };
};

/** The host has been proved empty. Everything is tried, whatever fails before it. */
export const scrubHost = async (parts: ScrubParts): Promise<Scrubbed> => {
  const { context, discards, machine } = parts;
  const { config } = context;
  const before = (await readdir(discards.dir).catch(() => [])).length;
  const left = await discards.settle();
  const unknown = await strangers(context);
  const swaps = (await machine.swaps()).filter((name) => !config.encryptedSwap.includes(name));
  const files: Scrubbed = {
    changed: before > 0,
    faults: [
      ...left.map((name) => `${join(discards.dir, name)} could not be overwritten`),
      ...unknown.map((name) => `${join(config.stateDir, name)} is none of the agent’s: move it away`),
      ...swaps.map((name) => `memory of guests may lie on ${name}: turn it off, or name it in encryptedSwap`),
    ],
    words: [],
  };
  const failed = (error: unknown): Scrubbed => ({
    ...{ changed: false, words: [] },
    faults: [error instanceof Error ? error.message : String(error)],
  });
  const all = [
    files,
    await scrubImages(context).catch(failed),
    await scrubCard(context).catch(failed),
    await scrubFree(parts).catch(failed),
  ];
  return {
    changed: all.some(({ changed }) => changed),
    faults: all.flatMap(({ faults }) => faults),
    words: all.flatMap(({ words }) => words),
  };
};
