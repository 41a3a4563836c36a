/** A region of its own for a test file: brought up by the command line, taken down whatever happens. */
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import { openRegion, type Region } from '#cli/region.ts';
import { codeDirectory } from '#lab/directory.ts';
import { type LabPlan, planLab } from '#lab/plan.ts';
import { Cloud } from './cloud.ts';

const upTimeoutMs = 10 * 60_000;
const downTimeoutMs = 3 * 60_000;

export interface TestRegion extends Region, AsyncDisposable {
  readonly plan: LabPlan;
  readonly cloud: Cloud;
  /** Runs `pando …` on this region and returns what it printed. */
  pando(...args: string[]): Promise<string>;
}

const pandoFile = join(codeDirectory, 'pando');

/** Imports a key made for this test, so that its VMs let it in. */
async function makeKey(region: Region, dir: string): Promise<{ name: string; file: string }> {
  const file = join(dir, 'key');
  const name = `test-${process.pid}`;
  await exec('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', file]);
  const { stdout } = await exec('cat', [`${file}.pub`]);
  await region.ec2.call('ImportKeyPair', {
    KeyName: name,
    PublicKeyMaterial: Buffer.from(stdout).toString('base64'),
  });
  return { name, file };
}

/**
 * Brings a region up. `PANDO_E2E_DIR` names one that runs already, for work on the tests themselves: it is used and left
 * running, without what the test made in it.
 */
export async function startRegion(
  options: { readonly cells: number; readonly hostsPerCell: number } = { cells: 1, hostsPerCell: 2 },
): Promise<TestRegion> {
  const given = process.env.PANDO_E2E_DIR;
  const scratch = mkdtempSync(join(tmpdir(), 'pando-e2e-'));
  const dir = given ?? join(scratch, 'region');
  const down = async (): Promise<void> => {
    if (given === undefined) await exec(pandoFile, ['down', '--dir', dir], { timeoutMs: downTimeoutMs });
    await rm(scratch, { recursive: true, force: true });
  };
  try {
    const size = ['--cells', String(options.cells), '--hosts-per-cell', String(options.hostsPerCell)];
    if (given === undefined)
      await exec(
        pandoFile,
        ['up', '--dir', dir, '--no-first-vm', '--port', String(await freePort()), ...size],
        {
          timeoutMs: upTimeoutMs,
        },
      );
    const region = openRegion({ dir });
    const { name, file } = await makeKey(region, scratch);
    const cloud = new Cloud(region.ec2, { name, file });
    return {
      ...region,
      plan: planLab(region.run),
      cloud,
      pando: async (...args) =>
        (await exec(pandoFile, [...args, '--dir', dir], { timeoutMs: upTimeoutMs })).stdout,
      [Symbol.asyncDispose]: async () => {
        if (given !== undefined) await cloud.empty();
        if (given !== undefined) await region.ec2.call('DeleteKeyPair', { KeyName: name });
        await down();
      },
    };
  } catch (error) {
    await down();
    throw error;
  }
}

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
