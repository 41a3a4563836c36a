/** Starts the process of a simulated region and waits until it is ready. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { writeAtomicallySync } from '#base/writeAtomically.ts';
import { simulatedProcess } from '#lab/simulatedRun.ts';
import { codeDirectory, type RunDirectory } from '#node/directory.ts';
import { endProcess, identify } from '#node/processIdentity.ts';
import { UserError } from '../output.ts';

const message = z.union([
  z.object({ say: z.string() }),
  z.object({ failed: z.string(), taken: z.boolean().optional() }),
  z.object({
    ready: z.object({
      regionPort: z.number(),
      cellPorts: z.array(z.number()),
      imageId: z.string(),
      account: z
        .object({ accountId: z.string(), accessKeyId: z.string(), secretAccessKey: z.string() })
        .optional(),
    }),
  }),
]);
export type Ready = Extract<z.infer<typeof message>, { ready: unknown }>['ready'];

export const portTaken = (port: number): string =>
  `Port ${port} of 127.0.0.1 is taken by another program (ss -ltnp shows which). Another one: --port N, or none for the first that is free.`;

const readyMsMax = 60_000;
const endGraceMs = 15_000;
const logCharsShown = 1_500;

/** Another program listens on its port, since it was found free. */
export class PortTaken extends UserError {}

export interface StartedProcess {
  readonly child: ChildProcess;
  readonly ready: Ready;
}

/** @throws PortTaken; UserError when it ends, or is not ready in time, with what it told last */
export const startProcess = async (
  directory: RunDirectory,
  config: { readonly foreground: boolean; readonly cache: string; readonly port: number },
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<StartedProcess> => {
  for (const path of [directory.run, directory.log]) mkdirSync(path, { recursive: true, mode: 0o700 });
  const configFile = directory.config(simulatedProcess);
  writeAtomicallySync(configFile, JSON.stringify(config, null, 2));
  const output = openSync(directory.logFile(simulatedProcess), 'a', 0o600);
  const main = join(codeDirectory, 'src', 'simulated', 'main.ts');
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', main, '--config', configFile],
    {
      // Its own session: a terminal's Ctrl-C is meant for us, who pass it on.
      detached: true,
      cwd: directory.root,
      // Compiling takes longer than all else of a start.
      env: { ...process.env, NODE_COMPILE_CACHE: join(config.cache, 'compiled') },
      stdio: ['ignore', output, output, 'ipc'],
    },
  );
  closeSync(output);
  const identity = child.pid === undefined ? undefined : identify(child.pid);
  if (identity !== undefined)
    writeAtomicallySync(directory.pidFile(simulatedProcess), JSON.stringify(identity));
  try {
    return { child, ready: await readiness(child, directory, config.port, signal, say) };
  } catch (error) {
    child.kill('SIGTERM');
    // Whoever tries again removes what it has made.
    if (error instanceof PortTaken && identity !== undefined) await endProcess(identity, endGraceMs);
    rmSync(directory.pidFile(simulatedProcess), { force: true });
    throw error;
  }
};

const readiness = (
  child: ChildProcess,
  directory: RunDirectory,
  port: number,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<Ready> =>
  new Promise((resolve, reject) => {
    const fail = (why: string): void =>
      reject(new UserError(`The simulated region did not come up: ${why}\n${logEnd(directory)}`.trimEnd()));
    const timer = setTimeout(() => fail(`it was not ready after ${readyMsMax / 1000} s.`), readyMsMax);
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code, by) => {
      clearTimeout(timer);
      fail(`its process ended (${by ?? code}).`);
    });
    signal.addEventListener('abort', () => fail('interrupted.'), { once: true });
    child.on('message', (received) => {
      const told = message.parse(received);
      if ('say' in told) return say(told.say);
      clearTimeout(timer);
      if ('failed' in told && told.taken === true) return reject(new PortTaken(portTaken(port)));
      if ('failed' in told) return fail(told.failed);
      return resolve(told.ready);
    });
  });

const logEnd = (directory: RunDirectory): string => {
  try {
    return readFileSync(directory.logFile(simulatedProcess), 'utf8').slice(-logCharsShown);
  } catch {
    return '';
  }
};
