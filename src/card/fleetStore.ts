/** What a device remembers of the installation's objects, and of transactions that nobody has confirmed yet: one file. */
import { mkdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Logger } from '#base/log.ts';
import type { Fence } from '#base/network/fence.ts';
import { keyOf, type Objects } from '#base/network/objects.ts';
import { type Undo, undoRecord } from '#base/network/transaction.ts';
import { noneIfAbsent } from '#base/noneIfAbsent.ts';
import { writeWhole } from '#base/writeAtomically.ts';
import { networkObject, objectKind } from '#contracts/network-objects.ts';

const stored = z.object({
  objects: z.array(
    z.object({
      kind: objectKind,
      id: z.string(),
      current: networkObject.optional(),
      previous: networkObject.optional(),
    }),
  ),
  unconfirmed: z.array(z.object({ transactionId: z.string(), undo: z.array(undoRecord) })),
  fence: z.object({ epoch: z.number(), number: z.number() }).optional(),
});

export interface FleetRecord {
  readonly objects: Objects;
  readonly unconfirmed: readonly { readonly transactionId: string; readonly undo: readonly Undo[] }[];
  /** Of the last command of a rollout that was obeyed. */
  readonly fence?: Fence | undefined;
}

const nothing: FleetRecord = { objects: new Map(), unconfirmed: [] };

export class FleetStore {
  readonly #path: string;
  readonly #log: Logger;
  /** Writers of one file take turns. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(stateDir: string, log: Logger) {
    this.#path = join(stateDir, 'fleet.json');
    this.#log = log;
  }

  /** Nothing was written yet: nothing. A file that cannot be read is put aside: who rolls out tells it again. */
  async load(): Promise<FleetRecord> {
    const text = await readFile(this.#path, 'utf8').catch(noneIfAbsent(undefined));
    if (text === undefined) return nothing;
    try {
      const { objects, unconfirmed, fence } = stored.parse(JSON.parse(text));
      const read = objects.map((each) => ({ ...each, current: each.current, previous: each.previous }));
      return { objects: new Map(read.map((each) => [keyOf(each), each])), unconfirmed, fence };
    } catch (error) {
      this.#log.error({ err: error, path: this.#path }, 'a record cannot be read: put aside');
      await rename(this.#path, `${this.#path}.unreadable`);
      return nothing;
    }
  }

  save({ objects, unconfirmed, fence }: FleetRecord): Promise<void> {
    const text = JSON.stringify({ objects: [...objects.values()], unconfirmed, fence });
    const result = this.#tail.then(async () => {
      await mkdir(join(this.#path, '..'), { recursive: true });
      await writeWhole(this.#path, text);
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }
}
