/**
 * A process that stays and does one piece of work after another, told by its standard input. A new process for each costs several
 * milliseconds of a big parent's time, and as much again for the program to start.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { ExecError, outputBytesMax } from './exec.ts';

export type Stream = 'stdout' | 'stderr';
export type Output = Readonly<Record<Stream, string>>;

/** One piece of work. */
export interface Task {
  readonly input: string;
  /** What came of it, seen in what the process has said since the task began; undefined: it is not done yet. */
  outcome(output: Output): { readonly output: string } | { readonly error: Error } | undefined;
}

interface Running {
  readonly task: Task;
  readonly timer: NodeJS.Timeout;
  resolve(output: string): void;
  reject(error: Error): void;
}

export class KeptProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #name: string;
  readonly #output: Record<Stream, string> = { stdout: '', stderr: '' };
  readonly #gone: Promise<void>;
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #running: Running | undefined;
  #endedWith: Error | undefined;

  constructor(command: string, args: readonly string[]) {
    this.#name = [command, ...args].join(' ').slice(0, 300);
    // A group of its own, so that work that is given up takes its commands along.
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    const { stdin, stdout, stderr } = this.#child;
    stdin.on('error', () => undefined);
    stdout.setEncoding('utf8').on('data', (text: string) => this.#heard('stdout', text));
    stderr.setEncoding('utf8').on('data', (text: string) => this.#heard('stderr', text));
    this.#gone = new Promise((resolve) => {
      this.#child.once('error', (cause) => {
        this.#end(this.#failure(cause.message, null, { cause }));
        resolve();
      });
      this.#child.once('close', (code) => {
        const words = `${this.#output.stdout.slice(-1000)}${this.#output.stderr.slice(-1000)}`;
        this.#end(this.#failure(words || 'it ended by itself', code));
        resolve();
      });
    });
    this.#keepsUs(false);
  }

  /** undefined: it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Whether it works, or work waits for it. */
  get busy(): boolean {
    return this.#waiting > 0;
  }

  /** Whether it takes no more work. */
  get ended(): boolean {
    return this.#endedWith !== undefined;
  }

  /**
   * Does the task that `make` gives when those before it are done, and returns its output. Errors: the task's own; {@link ExecError}
   * when it takes longer than `timeoutMs`, prints too much, or ends the process: then the process is gone.
   */
  run(make: () => Task, timeoutMs: number): Promise<string> {
    const result = this.#tail.then(() => this.#start(make, timeoutMs));
    this.#waiting += 1;
    this.#tail = result
      .catch(() => undefined)
      .finally(() => {
        this.#waiting -= 1;
      });
    return result;
  }

  /** Ends the process and resolves when it is gone. What it still does fails. */
  async close(): Promise<void> {
    this.#keepsUs(true);
    this.#end(this.#failure('it was closed'));
    await this.#gone;
  }

  #start(make: () => Task, timeoutMs: number): Promise<string> {
    if (this.#endedWith !== undefined) return Promise.reject(this.#endedWith);
    const task = make();
    return new Promise((resolve, reject) => {
      const late = (): void => this.#end(this.#failure(`not done in ${timeoutMs} ms`));
      this.#running = { task, timer: setTimeout(late, timeoutMs), resolve, reject };
      this.#keepsUs(true);
      this.#child.stdin.write(task.input);
    });
  }

  #heard(stream: Stream, text: string): void {
    this.#output[stream] += text;
    if (this.#output[stream].length > outputBytesMax)
      this.#end(this.#failure(`more than ${outputBytesMax} bytes of output`));
    else if (this.#running !== undefined) this.#settle(this.#running);
  }

  #settle({ task, timer, resolve, reject }: Running): void {
    const outcome = task.outcome(this.#output);
    if (outcome === undefined) return;
    this.#output.stdout = '';
    this.#output.stderr = '';
    this.#running = undefined;
    clearTimeout(timer);
    this.#keepsUs(false);
    if ('error' in outcome) reject(outcome.error);
    else resolve(outcome.output);
  }

  #failure(words: string, code: number | null = null, options?: ErrorOptions): ExecError {
    return new ExecError(this.#name, code, words, options);
  }

  #end(error: Error): void {
    if (this.#endedWith !== undefined) return;
    this.#endedWith = error;
    if (this.#running !== undefined) {
      clearTimeout(this.#running.timer);
      this.#running.reject(error);
      this.#running = undefined;
    }
    // A process that was never started has no id.
    if (this.#child.pid === undefined || this.#child.exitCode !== null) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }

  /** Whether this process stays for the other's sake: only while that works. */
  #keepsUs(yes: boolean): void {
    const { stdin, stdout, stderr } = this.#child;
    const handles = [this.#child, ...[stdin, stdout, stderr].filter(isOpenSocket)];
    for (const handle of handles) yes ? handle.ref() : handle.unref();
  }
}

/** One that has ended has no handle: each `ref` of it would leave a listener that waits for a connection. */
const isOpenSocket = (each: unknown): each is Socket => each instanceof Socket && !each.destroyed;
