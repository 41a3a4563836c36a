/** Runs commands with a deadline and bounded output. */
import { spawn } from 'node:child_process';

export const outputBytesMax = 8 * 1024 * 1024;
const timeoutMsDefault = 30_000;

export interface ExecOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Exit codes besides 0 that are not an error. */
  readonly allow?: readonly number[];
}

/** A command that failed; the message names the command, its exit and the end of what it said. */
export class ExecError extends Error {
  readonly exitCode: number | null;
  readonly stderr: string;
  constructor(command: string, exitCode: number | null, stderr: string, options?: ErrorOptions) {
    super(`${command} failed (exit ${exitCode}): ${stderr.trim().slice(-2000)}`, options);
    this.exitCode = exitCode;
    this.stderr = stderr;
  }
}

/** Runs `command args…` (no shell) and returns what it printed. */
export const exec = (
  command: string,
  args: readonly string[],
  options: ExecOptions = {},
): Promise<{ stdout: string; stderr: string; exitCode: number }> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let bytes = 0;
    const collect = (into: Buffer[]) => (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= outputBytesMax) into.push(chunk);
      else child.kill('SIGKILL');
    };
    child.stdout.on('data', collect(out));
    child.stderr.on('data', collect(err));
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? timeoutMsDefault);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(new ExecError(command, null, error.message, { cause: error }));
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      const stdout = Buffer.concat(out).toString();
      const stderr = Buffer.concat(err).toString();
      if (code === 0 || (code !== null && options.allow?.includes(code)))
        resolve({ stdout, stderr, exitCode: code });
      else reject(new ExecError(`${command} ${args.join(' ')}`.slice(0, 300), code, stderr));
    });
  });
