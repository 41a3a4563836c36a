/** What real clients of EC2 need of a region on simulated hosts: its endpoint, keys in the environment, and themselves. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { exec } from '#base/exec.ts';
import { type RealClient, type RealCloud, regionName, startRealCloud, zone } from '../../router/realCloud.ts';

const clientTimeoutMs = 240_000;
const everyExitCode = Array.from({ length: 256 }, (_, code) => code);

export interface ClientRegion {
  readonly cloud: RealCloud;
  /** Whose keys the clients have. */
  readonly owner: RealClient;
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** An empty directory of this test's, which is also the clients' home. */
  readonly home: string;
  /** Runs a client to its end, with this region in its environment, and gives what it printed. Throws when it fails. */
  run(command: string, words: readonly string[], more?: Readonly<Record<string, string>>): Promise<string>;
  close(): Promise<void>;
}

/** A file beside this one. */
export const supportFile = (name: string): string => path.join(import.meta.dirname, name);

export const clientZone = zone;
export const clientRegionName = regionName;

/** Whether Debian's packages are installed; skips the test, and names those that are not, where one is missing. */
export const hasPackages = async (t: TestContext, ...names: readonly string[]): Promise<boolean> => {
  const missing: string[] = [];
  for (const name of names) {
    const asked = await exec('dpkg-query', ['-W', '-f', '$' + '{db:Status-Status}', name]).catch(
      () => undefined,
    );
    if (asked?.stdout !== 'installed') missing.push(name);
  }
  if (missing.length > 0) t.skip(`needs apt-get install ${missing.join(' ')}`);
  return missing.length === 0;
};

export const startClientRegion = async (): Promise<ClientRegion> => {
  const cloud = await startRealCloud();
  const home = await mkdtemp(path.join(tmpdir(), 'pando-clients-'));
  const owner = await cloud.account();
  const { key } = owner;
  const endpoint = `http://127.0.0.1:${cloud.port}`;
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: home,
    LANG: 'C.UTF-8',
    AWS_ACCESS_KEY_ID: key.accessKeyId,
    AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
    AWS_DEFAULT_REGION: regionName,
    AWS_REGION: regionName,
    AWS_EC2_METADATA_DISABLED: 'true',
    ENDPOINT: endpoint,
    IMAGE: cloud.imageId,
  };
  return {
    ...key,
    cloud,
    owner,
    endpoint,
    home,
    run: async (command, words, more = {}) => {
      const options = { timeoutMs: clientTimeoutMs, env: { ...env, ...more }, allow: everyExitCode };
      const { stdout, stderr, exitCode } = await exec(command, words, options);
      // Some clients say on their standard output what went wrong.
      if (exitCode !== 0) throw new Error(`${command} ended with ${exitCode}:\n${stdout}\n${stderr}`);
      return stdout;
    },
    close: async () => {
      await cloud.close();
      await rm(home, { recursive: true, force: true });
    },
  };
};
