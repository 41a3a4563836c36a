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

export class AuditLog {
  readonly #options: AuditOptions;
  readonly #log: Logger;
  #waiting: AuditedCall[] = [];
  #lost = 0;
  #bytes: number | undefined;
  readonly #writing = new Coalesced(() => this.#write());

  constructor(options: AuditOptions, log: Logger) {
    this.#options = options;
    this.#log = log;
  }

  /** Never throws and never waits. */
  add(call: AuditedCall): void {
    if (this.#waiting.length >= this.#options.waitingMax) {
      this.#lost += 1;
      return;
    }
    this.#waiting.push(call);
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
      try {
        await this.#append(batch.map((call) => this.#line(call)).join(''));
      } catch (error) {
        this.#lost += batch.length;
        this.#bytes = undefined;
        this.#log.error({ err: error, lost: this.#lost }, 'calls could not be written to the audit log');
      }
    }
  }

  #line(call: AuditedCall): string {
    const lost = this.#lost;
    this.#lost = 0;
    const gap = lost === 0 ? {} : { additionalEventData: { recordsLostBefore: lost } };
    return `${JSON.stringify({ ...auditRecord(call), ...gap })}\n`;
  }

  async #append(text: string): Promise<void> {
    const { path, fileBytesMax } = this.#options;
    const bytes = Buffer.byteLength(text);
    this.#bytes ??= await this.#open();
    if (this.#bytes > 0 && this.#bytes + bytes > fileBytesMax) {
      await this.#rotate();
      this.#bytes = 0;
    }
    await appendFile(path, text, { mode: 0o600 });
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
