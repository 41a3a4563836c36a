/**
 * The card's side of a process that answers the guests of one VPC: started, told what it is to know, started again when it ends. What
 * it says is not trusted: it may have been taken over by a guest.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { join } from 'node:path';
import { collectFlag } from '#base/loadingMemory.ts';
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import { namespacePath } from '../kernel/paths.ts';
import {
  guestServicesHeapMib,
  guestServicesOpenFilesMax,
  guestServicesReadyMsMax,
  guestServicesRestartMsMax,
  guestServicesRestartMsMin,
  guestServicesSteadyMs,
  guestServicesUnsentBytesMax,
} from '../limits.ts';
import type { GuestAsked, GuestFacts, Update } from './message.ts';
import { type Output, OutputReader } from './output.ts';

const lineBytesMax = 256;
const wordsKept = 2_000;

export interface GuestServicesOptions {
  readonly namespace: string;
  /** The user that the process becomes; no other VPC's. */
  readonly uid: number;
  readonly tokenKey: string;
  /** Where compiled code is kept, so that the next start is a fast one. */
  readonly cacheDir: string;
  readonly log: Logger;
  /** Told when a guest of the VPC has asked for something. */
  heard?(what: GuestAsked, eniId: string): void;
}

export class GuestServices {
  readonly #options: GuestServicesOptions;
  readonly #waiting = new Set<() => void>();
  #child: ChildProcessWithoutNullStreams | undefined;
  #facts: GuestFacts | undefined;
  #told = '';
  #seq = 0;
  #acked = 0;
  #closed = false;
  #restartMs = guestServicesRestartMsMin;
  #restart: NodeJS.Timeout | undefined;
  #gone: Promise<void> = Promise.resolve();

  constructor(options: GuestServicesOptions) {
    this.#options = options;
    this.#start();
  }

  /** Of the process that runs now. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Tells the process what is true now, if that is news. */
  update(facts: GuestFacts | undefined): void {
    const text = JSON.stringify(facts) ?? '';
    if (text === this.#told) return;
    this.#facts = facts;
    this.#told = text;
    this.#seq += 1;
    this.#tell();
  }

  /** Resolves when the process answers by what it was told last. `DeadlineExceeded` when it does not come to that. */
  ready(): Promise<void> {
    if (this.#acked === this.#seq && this.#seq > 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(done);
        const { namespace } = this.#options;
        reject(
          new PandoError(
            'DeadlineExceeded',
            `Metadata and DHCP in ${namespace} do not answer: see the card's log.`,
          ),
        );
      }, guestServicesReadyMsMax);
      this.#waiting.add(done);
    });
  }

  /** Ends the process and resolves when it is gone. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#restart);
    this.#child?.kill('SIGKILL');
    await this.#gone;
  }

  #start(): void {
    const { namespace, uid, cacheDir, log } = this.#options;
    const began = monotonicMs();
    const child = spawn('nsenter', [`--net=${namespacePath(namespace)}`, ...command(uid)], {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: '/',
      env: { NODE_COMPILE_CACHE: cacheDir },
    });
    this.#child = child;
    this.#acked = 0;
    const reader = new OutputReader();
    let words = '';
    let line = '';
    child.stdin.on('error', () => undefined);
    child.stderr.on('data', (chunk: Buffer) => {
      words = `${words}${chunk}`.slice(-wordsKept);
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = `${line}${text}`.split('\n');
      line = lines.pop() ?? '';
      if (!lines.every((each) => this.#heard(reader.take(each))) || line.length > lineBytesMax)
        child.kill('SIGKILL');
    });
    this.#gone = new Promise((resolve) => {
      child.once('error', (error) => {
        words = error.message;
      });
      child.once('close', (code, signal) => {
        if (this.#child === child) this.#child = undefined;
        resolve();
        if (this.#closed) return;
        log.error({ namespace, code, signal, words }, 'metadata and DHCP have ended: started again');
        if (monotonicMs() - began > guestServicesSteadyMs) this.#restartMs = guestServicesRestartMsMin;
        this.#restart = setTimeout(() => this.#start(), this.#restartMs);
        this.#restartMs = Math.min(2 * this.#restartMs, guestServicesRestartMsMax);
      });
    });
  }

  /** Whether the process may say this. */
  #heard(output: Output | undefined): boolean {
    switch (output?.kind) {
      case undefined:
        return false;
      case 'ready':
        this.#tell();
        return true;
      case 'asked':
        // Of others than its own guests it can say nothing.
        if (this.#facts?.guests.some(({ port }) => port.eniId === output.eniId))
          this.#options.heard?.(output.what, output.eniId);
        return true;
      case 'ack':
        this.#acked = output.seq;
        if (this.#acked === this.#seq) for (const done of [...this.#waiting]) done();
        return true;
    }
  }

  #tell(): void {
    const child = this.#child;
    if (child === undefined || this.#seq === 0) return;
    const update: Update = { seq: this.#seq, tokenKey: this.#options.tokenKey, facts: this.#facts };
    child.stdin.write(`${JSON.stringify(update)}\n`);
    if (child.stdin.writableLength > guestServicesUnsentBytesMax) child.kill('SIGKILL');
  }
}

/** What it needs until it has become another user: to become that, and to bind the ports of its two services. */
const startingCapabilities = '-all,+setuid,+setgid,+net_bind_service';

const command = (uid: number): string[] => [
  ...['prlimit', `--nofile=${guestServicesOpenFilesMax}`, '--core=0'],
  ...['setpriv', '--no-new-privs', '--inh-caps=-all', `--bounding-set=${startingCapabilities}`],
  ...[
    process.execPath,
    ...[`--max-old-space-size=${guestServicesHeapMib}`, collectFlag],
    '--disable-warning=ExperimentalWarning',
  ],
  ...[join(import.meta.dirname, 'main.ts'), String(uid)],
];
