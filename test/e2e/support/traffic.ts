/** Traffic that a migration must not hurt: ping, numbered datagrams, and a TCP stream; each counts what it saw. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { Guest } from './guest.ts';

export interface PingResult {
  readonly sent: number;
  /** Sequence numbers that no answer came to. */
  readonly lost: readonly number[];
  readonly outOfOrder: number;
  /** Longest time between two answers, milliseconds. */
  readonly longestGapMs: number;
}

/** Pings without pause until stopped. The interval is what is asked for: under load the sender may be slower. */
export class Ping {
  readonly #process: ChildProcess;
  readonly #ended: Promise<void>;
  #output = '';

  constructor(address: string, intervalMs: number) {
    this.#process = spawn('ping', ['-n', '-D', '-i', String(intervalMs / 1000), '-W', '5', address], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
    });
    this.#ended = new Promise((resolve) => this.#process.once('close', () => resolve()));
  }

  /** Answers so far. */
  get answers(): number {
    return this.#output.split('icmp_seq=').length - 1;
  }

  /** A test that failed before it stopped this ends it here: a process that is left keeps the test's own alive. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGINT');
    await this.#ended;
  }

  /** Ends it. The last requests may still be under way: they do not count. */
  async stop(): Promise<PingResult> {
    this.#process.kill('SIGINT');
    await this.#ended;
    const replies = [...this.#output.matchAll(/^\[([\d.]+)\] .*icmp_seq=(\d+) .*time=/gm)].map(
      ([, at, sequence]) => ({ atMs: Number(at) * 1000, sequence: Number(sequence) }),
    );
    return summarize(unwrapped(replies));
  }
}

interface Reply {
  readonly atMs: number;
  readonly sequence: number;
}

/** Sequence numbers are 16 bits on the wire. */
function unwrapped(replies: readonly Reply[]): Reply[] {
  const wrap = 0x10000;
  let rounds = 0;
  let last = 0;
  return replies.map(({ atMs, sequence }) => {
    if (sequence + wrap / 2 < last) rounds += 1;
    last = sequence;
    return { atMs, sequence: sequence + rounds * wrap };
  });
}

function summarize(replies: readonly Reply[]): PingResult {
  const seen = new Set(replies.map(({ sequence }) => sequence));
  const sent = Math.max(0, ...seen);
  const lost = Array.from({ length: sent }, (_, at) => at + 1).filter((sequence) => !seen.has(sequence));
  let longestGapMs = 0;
  let outOfOrder = 0;
  for (const [at, reply] of replies.entries()) {
    const previous = replies[at - 1];
    if (previous === undefined) continue;
    longestGapMs = Math.max(longestGapMs, reply.atMs - previous.atMs);
    if (reply.sequence < previous.sequence) outOfOrder += 1;
  }
  return { sent, lost, outOfOrder, longestGapMs };
}

/** Sends datagrams to a closed port of the VM, whose kernel counts each that arrives. */
export class Datagrams {
  readonly #guest: Guest;
  readonly #before: number;
  readonly #done: Promise<number>;
  #stopped = false;

  private constructor(guest: Guest, before: number, perSecond: number) {
    this.#guest = guest;
    this.#before = before;
    this.#done = this.#send(perSecond);
  }

  static async start(guest: Guest, perSecond: number): Promise<Datagrams> {
    return new Datagrams(guest, await guest.counter('Udp', 'NoPorts'), perSecond);
  }

  /** Sends in small bursts on a clock of its own, so that a late timer is made up for. */
  async #send(perSecond: number): Promise<number> {
    const socket = createSocket('udp4');
    // The VM's kernel says that the port is closed; an unconnected socket does not hear it.
    socket.on('error', () => undefined);
    const port = 40_000;
    const begun = performance.now();
    let sent = 0;
    while (!this.#stopped) {
      const due = Math.min(sent + 50, ((performance.now() - begun) * perSecond) / 1000);
      for (; sent < due; sent++)
        await new Promise<void>((resolve) =>
          socket.send(String(sent), port, this.#guest.address, () => resolve()),
        );
      await pause(2);
    }
    socket.close();
    return sent;
  }

  /** Ends it: how many were sent, and how many of them the VM's kernel counted. */
  async stop(): Promise<{ sent: number; arrived: number }> {
    this.#stopped = true;
    const sent = await this.#done;
    let arrived = 0;
    for (let look = 0; look < 10; look++) {
      arrived = (await this.#guest.counter('Udp', 'NoPorts')) - this.#before;
      if (arrived >= sent) break;
      await pause(300);
    }
    return { sent, arrived };
  }
}

/** A connection over which the VM sends numbered lines, a hundred a second. */
export class Stream {
  readonly #socket: Socket;
  #text = '';
  #ended = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
    });
    for (const event of ['end', 'error', 'close'])
      socket.on(event, () => {
        this.#ended = true;
      });
  }

  /** Starts the sender in the VM, on this TCP port, and connects to it. */
  static async open(guest: Guest, port: number): Promise<Stream> {
    const sender = `i=0; while :; do echo $i; i=$((i+1)); usleep 10000; done | nc -l -p ${port}`;
    await guest.run(`sh -c '${sender}' >/dev/null 2>&1 </dev/null & sleep 1`);
    const socket = connect({ host: guest.address, port });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new Stream(socket);
  }

  /** Lines so far. */
  get lines(): number {
    return this.#text.split('\n').length - 1;
  }

  /** Ends it: how many lines came, whether each followed the one before, and whether the connection was still open. */
  stop(): { lines: number; inOrder: boolean; open: boolean } {
    const open = !this.#ended;
    this.#socket.destroy();
    const numbers = this.#text.split('\n').slice(0, -1).map(Number);
    const inOrder = numbers.every((value, at) => at === 0 || value === (numbers[at - 1] ?? 0) + 1);
    return { lines: numbers.length, inOrder, open };
  }
}
