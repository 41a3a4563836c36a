/**
 * The card's own guest as a process in a network namespace without a name: it, and the pair of devices with it, go when the process does,
 * also when the card's process is killed. What it says is not trusted.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { join } from 'node:path';
import { z } from 'zod';
import { probeRouter } from '#base/network/probe.ts';
import { type ProbeMeasurement, probeMeasurement } from '#contracts/card-probe.ts';
import { PandoError } from '#contracts/errors.ts';
import { guestServicesHeapMib, guestServicesOpenFilesMax, guestServicesReadyMsMax } from '../limits.ts';
import type { GuestRequest } from './measure.ts';

export interface GuestOptions {
  readonly ip: string;
  readonly mac: string;
  readonly mtu: number;
  /** Left in the card's own namespace. */
  readonly tap: string;
  readonly uid: number;
  readonly cacheDir: string;
}

const lineBytesMax = 64 * 1024;
/** Above the patience of what it measures. */
const answerMsMax = 15_000;
const answer = z.object({ id: z.number(), measured: probeMeasurement });

export class ProbeGuest {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<number, (measured: ProbeMeasurement) => void>();
  readonly #gone: Promise<void>;
  readonly #ready: Promise<void>;
  #seq = 0;
  #words = '';
  #line = '';
  #isReady: (() => void) | undefined;

  constructor(options: GuestOptions) {
    const child = spawn('unshare', ['--net', 'sh', '-e', '-c', script(options)], {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: '/',
      env: { NODE_COMPILE_CACHE: options.cacheDir, PATH: process.env.PATH },
    });
    this.#child = child;
    this.#ready = new Promise((resolve) => {
      this.#isReady = resolve;
    });
    child.stdin.on('error', () => undefined);
    child.stderr.on('data', (chunk: Buffer) => {
      this.#words = `${this.#words}${chunk}`.slice(-2_000);
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => this.#heard(text));
    this.#gone = new Promise((resolve) => {
      child.once('error', () => resolve());
      child.once('close', () => resolve());
    });
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** @throws DeadlineExceeded */
  async ready(): Promise<void> {
    await this.#inTime(this.#ready, guestServicesReadyMsMax);
  }

  async measure(request: GuestRequest): Promise<ProbeMeasurement> {
    this.#seq += 1;
    const id = this.#seq;
    const answered = new Promise<ProbeMeasurement>((resolve) => this.#waiting.set(id, resolve));
    this.#child.stdin.write(`${JSON.stringify({ id, ...request })}\n`);
    return this.#inTime(answered, answerMsMax).finally(() => this.#waiting.delete(id));
  }

  async close(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#gone;
  }

  async #inTime<T>(work: Promise<T>, ms: number): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), ms);
    });
    const done = await Promise.race([work.then((value) => ({ value })), over, this.#gone]);
    clearTimeout(timer);
    if (done) return done.value;
    throw new PandoError(
      'DeadlineExceeded',
      `The card's own guest does not answer. ${this.#words.slice(0, 300)}`,
    );
  }

  #heard(text: string): void {
    const lines = `${this.#line}${text}`.split('\n');
    this.#line = lines.pop() ?? '';
    try {
      for (const line of lines) this.#take(line);
      if (this.#line.length > lineBytesMax) throw new Error('too long');
    } catch {
      this.#child.kill('SIGKILL');
    }
  }

  #take(line: string): void {
    if (line === '{"ready":true}') {
      this.#isReady?.();
      return;
    }
    const { id, measured } = answer.parse(JSON.parse(line));
    this.#waiting.get(id)?.(measured);
  }
}

/** The other end of its wire is made in the namespace of this process, as an agent does with a VM's. */
const script = ({ ip, mac, mtu, tap, uid, cacheDir: _ }: GuestOptions): string => `
ip link set lo up
ip link add name eth0 address ${mac} mtu ${mtu} type veth peer name ${tap} netns ${process.pid}
ip addr add ${ip}/32 dev eth0
ip link set eth0 up
ip route add default via ${probeRouter} dev eth0 onlink
exec ${[
  ...['prlimit', `--nofile=${guestServicesOpenFilesMax}`, '--core=0'],
  ...['setpriv', '--no-new-privs', '--inh-caps=-all', '--bounding-set=-all,+setuid,+setgid'],
  ...[process.execPath, `--max-old-space-size=${guestServicesHeapMib}`],
  ...['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'guest.ts'), String(uid), ip],
]
  .map((word) => `'${word.replaceAll("'", "'\\''")}'`)
  .join(' ')}
`;
