/** A region for a whole test file or a benchmark, with a key of its own. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import { planOf } from '#cli/operator.ts';
import { openRegion, type Region } from '#cli/region.ts';
import type { LabPlan } from '#lab/plan.ts';
import { codeDirectory } from '#node/directory.ts';
import { type TestRegionOptions, withRegion } from '../../support/region.ts';
import { Cloud } from './cloud.ts';

const cliTimeoutMs = 10 * 60_000;

export interface TestRegion extends Region, AsyncDisposable {
  readonly plan: LabPlan;
  readonly cloud: Cloud;
  /** Runs `pando …` on this region and returns what it printed. */
  pando(...args: string[]): Promise<string>;
}

/**
 * Brings up a region that ends with its disposal or with this process. `PANDO_E2E_DIR` names one that runs already, for work
 * on the tests themselves: it is used and left running, emptied.
 */
export async function startRegion(
  options: TestRegionOptions = { cells: 1, hostsPerCell: 2 },
): Promise<TestRegion> {
  const given = process.env.PANDO_E2E_DIR;
  const held = given === undefined ? await hold(options) : { region: openRegion({ dir: given }), release };
  const { region } = held;
  const scratch = mkdtempSync(join(tmpdir(), 'pando-e2e-'));
  const end = async (): Promise<void> => {
    await rm(scratch, { recursive: true, force: true });
    await held.release();
  };
  try {
    const key = await makeKey(region, scratch);
    const cloud = new Cloud(region.ec2, key);
    return {
      ...region,
      plan: planOf(region.run),
      cloud,
      pando: (...args) => pando(region.directory.root, args),
      [Symbol.asyncDispose]: async () => {
        if (given !== undefined) await cloud.empty();
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

const release = async (): Promise<void> => undefined;

/** Turns the region that lives as long as a function into one that lives until `release`. */
async function hold(options: TestRegionOptions): Promise<{ region: Region; release(): Promise<void> }> {
  const up = Promise.withResolvers<Region>();
  const free = Promise.withResolvers<void>();
  const ended = withRegion(options, async (region) => {
    up.resolve(region);
    await free.promise;
  });
  ended.catch((error: unknown) => up.reject(error));
  return {
    region: await up.promise,
    release: () => {
      free.resolve();
      return ended;
    },
  };
}

async function pando(root: string, args: readonly string[]): Promise<string> {
  const main = join(codeDirectory, 'src', 'cli', 'main.ts');
  const { stdout } = await exec(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
    timeoutMs: cliTimeoutMs,
    env: { ...process.env, PANDO_DIR: root },
  });
  return stdout;
}

/** Imports a key made for this test, so that its VMs let it in. */
async function makeKey(region: Region, dir: string): Promise<{ name: string; file: string }> {
  const file = join(dir, 'key');
  const name = `test-${process.pid}`;
  await exec('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', file]);
  await region.ec2.call('ImportKeyPair', {
    KeyName: name,
    PublicKeyMaterial: readFileSync(`${file}.pub`).toString('base64'),
  });
  return { name, file };
}
