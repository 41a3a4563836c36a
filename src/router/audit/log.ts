/**
 * The audit log: JSON lines in a file that is rotated. A call never waits for it: records wait in a bounded queue, one writer appends
 * them, and what finds the queue full is counted and told in the log as a gap.
 */
import { appendFile, mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Coalesced } from '#base/coalesced.ts';
import type { Logger } from '#base/log.ts';
import { type AuditedCall, auditRecord } from './record.ts';

export interface AuditOptions {
  readonly path: string;
  /** A file is moved aside (`path.1`, the newest) when it is longer. */
  readonly fileBytesMax: number;
  /** How many are kept besides the one that is written. */
  readonly filesMax: number;
  /** Records that wait for the disk. */
  readonly waitingMax: number;
}

const batchRecordsMax = 500;
/** Calls that wait as they are, with all that was sent; those behind them wait as their records, which are of bounded size. */
const wholeCallsMax = 64;
/** Of records that wait. */
const waitingCharsMax = 32 * 1024 * 1024;

/** A record is made behind the answer to its call; where the disk is behind, at once. */
type Waiting = { readonly call: AuditedCall } | { readonly record: string };

export class AuditLog {
  readonly #options: AuditOptions;
  readonly #log: Logger;
  #waiting: Waiting[] = [];
  #waitingChars = 0;
  #lost = 0;
  #bytes: number | undefined;
  /** The last write failed, and may have left a part of a line. */
  #isTorn = false;
  readonly #writing = new Coalesced(() => this.#write());

  constructor(options: AuditOptions, log: Logger) {
    this.#options = options;
    this.#log = log;
  }

  /** Never throws and never waits. */
  add(call: AuditedCall): void {
    if (this.#waiting.length >= this.#options.waitingMax || this.#waitingChars >= waitingCharsMax) {
      this.#lost += 1;
      return;
    }
    const one = this.#waiting.length < wholeCallsMax ? { call } : { record: recordOf(call) };
    this.#waiting.push(one);
    this.#waitingChars += charsOf(one);
    // It never fails: what could not be written is counted.
    void this.#writing.run();
  }

  /** Resolves when everything that was added is written, or could not be. */
  async drain(): Promise<void> {
    while (this.#waiting.length > 0 || this.#writing.isRunning) await this.#writing.run();
  }

  async #write(): Promise<void> {
    // Behind the answer to the call, and several at once.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, batchRecordsMax);
      for (const one of batch) this.#waitingChars -= charsOf(one);
      const lostBefore = this.#lost;
      this.#lost = 0;
      try {
        await this.#append(linesOf(batch, lostBefore));
      } catch (error) {
        this.#lost += lostBefore + batch.length;
        this.#bytes = undefined;
        this.#isTorn = true;
        this.#log.error({ err: error, lost: this.#lost }, 'calls could not be written to the audit log');
      }
    }
  }

  async #append(text: string): Promise<void> {
    const { path, fileBytesMax } = this.#options;
    const bytes = Buffer.byteLength(text) + 1;
    this.#bytes ??= await this.#open();
    if (this.#bytes > 0 && this.#bytes + bytes > fileBytesMax) {
      await this.#rotate();
      this.#bytes = 0;
    }
    await appendFile(path, this.#isTorn ? `\n${text}` : text, { mode: 0o600 });
    this.#isTorn = false;
    this.#bytes += bytes;
  }

  async #open(): Promise<number> {
    const { path } = this.#options;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return (await stat(path).catch(() => undefined))?.size ?? 0;
  }

  async #rotate(): Promise<void> {
    const { path, filesMax } = this.#options;
    await rm(`${path}.${filesMax}`, { force: true });
    for (let at = filesMax - 1; at >= 0; at -= 1) {
      const from = at === 0 ? path : `${path}.${at}`;
      await rename(from, `${path}.${at + 1}`).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    }
  }
}

const recordOf = (call: AuditedCall): string => JSON.stringify(auditRecord(call));

const charsOf = (one: Waiting): number => ('record' in one ? one.record.length : 0);

/** The first of them says how many were lost before it. */
const linesOf = (batch: readonly Waiting[], lostBefore: number): string =>
  batch
    .map((one, at) => {
      const record = 'record' in one ? one.record : recordOf(one.call);
      const gap = `,"additionalEventData":{"recordsLostBefore":${lostBefore}}}`;
      return `${at === 0 && lostBefore > 0 ? `${record.slice(0, -1)}${gap}` : record}\n`;
    })
    .join('');
