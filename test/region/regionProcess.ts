/** The region as a process of its own, as it is deployed; several of them on one store. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Authority, issueCertificate } from '#base/pki.ts';

export interface RegionProcess {
  readonly child: ChildProcess;
  readonly port: number;
  /** `spiffe://pando/region/…` */
  readonly identity: string;
  kill(): Promise<void>;
}

const main = new URL('../../src/region/main.ts', import.meta.url).pathname;

/** `dir`: what the processes of one region share, their seal key and images. `port` 0: any. */
export const startRegionProcess = async (
  {
    authority,
    dir,
    databaseUrl,
  }: { readonly authority: Authority; readonly dir: string; readonly databaseUrl: string },
  name: string,
  port = 0,
): Promise<RegionProcess> => {
  const identity = `spiffe://pando/region/${name}`;
  const own = path.join(dir, name);
  await mkdir(own, { recursive: true });
  const material = await issueCertificate(authority, identity);
  const tls = { ca: path.join(own, 'ca'), cert: path.join(own, 'cert'), key: path.join(own, 'key') };
  for (const part of ['ca', 'cert', 'key'] as const)
    await writeFile(tls[part], material[part], { mode: 0o600 });
  const config = {
    ...{ regionName: 'test-1', zones: [{ name: 'test-1a', id: 't1-az1' }], databaseUrl, tls },
    listen: { host: '127.0.0.1', port },
    publicPool: { cidr: '203.0.113.0/24', first: '203.0.113.16', last: '203.0.113.250' },
    ...{ imagesDir: path.join(dir, 'images'), secretKeyFile: path.join(dir, 'seal.key') },
    reconcileEveryMs: 200,
  };
  const file = path.join(own, 'region.json');
  await writeFile(file, JSON.stringify(config));
  const child = spawn(process.execPath, [main, '--config', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const listening = await readyPort(child);
  return {
    ...{ child, identity, port: listening },
    kill: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
};

const readyPort = (child: ChildProcess): Promise<number> =>
  new Promise((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const line = text.split('\n').find((one) => one.includes('is ready'));
      if (line !== undefined) resolve(Number(JSON.parse(line).port));
    });
    child.once('exit', (code) => reject(new Error(`the region ended with ${code}: ${text}`)));
  });
