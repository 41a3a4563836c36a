/** The operator's calls to the cells of the region of this machine. */
import { loadTls } from '#base/config.ts';
import type { TlsMaterial } from '#base/identity.ts';
import { RpcClient } from '#base/rpc/client.ts';
import type { Caller } from '#base/rpc/contract.ts';
import { cellOperatorContract } from '#contracts/cell-operator.ts';
import { cellNumberOf, type InstanceId, isId } from '#contracts/ids.ts';
import { type LabPlan, type PlannedCell, planLab } from '#lab/plan.ts';
import { processorName, processorPort, processorsPerCell, regionPort } from '#lab/processes.ts';
import type { RunRecord } from '#lab/runRecord.ts';
import { identityOf, PkiFiles } from '#node/pkiFiles.ts';
import { UserError } from './output.ts';
import type { Region } from './region.ts';

export type CellCaller = Caller<typeof cellOperatorContract>;

const connectTimeoutMs = 2_000;
const loopback = '127.0.0.1';

export const planOf = (run: RunRecord): LabPlan => planLab(run);

/**
 * The TLS material with which the command line speaks to processes. Only the supervisor and `up` renew files; this makes the
 * operator's own where there is none yet.
 */
export async function operatorTls({
  directory,
  run,
}: Pick<Region, 'directory' | 'run'>): Promise<TlsMaterial> {
  const pki = await PkiFiles.open(directory.pki, planOf(run).prefix);
  return loadTls(await pki.issue('operator', 'cli'));
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where the operator reaches the region's service. */
export const regionAddress = (run: RunRecord): Address =>
  run.simulated === undefined
    ? { host: planOf(run).management, port: regionPort }
    : { host: loopback, port: run.simulated.ports?.region ?? 0 };

const processorsOf = (
  run: RunRecord,
  plan: LabPlan,
  cell: PlannedCell,
): readonly (Address & { readonly name: string })[] => {
  if (run.simulated !== undefined)
    return [
      {
        name: processorName(cell, 1),
        host: loopback,
        port: run.simulated.ports?.cells[cell.number - 1] ?? 0,
      },
    ];
  return Array.from({ length: processorsPerCell }, (_, at) => ({
    name: processorName(cell, at + 1),
    host: plan.management,
    port: processorPort(cell, at + 1),
  }));
};

/** Calls one of a cell's processors, the first that is reached. Throws a `UserError` when none can be. */
export async function withCell<T>(
  region: Pick<Region, 'directory' | 'run'>,
  number: number,
  work: (cell: CellCaller) => Promise<T>,
): Promise<T> {
  const plan = planOf(region.run);
  const cell = plan.cells.find((each) => each.number === number);
  if (cell === undefined) throw new UserError(`There is no cell ${number} in this region.`);
  const tls = await operatorTls(region);
  const clients = processorsOf(region.run, plan, cell).map(
    ({ host, port, name }) =>
      new RpcClient({
        ...{ tls, host, port },
        expect: identityOf('cell', { cell: cell.name, name }),
        remote: cellOperatorContract,
        contract: {},
        handlers: {},
      }),
  );
  try {
    const reached = await Promise.any(
      clients.map((client) => client.ready(connectTimeoutMs).then(() => client)),
    ).catch(() => undefined);
    if (reached === undefined)
      throw new UserError(
        `No processor of ${cell.name} answers. pando logs ${processorName(cell, 1)} shows why; pando up brings it back.`,
      );
    return await work(reached);
  } finally {
    for (const client of clients) client.close();
  }
}

/** The instance that a user means; its cell by the id. Throws a `UserError` for what is no id, or of no cell of this region. */
export function instanceOf(run: RunRecord, text: string): { id: InstanceId; cell: number } {
  if (!isId('instance', text))
    throw new UserError(
      `${text} is no instance's id: those look like i-0010123456789abcd. pando status shows them.`,
    );
  const cell = cellNumberOf(text);
  if (!planOf(run).cells.some(({ number }) => number === cell))
    throw new UserError(`There is no instance ${text} in this region. pando status shows those there are.`);
  return { id: text, cell };
}

/** The host id that a user means by `h-…`, `host-2` or `2`. */
export function hostIdOf(run: RunRecord, text: string): string {
  const host = planOf(run).hosts.find((each) => [each.hostId, each.name, String(each.number)].includes(text));
  if (host === undefined)
    throw new UserError(
      `There is no host ${text}. There are: ${planOf(run)
        .hosts.map((each) => each.name)
        .join(' ')}`,
    );
  return host.hostId;
}

/** The short name of a host for people. */
export const hostNameOf = (run: RunRecord, hostId: string | undefined): string =>
  planOf(run).hosts.find((each) => each.hostId === hostId)?.name ?? hostId ?? '-';
