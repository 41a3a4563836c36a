import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { monotonicMs } from '#base/monotonic.ts';
import { parseRanges } from '#base/publicAddress.ts';
import { bringUp } from '#lab/bringUp.ts';
import { claimIndex } from '#lab/claims.ts';
import { newExternal, objection, shown } from '#lab/externalPostgres.ts';
import { type RunRecord, readRun, regionNameDefault, writeRun } from '#lab/runRecord.ts';
import { type RunDirectory, runDirectory } from '#node/directory.ts';
import { withLock } from '#node/lock.ts';
import { writeAwsFiles } from '../awsFiles.ts';
import { instanceState, launchFirstVm, waitPage } from '../firstVm.ts';
import { interruptible } from '../interrupt.ts';
import { planOf } from '../operator.ts';
import { paint, print, progress, seconds, step, ticking, UserError } from '../output.ts';
import { assertPortFree } from '../port.ts';
import { prepareRegion } from '../prepareRegion.ts';
import { installMissing } from '../provision/install.ts';
import { openRegion, type Region } from '../region.ts';
import { refuseSimulated } from '../simulated/directory.ts';
import { ensureImage } from './image.ts';

export interface UpOptions {
  readonly dir: string;
  readonly cells?: number;
  readonly zones?: number;
  readonly hostsPerCell?: number;
  /** Replicas; absent: as before, at first one. */
  readonly routers?: number;
  readonly regions?: number;
  readonly port?: number;
  readonly postgres?: string;
  /** `none`: spans go nowhere any more. */
  readonly otlp?: string;
  /** `none`: public addresses alone again. */
  readonly webhookRange?: readonly string[];
  readonly firstVm: boolean;
}

const asSimulated = 'A simulated region needs no root: pando up --simulated';

const portDefault = 4566;
const userDirectory = '/var/lib/pando';

/** `pando up`: a whole region on this machine; what is there already stays as it is. */
export async function up(options: UpOptions): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new UserError(`Network namespaces and virtual machines need root: sudo ./pando up. ${asSimulated}`);
  const directory = runDirectory(resolve(options.dir));
  refuseSimulated(readRun(directory) ?? {}, `start it again with --simulated, or use another --dir.`);
  const dir = dirOption(directory);
  await withLock(directory.lockFile, () =>
    interruptible(
      (signal) => bring(directory, options, signal),
      `What is there stays: ./pando up${dir} goes on from it, ./pando down${dir} removes it.`,
    ),
  );
}

async function bring(directory: RunDirectory, options: UpOptions, signal: AbortSignal): Promise<void> {
  const begun = monotonicMs();
  // What was asked wrongly is said before anything that takes time.
  const present = readRun(directory);
  const otlp = otlpOf(options.otlp, present?.otlp);
  const webhookRanges = webhookRangesOf(options.webhookRange, present?.webhookRanges);
  if (present !== undefined) assertAsStarted(present, options);
  else if (options.postgres !== undefined) await assertUsable(options.postgres);
  await ticking(() => installMissing({ tests: false }, progress));
  const image = await step('the default image', (say) => ensureImage('default', say, signal));
  const decided = await decide(directory, present, options);
  const run = {
    ...{ ...decided, otlp, webhookRanges },
    ...{ routers: options.routers ?? decided.routers, regions: options.regions ?? decided.regions },
  };
  if (!isDeepStrictEqual(settingsOf(run), settingsOf(decided))) writeRun(directory, run);
  await assertPortFree(directory, run.port);
  const startedMs = Date.now();
  const states = await step('the region’s processes', (say) => bringUp(directory, run, say));
  const { region, imageId } = await step('account and image', () => prepareRegion(directory, image.dir));
  writeAwsFiles(region);
  const launched = options.firstVm ? await firstVm(region, imageId) : undefined;
  const started = states.filter((state) => (state.startedAtMs ?? 0) >= startedMs).map((state) => state.name);
  if (present !== undefined && started.length > 0) progress(`Started anew: ${started.join(' ')}`);
  else if (started.length === 0 && launched !== 'launched' && !image.built)
    progress('Everything was up already: nothing was changed.');
  greet(openRegion(options), monotonicMs() - begun);
}

