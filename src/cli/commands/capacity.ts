/** `pando capacity`: what fits where, why something does not, and whether the cells' books balance. */
import type { Result } from '#base/rpc/contract.ts';
import type { cellOperatorContract } from '#contracts/cell-operator.ts';
import { PandoError } from '#contracts/errors.ts';
import type { RunRecord } from '#lab/runRecord.ts';
import { type CellCaller, hostNameOf, planOf, withCell } from '../operator.ts';
import { print, table, UserError } from '../output.ts';
import { openRun } from '../region.ts';

type Answer<M extends keyof typeof cellOperatorContract> = Result<typeof cellOperatorContract, M>;

export interface CapacityOptions {
  readonly dir: string;
  readonly json: boolean;
  readonly hosts?: number;
  readonly disk?: number;
  readonly type?: string;
  readonly group?: string;
  readonly partition?: number;
  readonly account?: string;
  readonly dedicated?: boolean;
}

const mibPerGib = 1024;
const answerTimeoutMs = 10_000;

/** A processor of the last release knows none of these calls. */
const understood = <T>(work: Promise<T>): Promise<T> =>
  work.catch((error: unknown) => {
    if (PandoError.from(error).code !== 'UnsupportedOperation') throw error;
    throw new UserError('This cell runs the last release: pando up brings it up to this one first.');
  });

/** Asks every cell; answers in the order of the cells. */
const ofEachCell = async <T>(
  options: CapacityOptions,
  ask: (cell: CellCaller) => Promise<T>,
): Promise<{ run: RunRecord; answers: { cell: string; answer: T }[] }> => {
  const region = openRun(options);
  const answers = await Promise.all(
    planOf(region.run).cells.map(async ({ name, number }) => ({
      cell: name,
      answer: await withCell(region, number, (cell) => understood(ask(cell))),
    })),
  );
  return { run: region.run, answers };
};

const diskOf = ({ disk }: CapacityOptions): { diskMib?: number } =>
  disk === undefined ? {} : { diskMib: disk * mibPerGib };

/** `pando capacity`. */
export async function showCapacity(options: CapacityOptions): Promise<void> {
  const params = {
    ...diskOf(options),
    ...(options.hosts === undefined ? {} : { hosts: options.hosts }),
    ...(options.type === undefined ? {} : { types: [options.type] }),
  };
  const { run, answers } = await ofEachCell(options, (cell) =>
    cell.call('operator.capacity', params, { timeoutMs: answerTimeoutMs }),
  );
  if (options.json) return print(JSON.stringify({ cells: answers.map(({ answer }) => answer) }, null, 2));
  for (const { cell, answer } of answers) printCell(run, cell, answer);
}

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;
const slotList = (slots: readonly { type: string; count: number }[]): string =>
  slots.map(({ type, count }) => `${count} × ${type}`).join(', ');

const printCell = (run: RunRecord, cell: string, answer: Answer<'operator.capacity'>): void => {
  print(`${cell}: ${answer.hostsOpen} of ${answer.hostsAll} hosts take new VMs`);
  if (answer.demand.length > 0)
    print(
      `  asked for lately: ${answer.demand.map(({ type, weight }) => `${type} ${percent(weight)}`).join(', ')}`,
    );
  const rows = answer.types.map((each) => [
    `  ${each.type}`,
    String(each.more),
    String(each.hosts),
    String(each.actual),
    String(each.tiered),
  ]);
  print(table([['  type', 'more of it', 'on hosts', 'in the best mix', 'biggest first'], ...rows]));
  for (const host of answer.hosts) {
    const { vcpus, memoryMib, diskMib } = host.free;
    const free = `${vcpus} vCPU, ${memoryMib} MiB, ${Math.floor(diskMib / mibPerGib)} GiB of disk free`;
    print(`  ${hostNameOf(run, host.hostId)}: ${host.open ? free : 'takes no new VMs'}`);
    if (host.actual.length > 0) print(`    slots: ${slotList(host.actual)}`);
    for (const { type, of } of host.potential)
      print(`    or 1 × ${type}${of.length === 0 ? ', of what is left' : `, instead of ${slotList(of)}`}`);
  }
};

