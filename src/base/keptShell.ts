/**
 * A shell that stays: scripts run in it one after another. A new process for each costs several milliseconds of a big parent's
 * time; a script in a shell that is there costs what its own commands cost.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { Socket } from 'node:net';
import { ExecError, outputBytesMax } from './exec.ts';

type Stream = 'stdout' | 'stderr';

interface Running {
  readonly script: string;
  /** Stands on a line of its own on both outputs when the script has ended. */
  readonly mark: string;
  readonly timer: NodeJS.Timeout;
  resolve(stdout: string): void;
  reject(error: Error): void;
}

export class KeptShell {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #name: string;
  readonly #said: Record<Stream, string> = { stdout: '', stderr: '' };
  readonly #gone: Promise<void>;
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #running: Running | undefined;
  #endedWith: Error | undefined;

  /** Starts `command args…`, which must end as a POSIX shell that reads its standard input. */
  constructor(command: string, args: readonly string[]) {
    this.#name = [command, ...args].join(' ');
    // A group of its own, so that a script that is given up takes its commands along.
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    const { stdin, stdout, stderr } = this.#child;
    stdin.on('error', () => undefined);
    stdout.setEncoding('utf8').on('data', (text: string) => this.#heard('stdout', text));
    stderr.setEncoding('utf8').on('data', (text: string) => this.#heard('stderr', text));
    this.#gone = new Promise((resolve) => {
      this.#child.once('error', (cause) => {
        this.#end(new ExecError(this.#name, null, cause.message, { cause }));
        resolve();
      });
      this.#child.once('close', (code) => {
        this.#end(new ExecError(this.#name, code, this.#said.stderr || 'the shell ended'));
        resolve();
      });
    });
    this.#keepsProcess(false);
  }

  /** Whether it takes no more scripts. */
  get ended(): boolean {
    return this.#endedWith !== undefined;
  }

  /** Whether a script runs or waits. */
  get busy(): boolean {
    return this.#waiting > 0;
  }

  /**
   * Runs the script after those before it, up to its first command that fails, and returns what it printed. Errors: {@link ExecError}
   * when it fails, takes longer than `timeoutMs`, or prints too much; after the latter two the shell is gone.
   */
  run(script: string, timeoutMs: number): Promise<string> {
    const result = this.#tail.then(() => this.#start(script, timeoutMs));
    this.#waiting += 1;
    this.#tail = result
      .catch(() => undefined)
      .finally(() => {
        this.#waiting -= 1;
      });
    return result;
  }

  /** Ends the shell and resolves when it is gone. What still runs in it fails. */
  async close(): Promise<void> {
    this.#keepsProcess(true);
    this.#end(new ExecError(this.#name, null, 'the shell was closed'));
    await this.#gone;
  }

  #start(script: string, timeoutMs: number): Promise<string> {
    if (this.#endedWith !== undefined) return Promise.reject(this.#endedWith);
    const mark = `end-${randomBytes(9).toString('hex')}`;
    return new Promise((resolve, reject) => {
      const late = (): void => this.#end(new ExecError(this.#name, null, `not done in ${timeoutMs} ms`));
      this.#running = { script, mark, timer: setTimeout(late, timeoutMs), resolve, reject };
      this.#keepsProcess(true);
      // A command that reads its standard input must not swallow the script after this one.
      this.#child.stdin.write(
        `(\nset -e\n${script}\n) </dev/null
code=$?; printf '\\n${mark} %d\\n' $code; printf '\\n${mark} %d\\n' $code >&2\n`,
      );
    });
  }

  #heard(stream: Stream, text: string): void {
    this.#said[stream] += text;
    if (this.#said[stream].length > outputBytesMax)
      this.#end(new ExecError(this.#name, null, `more than ${outputBytesMax} bytes of output`));
    else if (this.#running !== undefined) this.#settle(this.#running);
  }

  /** When both outputs have come to the script's mark. */
  #settle({ mark, timer, script, resolve, reject }: Running): void {
    // Long outputs come in many pieces: only the end of what is here can tell.
    if (![this.#said.stdout, this.#said.stderr].every((text) => text.slice(-2 * mark.length).includes(mark)))
      return;
    const [out, outEnd] = this.#said.stdout.split(`\n${mark} `);
    const [err, errEnd] = this.#said.stderr.split(`\n${mark} `);
    if (!outEnd?.endsWith('\n') || !errEnd?.endsWith('\n')) return;
    this.#said.stdout = '';
    this.#said.stderr = '';
    this.#running = undefined;
    clearTimeout(timer);
    this.#keepsProcess(false);
    const code = Number(outEnd);
    if (code === 0) resolve(out ?? '');
    else reject(new ExecError(script.slice(0, 300), code, err ?? ''));
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

  /** Whether this process stays for the shell's sake: only while a script runs. */
  #keepsProcess(yes: boolean): void {
    const { stdin, stdout, stderr } = this.#child;
    const handles = [this.#child, ...[stdin, stdout, stderr].filter((each) => each instanceof Socket)];
    for (const handle of handles) yes ? handle.ref() : handle.unref();
  }
}
