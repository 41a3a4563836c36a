/**
 * What this host has heard of instances that it does not have (contracts/fences.ts says why it is kept, and when it may go). On disk a
 * line for each that was kept, the last of an instance counts: a destroyed VM costs an appended line, not a file written anew.
 */
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { noneIfAbsent } from '#base/noneIfAbsent.ts';
import { writeAtomically } from '#base/writeAtomically.ts';
import { PandoError } from '#contracts/errors.ts';
import { type InstanceFence, instanceFence, tombstoneKeptMs } from '#contracts/fences.ts';
import { tombstonesMax } from './limits.ts';
import { type Write, writeOnce } from './spare-room.ts';

/** `at`: when it was last heard of, in milliseconds since the epoch: it must outlive this process and this boot. */
const line = z.object({ instanceId: z.string(), at: z.number(), fence: instanceFence });
type Tombstone = z.infer<typeof line>;

/** Lines that say nothing any more are removed when there are this many more of them than of others. */
const staleLinesMax = 1_024;

export class Tombstones {
  readonly #path: string;
  readonly #now: () => number;
  readonly #put: Write;
  /** The one heard of longest ago first. */
  readonly #kept: Map<string, Tombstone>;
  #lines: number;
  #pending: Tombstone[] = [];
  #last: Promise<void> = Promise.resolve();

  private constructor(path: string, kept: Map<string, Tombstone>, now: () => number, put: Write) {
    this.#put = put;
    this.#path = path;
    this.#kept = kept;
    this.#lines = kept.size;
    this.#now = now;
  }

  static async open(
    stateDir: string,
    now: () => number = Date.now,
    put: Write = writeOnce,
  ): Promise<Tombstones> {
    const path = join(stateDir, 'tombstones.jsonl');
    const text = await readFile(path, 'utf8').catch(noneIfAbsent(''));
    const kept = new Map<string, Tombstone>();
    for (const each of text.split('\n')) {
      const parsed = line.safeParse(parseJson(each));
      // The last line may be torn: its writer died before anything was done about it.
      if (!parsed.success) continue;
      kept.delete(parsed.data.instanceId);
      kept.set(parsed.data.instanceId, parsed.data);
    }
    const tombstones = new Tombstones(path, kept, now, put);
    tombstones.#forgetOld();
    if (text !== '') await tombstones.#rewrite();
    return tombstones;
  }

  get size(): number {
    return this.#kept.size;
  }

  of(instanceId: string): InstanceFence | undefined {
    return this.#kept.get(instanceId)?.fence;
  }

  /**
   * Checks that one more instance can be remembered: above the limit none is forgotten, its late commands would be obeyed.
   * @throws RequestLimitExceeded
   */
  assertRoom(instanceId: string): void {
    if (this.#kept.has(instanceId) || this.#kept.size < tombstonesMax) return;
    this.#forgetOld();
    if (this.#kept.size >= tombstonesMax)
      throw new PandoError(
        'RequestLimitExceeded',
        `This host remembers ${tombstonesMax} instances of the last hours. Retry later.`,
      );
  }

  /** In memory only: enough for a command that does nothing to a VM. */
  note(instanceId: string, fence: InstanceFence): Tombstone {
    const made = { instanceId, at: this.#now(), fence };
    this.#kept.delete(instanceId);
    this.#kept.set(instanceId, made);
    return made;
  }

  /** Resolves when it is on disk. What is asked for meanwhile is written together. */
  keep(instanceId: string, fence: InstanceFence): Promise<void> {
    this.#pending.push(this.note(instanceId, fence));
    this.#last = this.#last.catch(() => undefined).then(() => this.#flush());
    return this.#last;
  }

  async #flush(): Promise<void> {
    const lines = this.#pending;
    if (lines.length === 0) return;
    this.#pending = [];
    try {
      await this.#put(() => this.#append(lines));
    } catch (error) {
      this.#pending.unshift(...lines);
      throw error;
    }
    this.#lines += lines.length;
    if (this.#lines <= 2 * this.#kept.size + staleLinesMax) return;
    this.#forgetOld();
    await this.#rewrite();
  }

  async #append(lines: readonly Tombstone[]): Promise<void> {
    const file = await open(this.#path, 'a', 0o600);
    try {
      // After a line that was torn by a full disk this one begins anew.
      await file.writeFile(lines.map((each) => `\n${JSON.stringify(each)}\n`).join(''));
      await file.datasync();
    } finally {
      await file.close();
    }
  }

  #forgetOld(): void {
    const before = this.#now() - tombstoneKeptMs;
    for (const [instanceId, { at }] of this.#kept) if (at < before) this.#kept.delete(instanceId);
  }

  async #rewrite(): Promise<void> {
    const kept = [...this.#kept.values()];
    const text = kept.map((each) => `${JSON.stringify(each)}\n`).join('');
    await this.#put(() => writeAtomically(this.#path, text));
    this.#lines = kept.length;
  }
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};
