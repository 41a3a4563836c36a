/** A whole region of a test's own, on real parts, beside whatever else runs on the machine. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { exec } from '#base/exec.ts';
import { writeAwsFiles } from '#cli/awsFiles.ts';
import { awsEnvironment } from '#cli/commands/aws.ts';
import { ensureImage } from '#cli/commands/image.ts';
import { planOf } from '#cli/operator.ts';
import { prepareRegion } from '#cli/prepareRegion.ts';
import { openRegion, type Region } from '#cli/region.ts';
import { itemsAt, textAt } from '#cli/xmlTree.ts';
import { bringUp } from '#lab/bringUp.ts';
import { claimIndex, claims } from '#lab/claims.ts';
import { newExternal } from '#lab/externalPostgres.ts';
import { prefixOf } from '#lab/plan.ts';
import { type RunRecord, regionNameDefault, writeRun } from '#lab/runRecord.ts';
import { takeDown } from '#lab/teardown.ts';
import { topologyLeft } from '#lab/topology.ts';
import { codeDirectory, type RunDirectory, runDirectory } from '#node/directory.ts';
import { identify } from '#node/processIdentity.ts';
import { newCluster } from './cluster.ts';

const firstPort = 14_000;
const cliTimeoutMs = 300_000;

export interface TestRegion extends Region {
  /** Image that the region has. */
  readonly imageId: string;
  /** Environment in which an AWS client reaches this region. */
  readonly env: NodeJS.ProcessEnv;
  /** Runs `pando` with this region's directory. Throws when it fails. */
  cli(...args: string[]): Promise<{ stdout: string; stderr: string }>;
  /** Ends the region before the function returns. Repeatable. */
  down(): Promise<void>;
}

export interface TestRegionOptions {
  readonly cells?: number;
  readonly hostsPerCell?: number;
  /** URL of a PostgreSQL to use instead of servers of its own. */
  readonly postgres?: string;
  /** Collector of spans. */
  readonly otlp?: string;
  /** What else its record says: zones, replicas, limits. */
  readonly record?: Partial<RunRecord>;
  /** Directory of another release's code, by whose own `up` it is brought up. */
  readonly tree?: string;
}

/**
 * Brings a region up, gives it to `work`, and takes it down whatever happens; then nothing of it may be left. `PANDO_KEEP_LOGS` names a
 * directory in which its logs are kept, for whoever looks for the cause of a failure.
 */
export async function withRegion(
  options: TestRegionOptions,
  work: (region: TestRegion) => Promise<void>,
): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'pando-t-'));
  const directory = runDirectory(root);
  const index = await claimIndex({ directory: root, owner: identify(process.pid) });
  const down = (): Promise<void> => takeDown(directory, index, () => undefined);
  try {
    const run = {
      format: 1 as const,
      index,
      cells: options.cells ?? 1,
      hostsPerCell: options.hostsPerCell ?? 1,
      port: firstPort + index,
      regionName: regionNameDefault,
      ...(options.otlp === undefined ? {} : { otlp: options.otlp }),
      ...(options.postgres === undefined ? {} : { postgres: newExternal(options.postgres) }),
      ...options.record,
    };
    writeRun(directory, run);
    const { region, imageId } =
      options.tree === undefined ? await broughtUp(directory, run) : await broughtUpBy(options.tree, root);
    writeAwsFiles(region);
    const env = { ...process.env, ...awsEnvironment(region) };
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN']) delete env[name];
    await work({ ...region, imageId, env, cli: (...args) => runCli(codeDirectory, root, args), down });
  } finally {
    const kept = process.env.PANDO_KEEP_LOGS;
    if (kept !== undefined) cpSync(directory.log, join(kept, basename(root)), { recursive: true });
    await down();
    rmSync(root, { recursive: true, force: true });
  }
  const left = await topologyLeft(prefixOf(index));
  // Another test's, where one has got the index meanwhile.
  if (!claims().has(index)) assert.deepEqual(left, []);
}

async function broughtUp(
  directory: RunDirectory,
  run: RunRecord,
): Promise<{ region: Region; imageId: string }> {
  const image = await ensureImage('default', () => undefined);
  if (run.postgres === undefined) await makeClusters(directory, run);
  await bringUp(directory, run, () => undefined);
  return prepareRegion(directory, image.dir);
}

/** What the first start of its servers would make. Cells that are added later, and regions that another release brings up, get theirs that way. */
async function makeClusters(directory: RunDirectory, run: RunRecord): Promise<void> {
  mkdirSync(directory.postgresRoot, { recursive: true, mode: 0o711 });
  const stores = ['region', ...planOf(run).cells.map(({ name }) => name)];
  await Promise.all(stores.map((name) => newCluster(directory.postgres(name).dataDir)));
}

async function broughtUpBy(tree: string, root: string): Promise<{ region: Region; imageId: string }> {
  await runCli(tree, root, ['up', '--no-first-vm']);
  const region = openRegion({ dir: root });
  const images = itemsAt(await region.ec2.call('DescribeImages'), 'imagesSet');
  return { region, imageId: images.map((item) => textAt(item, 'imageId'))[0] ?? '' };
}

/** Runs `pando` of the code in `tree` on the region in `root`. Throws when it fails. */
export function runCli(
  tree: string,
  root: string,
  args: readonly string[],
): Promise<{ stdout: string; stderr: string }> {
  const main = join(tree, 'src', 'cli', 'main.ts');
  return exec(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
    timeoutMs: cliTimeoutMs,
    env: { ...process.env, PANDO_DIR: root },
  });
}
