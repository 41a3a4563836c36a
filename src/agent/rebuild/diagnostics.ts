/** Tests of memory, disk and the way through the card, each of a bounded size. What they find is for people. */
import { createHash, randomBytes } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { exec } from '#base/exec.ts';
import type { CardLink } from '../card-link.ts';
import {
  cardLoops,
  diskTestMib,
  diskTestThoroughMib,
  memoryTestMib,
  memoryTestThoroughMib,
} from '../limits.ts';

const mib = 1024 * 1024;
const patterns = [0x00, 0xff, 0xaa, 0x55];

/** Writes each pattern over the whole of it before it is read: what a write changes elsewhere shows too. Undefined: sound. */
export const testMemory = async (
  sizeMib: number,
  /** Touches the memory between write and read; of tests. */
  disturb: (memory: readonly Buffer[]) => void = () => undefined,
): Promise<string | undefined> => {
  const memory = Array.from({ length: sizeMib }, () => Buffer.allocUnsafeSlow(mib));
  const expected = Buffer.allocUnsafeSlow(mib);
  for (const pattern of [...patterns, undefined]) {
    for (const [at, part] of memory.entries()) {
      fillPart(part, pattern, at);
      await nextTurn();
    }
    disturb(memory);
    for (const [at, part] of memory.entries()) {
      fillPart(expected, pattern, at);
      if (!part.equals(expected)) return `memory: a pattern was not read back in MiB ${at} of ${sizeMib}`;
      await nextTurn();
    }
  }
  return undefined;
};

/** Without a pattern each word holds its own address: two addresses that are one cell show. */
const fillPart = (part: Buffer, pattern: number | undefined, at: number): void => {
  if (pattern !== undefined) part.fill(pattern);
  else
    new Uint32Array(part.buffer, part.byteOffset, part.length / 4).forEach((_, word, words) => {
      words[word] = at * (mib / 4) + word;
    });
};

/** Writes random bytes, flushes, and reads them from the disk. Undefined: sound. */
export const testDisk = async (directory: string, sizeMib: number): Promise<string | undefined> => {
  const path = join(directory, 'disk-test');
  const [wrote, read] = [createHash('sha256'), createHash('sha256')];
  try {
    const out = await open(path, 'w', 0o600);
    try {
      for (let at = 0; at < sizeMib; at++) {
        const data = randomBytes(mib);
        wrote.update(data);
        await out.write(data);
      }
      await out.sync();
    } finally {
      await out.close();
    }
    await exec('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none']);
    const back = await open(path, 'r');
    try {
      for await (const data of back.createReadStream({ highWaterMark: mib, autoClose: false }))
        read.update(data);
    } finally {
      await back.close();
    }
    return wrote.digest('hex') === read.digest('hex')
      ? undefined
      : 'disk: what was written was not read back';
  } catch (error) {
    return `disk: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    await rm(path, { force: true });
  }
};

/** Sends patterns to the card and back. @throws what the link to the card says */
export const testNetwork = async (card: Pick<CardLink, 'rebuild'>): Promise<string | undefined> => {
  let first: number | undefined;
  for (let loop = 0; loop < cardLoops; loop++) {
    const sent = randomBytes(24 * 1024).toString('base64');
    const { data, underlay } = await card.rebuild('card.loop', { data: sent });
    if (data !== sent) return 'network: a pattern came back from the card as another';
    if (!underlay.up) return 'network: the device towards the underlay has no carrier';
    first ??= underlay.errors;
    if (underlay.errors > first) return 'network: the device towards the underlay counts errors';
  }
  return undefined;
};

export interface Diagnosed {
  readonly faults: readonly string[];
  readonly tested: string;
}

export const diagnose = async (
  stateDir: string,
  card: Pick<CardLink, 'rebuild'>,
  thorough: boolean,
  memoryAvailableMib: number,
): Promise<Diagnosed> => {
  // At most a quarter of what is free: a test is no reason for others to be short of it.
  const memoryMib = Math.floor(
    Math.min(thorough ? memoryTestThoroughMib : memoryTestMib, Math.max(1, memoryAvailableMib / 4)),
  );
  const diskMib = thorough ? diskTestThoroughMib : diskTestMib;
  const found = [await testMemory(memoryMib), await testDisk(stateDir, diskMib), await testNetwork(card)];
  const tested = `${memoryMib} MiB of memory, ${diskMib} MiB of the disk, ${cardLoops} loops through the card`;
  return { faults: found.filter((each) => each !== undefined), tested };
};
