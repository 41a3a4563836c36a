/** What happened, as one running hash and the last lines: two runs of a seed that differ anywhere differ in the hash. */
import { createHash, type Hash } from 'node:crypto';

const tailLinesMax = 400;

export class Trace {
  readonly #hash: Hash = createHash('sha256');
  readonly #tail: string[] = [];
  readonly #tell: ((line: string) => void) | undefined;
  events = 0;

  /** `tell`: gets each line, for a replay that is watched. */
  constructor(tell?: (line: string) => void) {
    this.#tell = tell;
  }

  /** `bytes` go into the hash and are not shown. */
  add(atMs: number, line: string, bytes?: Uint8Array): void {
    this.events++;
    const text = `${atMs.toFixed(3)} ${line}`;
    this.#hash.update(text);
    if (bytes !== undefined) this.#hash.update(bytes);
    this.#tail.push(text);
    if (this.#tail.length > tailLinesMax * 2) this.#tail.splice(0, tailLinesMax);
    this.#tell?.(
      bytes === undefined ? text : `${text} #${createHash('sha1').update(bytes).digest('hex').slice(0, 8)}`,
    );
  }

  /** The last lines. */
  tail(lines = tailLinesMax): readonly string[] {
    return this.#tail.slice(-lines);
  }

  /** Of everything up to now; the trace goes on. */
  digest(): string {
    return this.#hash.copy().digest('hex');
  }
}
