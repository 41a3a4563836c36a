/** The operator's calls to the cells of the region of this machine. */
import { readFileSync } from 'node:fs';
import { RpcClient } from '#base/rpc/client.ts';
import type { Caller } from '#base/rpc/contract.ts';
import { cellOperatorContract } from '#contracts/cell-operator.ts';
import { identityOf, PkiFiles } from '#lab/pkiFiles.ts';
import { type LabPlan, planLab } from '#lab/plan.ts';
import { processorName, processorPort, processorsPerCell } from '#lab/processes.ts';
import type { RunRecord } from '#lab/runRecord.ts';
import { UserError } from './output.ts';
import type { Region } from './region.ts';

export type CellCaller = Caller<typeof cellOperatorContract>;

const connectTimeoutMs = 3_000;

export const planOf = (run: RunRecord): LabPlan =>
  planLab({ index: run.index, cells: run.cells, hostsPerCell: run.hostsPerCell });

/** Calls one of a cell's processors, the first that can be reached. Throws a `UserError` when none can. */
export async function withCell<T>(
  region: Pick<Region, 'directory' | 'run'>,
  number: number,
  work: (cell: CellCaller) => Promise<T>,
): Promise<T> {
  const plan = planOf(region.run);
  const cell = plan.cells.find((each) => each.number === number);
  if (cell === undefined) throw new UserError(`There is no cell ${number} in this region.`);
  const pki = await PkiFiles.open(region.directory.pki, plan.prefix);
  const files = await pki.issue('operator', 'cli');
  const read = (path: string): string => readFileSync(path, 'utf8');
  const tls = { ca: read(files.ca), cert: read(files.cert), key: read(files.key) };
  for (let replica = 1; replica <= processorsPerCell; replica++) {
    const client = new RpcClient({
      tls,
      host: plan.management,
      port: processorPort(cell, replica),
      expect: identityOf('cell', processorName(cell, replica)),
      remote: cellOperatorContract,
      contract: {},
      handlers: {},
    });
    try {
      await client.ready(connectTimeoutMs).catch(() => undefined);
      if (client.connected) return await work(client);
    } finally {
      client.close();
    }
  }
  throw new UserError(
    `No processor of ${cell.name} answers. See: pando status, pando logs ${processorName(cell, 1)}`,
  );
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
