import { spawn } from 'node:child_process';

/** How to run one program. */
export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  /** Called with each line of standard error as it comes. */
  onLine?: (line: string) => void;
}

/** The tail of a program's complaint that an error repeats. */
const complaintCharsMax = 2000;

/** Runs a program to its end and returns its standard output; a failure's error carries the tail of its stderr. */
export async function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: options.env ?? process.env,
    signal: options.signal,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let complaint = '';
  let partial = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    complaint = (complaint + chunk).slice(-complaintCharsMax);
    const lines = (partial + chunk).split(/[\r\n]+/);
    partial = lines.pop() ?? '';
    for (const line of lines) if (line !== '') options.onLine?.(line);
  });
  child.on('error', reject);
  child.on('close', (code, killedBy) => {
    if (code === 0) resolve(output);
    else reject(new Error(`${program} ended with ${code ?? killedBy}: ${complaint.trim()}`));
  });
  return promise;
}