const units: Readonly<Record<string, (value: number) => string>> = {
  vcpusMilli: (value) => `${value / 1000} vCPU`,
  memoryMib: (value) => `${value} MiB of memory`,
  diskMib: (value) => `${(value / mibPerGib).toFixed(1)} GiB of disk`,
  networkMbps: (value) => `${value} Mbit/s of network`,
};

type Verdict = Answer<'operator.explainCapacity'>['hosts'][number];

const reasonOf = (host: Verdict): string => {
  if (host.fits) return host.fitness < 1 ? 'has room, but did badly lately' : 'has room';
  const reasons = [
    ...(host.closed === undefined ? [] : [`takes no new VMs: it is ${host.closed}`]),
    ...(host.fitness <= 0 ? ['launches of this type failed there lately'] : []),
    ...(host.constraintDetail === undefined ? [] : [`${host.constraint}: ${host.constraintDetail}`]),
    ...host.lacks.map(({ dimension, free, asked }) => {
      const say = units[dimension] ?? String;
      return `has ${say(free)}, ${say(asked)} are asked for`;
    }),
  ];
  return reasons.join('; ');
};

/** `pando capacity explain --type T`. */
export async function explainCapacity(options: CapacityOptions & { readonly type: string }): Promise<void> {
  const params = {
    type: options.type,
    ...diskOf(options),
    ...(options.group === undefined ? {} : { groupId: options.group }),
    ...(options.partition === undefined ? {} : { partition: options.partition }),
    ...(options.account === undefined ? {} : { accountId: options.account }),
    ...(options.dedicated === undefined ? {} : { dedicated: options.dedicated }),
    ...(options.hosts === undefined ? {} : { hosts: options.hosts }),
  };
  const { run, answers } = await ofEachCell(options, (cell) =>
    cell.call('operator.explainCapacity', params, { timeoutMs: answerTimeoutMs }),
  );
  if (options.json) return print(JSON.stringify({ cells: answers.map(({ answer }) => answer) }, null, 2));
  for (const { cell, answer } of answers) {
    const { vcpus, memoryMib, diskMib } = answer.asked;
    print(
      `${cell}: ${answer.type} (${vcpus} vCPU, ${memoryMib} MiB, ${Math.floor(diskMib / mibPerGib)} GiB of disk)`,
    );
    print(
      answer.fitting > 0
        ? `  fits on ${answer.fitting} host${answer.fitting === 1 ? '' : 's'}`
        : '  fits nowhere; the hosts that are nearest to it:',
    );
    if (answer.hosts.length === 0) print('  this cell has no hosts');
    else print(table(answer.hosts.map((host) => [`  ${hostNameOf(run, host.hostId)}`, reasonOf(host)])));
  }
}

/** `pando capacity check`. */
export async function checkCapacity(options: CapacityOptions): Promise<void> {
  const { run, answers } = await ofEachCell(options, (cell) =>
    cell.call('operator.checkClaims', {}, { timeoutMs: answerTimeoutMs }),
  );
  if (options.json) print(JSON.stringify({ cells: answers.map(({ answer }) => answer) }, null, 2));
  else for (const { cell, answer } of answers) printCheck(run, cell, answer);
  if (answers.some(({ answer }) => answer.misfits.length > 0)) process.exitCode = 1;
}

const misfitWords: Readonly<Record<string, string>> = {
  'no-instance':
    'is claimed for and has no record: pando vm list --quarantined shows whether its VM is there',
  'not-claimed': 'has a place and no claim: what it uses may be promised to another',
  elsewhere: 'is claimed for on another host than its record says',
  'beyond-capacity': 'has promised more than it has: move VMs away with pando migrate',
};

const printCheck = (run: RunRecord, cell: string, answer: Answer<'operator.checkClaims'>): void => {
  const { claims, drifts, misfits } = answer;
  const well = drifts.length === 0 && misfits.length === 0;
  print(`${cell}: ${claims} claims${well ? ', all of them as counters and instances say' : ''}`);
  for (const { hostId, counted, claimed } of drifts)
    print(
      `  ${hostNameOf(run, hostId)}: counters said ${counted.join(', ')}, claims are ${claimed.join(', ')}: put right`,
    );
  for (const { kind, subject, hostId } of misfits)
    print(`  ✘ ${subject} (${hostNameOf(run, hostId)}) ${misfitWords[kind] ?? kind}`);
};
