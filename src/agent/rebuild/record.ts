/** What a host remembers of its rebuild over restarts of its agent: `rebuild.json`. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { noneIfAbsent } from '#base/noneIfAbsent.ts';
import { writeAtomically } from '#base/writeAtomically.ts';
import { instanceFence } from '#contracts/fences.ts';

const shape = z.object({
  fence: instanceFence.optional(),
  /** The host's generation under which it was found empty; it takes no VM while this is set. */
  emptyIn: z.number().int().optional(),
  /** The workflow for which agent and card began anew last. */
  cycledFor: z.string().optional(),
  /** The VM by which it shows itself fit, from before it is made until it is gone. */
  validating: z.string().optional(),
  layout: z.object({ digest: z.string(), bootId: z.string() }).optional(),
  /** Why nothing on record of this host counts, for people. */
  dirty: z.array(z.string().max(256)).max(16).default([]),
});
export type RebuildState = z.infer<typeof shape>;

export class RebuildRecord {
  readonly #path: string;
  #state: RebuildState;

  private constructor(path: string, state: RebuildState) {
    this.#path = path;
    this.#state = state;
  }

  /** One that cannot be read closes the host: whether it was being rebuilt is not known then, and a rebuild opens it again. */
  static async open(stateDir: string): Promise<RebuildRecord> {
    const path = join(stateDir, 'rebuild.json');
    const text = await readFile(path, 'utf8').catch(noneIfAbsent('{}'));
    return new RebuildRecord(path, shape.parse(parseJson(text)));
  }

  get state(): Readonly<RebuildState> {
    return this.#state;
  }

  /** On disk when it resolves; what could not be written down is not so. */
  async change(change: Partial<RebuildState>): Promise<void> {
    const next = { ...this.#state, ...change };
    await writeAtomically(this.#path, JSON.stringify(next));
    this.#state = next;
  }
}

/** A generation that no rebuild has: closed, and proved empty under none. */
const unreadable = { emptyIn: -1, dirty: ['what was on record of its rebuild could not be read'] };

const parseJson = (text: string): unknown => {
  try {
    const parsed: unknown = JSON.parse(text);
    return shape.safeParse(parsed).success ? parsed : unreadable;
  } catch {
    return unreadable;
  }
};
