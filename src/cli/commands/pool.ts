/** `pando pool …`: which hosts are cut for which instance type. */
import { PandoError } from '#contracts/errors.ts';
import { hostIdOf, hostNameOf, planOf, withCell } from '../operator.ts';
import { print, table, UserError } from '../output.ts';
import { openRun } from '../region.ts';

export interface SetOptions {
  readonly dir: string;
  readonly type: string;
  readonly low: number;
  readonly target: number;
  readonly only?: readonly string[];
  readonly class?: string;
  readonly vcpusOver?: number;
  readonly memoryOver?: number;
  readonly hosts?: readonly string[];
  readonly cell?: number;
}

/** `pando pool list`. */
export async function listPools(options: { dir: string; json: boolean }): Promise<void> {
  const region = openRun(options);
  const { run } = region;
  const cells = await Promise.all(
    planOf(run).cells.map(({ number }) =>
      withCell(region, number, (cell) => cell.call('operator.pools', {})),
    ),
  );
  if (options.json) return print(JSON.stringify({ cells }, null, 2));
  const rows = cells.flatMap(({ cellId, pools }) =>
    pools.map((pool) => [
      ...[pool.name, pool.slotType, String(pool.low), String(pool.target), `${pool.have} of ${pool.want}`],
      ...[pool.hosts.map((hostId) => hostNameOf(run, hostId)).join(' '), cellId, pool.unmet ?? ''],
    ]),
  );
  if (rows.length === 0)
    return print('There is no pool: every host gives slots of every type. pando pool set --help makes one.');
  print(table([['POOL', 'FOR', 'LOW', 'TARGET', 'HAS', 'HOSTS', 'CELL', ''], ...rows]));
  for (const { changes } of cells)
    for (const { hostId, from, to, why } of changes)
      print(`next: ${hostNameOf(run, hostId)} from ${from ?? 'no pool'} to ${to} (${why})`);
}

/** `pando pool set NAME`. Hosts that are named join it in their own cell. */
export async function setPool(name: string, options: SetOptions): Promise<void> {
  const region = openRun(options);
  const { run } = region;
  const { cells, hosts } = planOf(run);
  const ids = (options.hosts ?? []).map((each) => hostIdOf(run, each));
  const layout = {
    ...(options.only === undefined ? {} : { types: [...options.only] }),
    ...(options.vcpusOver === undefined ? {} : { vcpuOversubscription: options.vcpusOver }),
    ...(options.memoryOver === undefined ? {} : { memoryOversubscription: options.memoryOver }),
  };
  for (const { number } of cells.filter(
    (cell) => options.cell === undefined || cell.number === options.cell,
  )) {
    const own = ids.filter((id) => hosts.find(({ hostId }) => hostId === id)?.cell === number);
    await withCell(region, number, (cell) =>
      cell.call('operator.setPool', {
        ...{ name, slotType: options.type, low: options.low, target: options.target, layout },
        ...(options.class === undefined ? {} : { hostClass: options.class }),
        ...(own.length === 0 ? {} : { hosts: own }),
      }),
    );
  }
  print(
    `Pool ${name} is for ${options.type}: ${options.low} hosts at least, ${options.target} wanted. pando pool list shows it.`,
  );
}

/** `pando pool drop NAME`, in every cell that has it. */
export async function dropPool(name: string, options: { dir: string }): Promise<void> {
  const region = openRun(options);
  const dropped = await Promise.all(
    planOf(region.run).cells.map(({ number }) =>
      withCell(region, number, (cell) => cell.call('operator.dropPool', { name })).then(
        () => true,
        (error: unknown) => {
          if (PandoError.from(error).code === 'NotFound') return false;
          throw error;
        },
      ),
    ),
  );
  if (!dropped.includes(true))
    throw new UserError(`There is no pool ${name}. pando pool list shows those there are.`);
  print(`Pool ${name} is no more; its hosts are of none.`);
}