/** What an `up` may change of a region that is there. */
const settingsOf = ({ otlp, webhookRanges, routers, regions }: Partial<RunRecord>): readonly unknown[] => [
  otlp,
  webhookRanges,
  routers,
  regions,
];

/** A region's make-up is decided at its first start. */
function assertAsStarted(present: RunRecord, options: UpOptions): void {
  const asked = [
    ['--cells', options.cells, present.cells],
    ['--zones', options.zones, present.zones ?? present.cells],
    ['--hosts-per-cell', options.hostsPerCell, present.hostsPerCell],
    ['--port', options.port, present.port],
  ] as const;
  for (const [option, value, now] of asked)
    if (value !== undefined && value !== now) throw startedWith(`${option} ${now}`);
  if (options.postgres !== undefined && options.postgres !== present.postgres?.url)
    throw startedWith(
      present.postgres === undefined ? 'servers of its own' : `--postgres ${shown(present.postgres.url)}`,
    );
}

const startedWith = (what: string): UserError =>
  new UserError(
    `This region was started with ${what}. To change it: pando down, then up (its VMs end with it).`,
  );

/** Where spans go: as asked now, else as before. */
function otlpOf(asked: string | undefined, before: string | undefined): string | undefined {
  if (asked === undefined || asked === '') return before;
  if (asked === 'none') return undefined;
  if (!/^https?:\/\/[^/\s]/.test(asked) || !URL.canParse(asked))
    throw new UserError(`--otlp: ${asked} is no URL of a collector. Such is http://127.0.0.1:4318`);
  return asked;
}

/** Where webhooks are sent beside public addresses: as asked now, else as before. */
function webhookRangesOf(
  asked: readonly string[] | undefined,
  before: readonly string[] | undefined,
): string[] | undefined {
  if (asked === undefined) return before === undefined ? undefined : [...before];
  if (asked.length === 1 && asked[0] === 'none') return undefined;
  try {
    parseRanges(asked);
  } catch (error) {
    throw new UserError(`--webhook-range: ${error instanceof Error ? error.message : error}`);
  }
  return [...asked];
}

async function assertUsable(postgresUrl: string): Promise<void> {
  const reason = await objection(postgresUrl);
  if (reason !== undefined) throw new UserError(`--postgres: ${reason}`);
}

/** The run's record: what the first start decided, or now decides. */
async function decide(
  directory: RunDirectory,
  present: RunRecord | undefined,
  options: UpOptions,
): Promise<RunRecord> {
  const preferred = present?.index ?? (directory.root === userDirectory ? 0 : undefined);
  const index = await claimIndex({ directory: directory.root }, preferred);
  if (present !== undefined) {
    if (present.index === index) return present;
    throw new UserError(
      `Another region has taken the addresses of ${directory.root}. End it, then run again.`,
    );
  }
  const cells = options.cells ?? 2;
  if ((options.zones ?? 1) > cells)
    throw new UserError(`--zones: ${cells} cells have ${cells} zones at most.`);
  const run: RunRecord = {
    format: 1,
    index,
    cells,
    ...(options.zones === undefined ? {} : { zones: options.zones }),
    hostsPerCell: options.hostsPerCell ?? 2,
    port: options.port ?? portDefault + index,
    regionName: regionNameDefault,
    ...(options.postgres === undefined ? {} : { postgres: newExternal(options.postgres) }),
  };
  writeRun(directory, run);
  return run;
}

/** How other commands are told which region is meant. */
const dirOption = ({ root }: RunDirectory): string => (root === userDirectory ? '' : ` --dir ${root}`);

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

const count = (many: number, what: string): string => `${many} ${what}${many === 1 ? '' : 's'}`;

function greet({ directory, run, endpoint }: Region, tookMs: number): void {
  const dir = dirOption(directory);
  const plan = planOf(run);
  const vm = run.firstVm;
  print(
    `${paint('ok', '✔')} ${paint('bold', `The region ${run.regionName} is up`)} (${seconds(tookMs)}): ${count(plan.cells.length, 'cell')}, ${count(plan.hosts.length, 'host')}`,
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
