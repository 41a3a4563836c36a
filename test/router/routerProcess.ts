/** The router as a process of its own, as it is deployed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { type Authority, issueCertificate } from '#base/pki.ts';
import { nodeFlags } from '#node/compiledCode.ts';

export interface RouterProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly port: number;
  /** Asks it to stop, and gives its exit code. */
  stop(): Promise<number | null>;
}

/** Patience alone: it loads its code, on a machine that runs other files too. */
const startMsMax = 60_000;

/** Writes its files, starts it and waits until it listens. `config` is laid over a working one. */
export const startRouterProcess = async (
  authority: Authority,
  regionPort: number,
  config: Readonly<Record<string, unknown>> = {},
): Promise<RouterProcess> => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'pando-router-'));
  const material = await issueCertificate(authority, 'spiffe://pando/router/-/r-2');
  const tls = { ca: '', cert: '', key: '' };
  for (const name of ['ca', 'cert', 'key'] as const) {
    tls[name] = path.join(directory, `${name}.pem`);
    await writeFile(tls[name], material[name], { mode: 0o600 });
  }
  const file = path.join(directory, 'router.json');
  const region = { host: '127.0.0.1', port: regionPort };
  await writeFile(file, JSON.stringify({ regionName: 'lab-1', listen: { port: 0 }, region, tls, ...config }));
  const main = new URL('../../src/router/main.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [...nodeFlags, main, '--config', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit').then(async ([code]) => {
    await rm(directory, { recursive: true, force: true });
    return typeof code === 'number' ? code : null;
  });
  try {
    const port = await listeningPort(child);
    return {
      child,
      pid: child.pid ?? 0,
      port,
      stop: () => {
        child.kill('SIGTERM');
        return exited;
      },
    };
  } catch (error) {
    child.kill('SIGKILL');
    await exited;
    throw error;
  }
};

const listeningPort = (child: ChildProcess): Promise<number> =>
  new Promise((resolve, reject) => {
    const { stdout, stderr } = child;
    if (stdout === null || stderr === null) throw new TypeError('the process has no output');
    const said: string[] = [];
    const timer = setTimeout(() => reject(new Error(`not listening after ${startMsMax} ms`)), startMsMax);
    createInterface({ input: stdout }).on('line', (line) => {
      const { msg, port } = JSON.parse(line);
      if (msg !== 'listening') return;
      clearTimeout(timer);
      resolve(port);
    });
    createInterface({ input: stderr }).on('line', (line) => said.push(line));
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`exit ${code}: ${said.join('\n')}`));
    });
  });
