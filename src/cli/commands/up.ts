import { resolve } from 'node:path';
import { bringUp } from '#lab/bringUp.ts';
import { claimIndex } from '#lab/claims.ts';
import { type RunDirectory, runDirectory } from '#lab/directory.ts';
import { withLock } from '#lab/lock.ts';
import { type RunRecord, readRun, regionNameDefault, writeRun } from '#lab/runRecord.ts';
import { writeAwsFiles } from '../awsFiles.ts';
import { instanceState, launchFirstVm, waitPage } from '../firstVm.ts';
import { paint, print, progress, step, UserError } from '../output.ts';
import { prepareRegion } from '../prepareRegion.ts';
import { installMissing } from '../provision/install.ts';
import { openRegion, type Region } from '../region.ts';
import { ensureImage } from './image.ts';

export interface UpOptions {
  readonly dir: string;
  readonly cells?: number;
  readonly hostsPerCell?: number;
  readonly port?: number;
  readonly firstVm: boolean;
}

const portDefault = 4566;
const userDirectory = '/var/lib/pando';

/** `pando up`: a whole region on this machine; what is there already stays as it is. */
export async function up(options: UpOptions): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new UserError('Network namespaces and virtual machines need root: sudo ./pando up');
  const directory = runDirectory(resolve(options.dir));
  const begun = performance.now();
  await withLock(directory.lockFile, async () => {
    await installMissing({ tests: false }, progress);
    const image = await step('the default image', (say) => ensureImage('default', say));
    const run = await decide(directory, options);
    const states = await step('the region’s processes', (say) => bringUp(directory, run, say));
    const { region, imageId } = await step('account and image', () => prepareRegion(directory, image.dir));
    writeAwsFiles(region);
    const launched = options.firstVm ? await firstVm(region, imageId) : undefined;
    const restarted = states.some(
      (state) => Date.now() - (state.startedAtMs ?? 0) < performance.now() - begun,
    );
    if (!restarted && launched !== 'launched' && !image.built)
      progress('Everything was up already: nothing was changed.');
    greet(openRegion(options), performance.now() - begun);
  });
}

/** The run's record: what the first start decided, or now decides. */
async function decide(directory: RunDirectory, options: UpOptions): Promise<RunRecord> {
  const present = readRun(directory);
  const preferred = present?.index ?? (directory.root === userDirectory ? 0 : undefined);
  const index = await claimIndex({ directory: directory.root }, preferred);
  if (present !== undefined) {
    if (present.index !== index)
      throw new UserError(
        `Another region has taken the addresses of ${directory.root}. End it, then run again.`,
      );
    const asked = { cells: options.cells, hostsPerCell: options.hostsPerCell, port: options.port };
    for (const [name, value] of Object.entries(asked))
      if (value !== undefined && value !== present[name as keyof typeof asked])
        throw new UserError(
          `This region was started with ${name} = ${present[name as keyof typeof asked]}. To change it: pando down, then up.`,
        );
    return present;
  }
  const run: RunRecord = {
    format: 1,
    index,
    cells: options.cells ?? 2,
    hostsPerCell: options.hostsPerCell ?? 2,
    port: options.port ?? portDefault + index,
    regionName: regionNameDefault,
  };
  writeRun(directory, run);
  return run;
}

/** Launches the first VM once: one that its user terminated is not launched again. */
async function firstVm(region: Region, imageId: string): Promise<'launched' | 'present' | 'ended'> {
  const { run, directory } = region;
  if (run.firstVm !== undefined) {
    const state = await instanceState(region, run.firstVm.instanceId);
    return state === 'running' ? 'present' : 'ended';
  }
  const vm = await step('a first VM', (say) => launchFirstVm(region, imageId, say));
  writeRun(directory, { ...run, firstVm: vm });
  await step(`its page, http://${vm.publicIp}/`, () => waitPage(vm.publicIp, vm.instanceId));
  return 'launched';
}

function greet({ directory, run, endpoint }: Region, tookMs: number): void {
  const dir = directory.root === userDirectory ? '' : ` --dir ${directory.root}`;
  const vm = run.firstVm;
  print(
    `${paint('ok', '✔')} ${paint('bold', `The region ${run.regionName} is up`)} (${(tookMs / 1000).toFixed(1)} s): ${run.cells} cells, ${run.cells * run.hostsPerCell} hosts`,
  );
  print(`  endpoint   ${endpoint}`);
  print(`  keys       . ${directory.env}     (an AWS profile of its own; ~/.aws is not touched)`);
  print(`  logs       ${directory.log}`);
  if (vm !== undefined) print(`  first VM   ${vm.instanceId}   http://${vm.publicIp}/`);
  print('Try:');
  print(`  ./pando aws${dir} ec2 describe-instances`);
  if (vm !== undefined) {
    print(`  curl http://${vm.publicIp}/`);
    print(`  ./pando ssh${dir} ${vm.instanceId}`);
    print(`  ./pando migrate${dir} ${vm.instanceId}`);
  }
  print(`  ./pando status${dir}   ./pando logs${dir}   ./pando down${dir}`);
}
