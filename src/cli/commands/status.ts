import { PandoError } from '#contracts/errors.ts';
import { endpointOf } from '#lab/runRecord.ts';
import { askSupervisor } from '#node/control.ts';
import type { SupervisedStatus } from '#node/supervised.ts';
import { hostNameOf, planOf, withCell } from '../operator.ts';
import { paint, print, table } from '../output.ts';
import { openRegion, openRun, type Region } from '../region.ts';
import { simulatedStatus } from '../simulated/status.ts';
import { itemsAt, textAt } from '../xmlTree.ts';
import { type QuarantinedVm, quarantinedOf, quarantineTable } from './vm.ts';

type Run = Pick<Region, 'directory' | 'run'>;

/** A part that is away must not keep the others from being shown. */
const answerTimeoutMs = 3_000;
const impatient = { timeoutMs: answerTimeoutMs, unavailableMs: 0 };

interface CellStatus {
  readonly cell: string;
  /** Absent when the cell does not answer. */
  readonly hosts?: readonly {
    readonly hostId: string;
    readonly name: string;
    readonly connected: boolean;
    readonly card: string;
    readonly vcpus: string;
    readonly memoryMib: string;
  }[];
  readonly instances?: readonly {
    readonly instanceId: string;
    readonly state: string;
    readonly host: string;
    readonly type: string;
  }[];
  /** VMs that no record accounts for. */
  readonly quarantined?: readonly QuarantinedVm[];
  readonly error?: string;
}

/** `pando status`: what runs, of what the region is made. */
export async function status(options: { dir: string; json: boolean }): Promise<void> {
  const region = openRun(options);
  if (region.run.simulated !== undefined) return simulatedStatus(region, options.json);
  const endpoint = endpointOf(region.run);
  const user = region.run.account === undefined ? undefined : openRegion(options);
  const [processes, cells, addresses] = await Promise.all([
    processesOf(region),
    cellsOf(region),
    user === undefined ? {} : addressesOf(user),
  ]);
  if (options.json) {
    print(JSON.stringify({ endpoint, region: region.run.regionName, processes, cells, addresses }, null, 2));
    return;
  }
  print(`${paint('bold', region.run.regionName)}  ${endpoint}  ${region.directory.root}`);
  print(
    processes === undefined
      ? 'No supervisor looks after its processes: pando up brings everything back that is away.'
      : processTable(processes),
  );
  for (const cell of cells) printCell(cell, addresses);
}

const processesOf = ({ directory }: Run): Promise<SupervisedStatus[] | undefined> =>
  askSupervisor(directory.controlSocket, { op: 'status' }, answerTimeoutMs).catch(() => undefined);

const cellsOf = (region: Run): Promise<CellStatus[]> =>
  Promise.all(
    planOf(region.run).cells.map(async ({ name, number }): Promise<CellStatus> => {
      try {
        return await withCell(region, number, async (cell) => {
          const [{ hosts }, { instances }, quarantined] = await Promise.all([
            cell.call('operator.hosts', {}, { timeoutMs: answerTimeoutMs }),
            cell.call('operator.instances', {}, { timeoutMs: answerTimeoutMs }),
            quarantinedOf(region.run, name, cell),
          ]);
          return {
            cell: name,
            hosts: hosts.map(({ hostId, connected, card, used, capacity }) => ({
              hostId,
              name: hostNameOf(region.run, hostId),
              connected,
              card,
              vcpus: `${used.vcpus}/${capacity.vcpus}`,
              memoryMib: `${used.memoryMib}/${capacity.memoryMib}`,
            })),
            instances: instances.map(({ instanceId, state, hostId, instanceType }) => ({
              instanceId,
              state,
              host: hostNameOf(region.run, hostId),
              type: instanceType,
            })),
            quarantined,
          };
        });
      } catch (error) {
        return { cell: name, error: whyAway(error) };
      }
    }),
  );

/** A cell that is reached but cannot answer has lost its store. */
const whyAway = (error: unknown): string =>
  error instanceof PandoError && (error.code === 'InternalError' || error.code === 'DeadlineExceeded')
    ? 'Its processors are reached but do not answer: its store may be away. pando up brings it back.'
    : error instanceof Error
      ? error.message
      : String(error);

/** Public addresses by instance, as the API tells them; empty when it does not answer. */
async function addressesOf({ ec2 }: Region): Promise<Record<string, string>> {
  const answer = await ec2.call('DescribeInstances', {}, impatient).catch(() => undefined);
  const instances =
    answer === undefined
      ? []
      : itemsAt(answer, 'reservationSet').flatMap((each) => itemsAt(each, 'instancesSet'));
  return Object.fromEntries(instances.map((each) => [textAt(each, 'instanceId'), textAt(each, 'ipAddress')]));
}

const marks = { ready: '✔', starting: '…', waiting: '✘', stopped: '✘' } as const satisfies Record<
  SupervisedStatus['state'],
  string
>;

const units = [
  { name: 'd', ms: 86_400_000 },
  { name: 'h', ms: 3_600_000 },
  { name: 'min', ms: 60_000 },
  { name: 's', ms: 1_000 },
] as const;

/** How long ago, in the largest unit that fits. */
export function since(atMs: number, nowMs = Date.now()): string {
  const past = Math.max(0, nowMs - atMs);
  const unit = units.find(({ ms }) => past >= ms) ?? units[units.length - 1];
  return unit === undefined ? '' : `${Math.floor(past / unit.ms)} ${unit.name}`;
}

const processTable = (processes: readonly SupervisedStatus[]): string =>
  table(
    processes.map((each) => [
      `${marks[each.state]} ${each.name}`,
      each.pid === undefined ? '' : `pid ${each.pid}`,
      each.startedAtMs === undefined ? '' : `up ${since(each.startedAtMs)}`,
      each.restarts === 0 ? '' : `${each.restarts} restart${each.restarts === 1 ? '' : 's'}`,
      each.reason ?? '',
    ]),
  );

function printCell(
  { cell, hosts, instances, quarantined = [], error }: CellStatus,
  addresses: Readonly<Record<string, string>>,
): void {
  print(`\n${paint('bold', cell)}${error === undefined ? '' : `  ${error}`}`);
  if (hosts !== undefined)
    print(
      table(
        hosts.map((each) => [
          `${each.connected ? '✔' : '✘'} ${each.name}`,
          `card ${each.card}`,
          `vCPU ${each.vcpus}`,
          `MiB ${each.memoryMib}`,
          each.hostId,
        ]),
      ),
    );
  const living = (instances ?? []).filter((each) => each.state !== 'terminated');
  if (living.length > 0)
    print(
      table(
        living.map((each) => [
          `  ${each.instanceId}`,
          each.state,
          each.host,
          each.type,
          addresses[each.instanceId] ?? '',
        ]),
      ),
    );
  if (quarantined.length > 0)
    print(
      `${paint('bold', 'In quarantine')}: VMs that no record accounts for; they run on until you decide (pando vm --help)\n${quarantineTable(quarantined)}`,
    );
}
