/**
 * Epochs of the workflows whose VM is gone, for commands without a generation (a cell of the last release sends such): a launch sent
 * by a former owner of the workflow and delivered late would bring the VM back. What is heard with a generation is kept for each
 * instance: the rule is in contracts/fences.ts, what is kept of it in the VM's record and in tombstones.ts.
 */
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { noneIfAbsent } from '#base/noneIfAbsent.ts';
import { writeAtomically } from '#base/writeAtomically.ts';
import { fencesMax } from './limits.ts';
import { type Write, writeOnce } from './spare-room.ts';
import type { WorkflowRecord } from './vm-record.ts';

type Epoch = Pick<WorkflowRecord, 'workflowId' | 'epoch'>;

const shape = z.array(z.tuple([z.string(), z.number()]));

export class Fences {
  readonly #path: string;
  readonly #epochs: Map<string, number>;
  readonly #put: Write;
  #last: Promise<void> = Promise.resolve();

  private constructor(path: string, epochs: Map<string, number>, put: Write) {
    this.#path = path;
    this.#put = put;
    this.#epochs = epochs;
  }

  /**
   * What cannot be understood is put aside and told to `damaged`: VMs are not left without an agent for it. What cannot be read at all
   * throws: it may be there, and would be written over.
   */
  static async open(
    stateDir: string,
    put: Write = writeOnce,
    damaged: (path: string, error: unknown) => void = () => undefined,
  ): Promise<Fences> {
    const path = join(stateDir, 'fences.json');
    const text = await readFile(path, 'utf8').catch(noneIfAbsent('[]'));
    try {
      return new Fences(path, new Map(shape.parse(JSON.parse(text))), put);
    } catch (error) {
      await rename(path, `${path}.unreadable`);
      damaged(path, error);
      return new Fences(path, new Map(), put);
    }
  }

  epochOf(workflowId: string): number | undefined {
    return this.#epochs.get(workflowId);
  }

  /** Keeps the epochs of a VM that is about to vanish. The oldest fall out above the limit. */
  async keep(workflows: readonly Epoch[]): Promise<void> {
    this.note(workflows);
    await this.#write();
  }

  /** Keeps epochs in memory, and on disk with the next that must outlive this process: enough where a late command does little. */
  note(workflows: readonly Epoch[]): void {
    for (const { workflowId, epoch } of workflows) {
      const newest = Math.max(epoch, this.#epochs.get(workflowId) ?? 0);
      this.#epochs.delete(workflowId);
      this.#epochs.set(workflowId, newest);
    }
    for (const workflowId of this.#epochs.keys()) {
      if (this.#epochs.size <= fencesMax) break;
      this.#epochs.delete(workflowId);
    }
  }

  /** One write after another: they share a temporary file. */
  #write(): Promise<void> {
    this.#last = this.#last
      .catch(() => undefined)
      .then(() => this.#put(() => writeAtomically(this.#path, JSON.stringify([...this.#epochs]))));
    return this.#last;
  }
}
