/** What happened, as one running hash and the last lines: two runs of a seed that differ anywhere differ in the hash. */
import { createHash, type Hash } from 'node:crypto';

const tailLinesMax = 400;
/** What is hashed is gathered first: a call of the hash for each line costs more than the hash itself. */
const gatheredBytes = 64 * 1024;
/** A character takes no more in UTF-8. */
const bytesPerCharMax = 3;
const momentBytes = 8;

/** What goes into the hash and is not shown. */
type Hidden = readonly Uint8Array[];

interface Entry {
  readonly atMs: number;
  readonly line: string;
  /** The rest of the line, which is worked out where somebody reads it. */
  readonly more: (() => string) | undefined;
}

const shown = ({ atMs, line, more }: Entry): string => `${atMs.toFixed(3)} ${line}${more?.() ?? ''}`;

export class Trace {
  readonly #hash: Hash = createHash('sha256');
  readonly #gathered = Buffer.allocUnsafe(gatheredBytes);
  #length = 0;
  readonly #tail: Entry[] = [];
  readonly #tell: ((line: string) => void) | undefined;
  events = 0;

  /** `tell`: gets each line, for a replay that is watched. */
  constructor(tell?: (line: string) => void) {
    this.#tell = tell;
  }

  /** `hidden` goes into the hash and is not shown; `more` is shown and does not: it must follow from what does. */
  add(atMs: number, line: string, hidden: Hidden = [], more?: () => string): void {
    this.events++;
    this.#gather(atMs, line, hidden);
    const entry = { atMs, line, more };
    this.#tail.push(entry);
    if (this.#tail.length > tailLinesMax * 2) this.#tail.splice(0, tailLinesMax);
    if (this.#tell === undefined) return;
    const text = shown(entry);
    this.#tell(hidden.length === 0 ? text : `${text} #${digestOf(hidden)}`);
  }

  /** The last lines. */
  tail(lines = tailLinesMax): readonly string[] {
    return this.#tail.slice(-lines).map(shown);
  }

  /** Of everything up to now; the trace goes on. */
  digest(): string {
    this.#flush();
    return this.#hash.copy().digest('hex');
  }

  #gather(atMs: number, line: string, hidden: Hidden): void {
    const lineBytesMax = momentBytes + line.length * bytesPerCharMax;
    if (this.#length + lineBytesMax > gatheredBytes) this.#flush();
    if (lineBytesMax > gatheredBytes) this.#hash.update(`${atMs} ${line}`);
    else {
      this.#length = this.#gathered.writeDoubleLE(atMs, this.#length);
      this.#length += this.#gathered.write(line, this.#length);
    }
    for (const bytes of hidden) {
      if (this.#length + bytes.length > gatheredBytes) this.#flush();
      if (bytes.length > gatheredBytes) this.#hash.update(bytes);
      else {
        this.#gathered.set(bytes, this.#length);
        this.#length += bytes.length;
      }
    }
  }

  #flush(): void {
    this.#hash.update(this.#gathered.subarray(0, this.#length));
    this.#length = 0;
  }
}

const digestOf = (hidden: Hidden): string => {
  const hash = createHash('sha1');
  for (const bytes of hidden) hash.update(bytes);
  return hash.digest('hex').slice(0, 8);
};
