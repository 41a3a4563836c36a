/**
 * Compares interfaces with the instances that they were made for, a bounded number at a time. Only the word of the instance's own cell
 * counts: one that says under its own name that the instance has ended has its interface released. A cell that is silent, or does not
 * know the instance (its store may have lost it), proves nothing: the interface stays, and an operator is told.
 */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import { tombstoneKeptMs } from '#contracts/fences.ts';
import { cellNumberOf } from '#contracts/ids.ts';
import { fatesPerCallMax, type InstanceFate } from '#contracts/region.ts';
import { sweepClientTokens } from './client-tokens.ts';
import type { CellDevice } from './devices.ts';
import { releaseInterface } from './interfaces.ts';
import { sweepLaunchTokens } from './launch-tokens.ts';
import type { Region } from './region.ts';
import { sweepVpcChanges } from './vpc-changes/list.ts';

export const interfacesPerSweepMax = fatesPerCallMax;
/** However many a cell names at once: a mistake shows before it has cost much. */
export const releasesPerSweepMax = 20;
const orphansToldMax = 10_000;

type Swept = Pick<Region, 'config' | 'db' | 'log' | 'pusher' | 'cells'>;

/** One pass. `told`: instances of which the operator has been told already. Returns where the next pass begins. */
const sweep = async (
  region: Swept,
  after: string,
  told: Set<string>,
): Promise<{ readonly next: string; readonly released: number }> => {
  const { rows } = await sql<{ eni_id: string; instance_id: string }>`
    select eni_id, instance_id from eni where eni_id > ${after}
      and created_at < now() - ${region.config.sweepGraceMs} * interval '1 millisecond'
    order by eni_id limit ${interfacesPerSweepMax}`.execute(region.db);
  let released = 0;
  for (const [cell, instanceIds] of byCell(region, rows)) {
    const fates = await fatesFrom(region, cell, instanceIds);
    for (const { instanceId, fate } of fates) {
      if (fate === 'unknown') tell(region, told, cell, instanceId);
      if (fate !== 'ended' || released >= releasesPerSweepMax) continue;
      released++;
      region.log.warn(
        { instance: instanceId, cell: cell.cellId },
        'an instance has ended and its interface was left: it is released',
      );
      await releaseInterface(region, instanceId);
    }
  }
  await sql`delete from released_instance where released_at < now() - ${tombstoneKeptMs} * interval '1 millisecond'`.execute(
    region.db,
  );
  await sweepClientTokens(region.db);
  await sweepLaunchTokens(region.db);
  await sweepVpcChanges(region.db);
  const last = rows.length < interfacesPerSweepMax ? undefined : rows.at(-1);
  return { next: last?.eni_id ?? '', released };
};

const byCell = (
  region: Swept,
  rows: readonly { readonly instance_id: string }[],
): Map<CellDevice, string[]> => {
  const cells = new Map([...region.cells.values()].map((cell) => [cell.number, cell]));
  const wanted = new Map<CellDevice, string[]>();
  for (const { instance_id: id } of rows) {
    const cell = cells.get(cellNumberOf(id));
    if (cell !== undefined && cell.connected > 0) wanted.set(cell, [...(wanted.get(cell) ?? []), id]);
  }
  return wanted;
};

/** What the cell says of its instances; nothing when it does not answer, or answers under another name. */
const fatesFrom = async (
  region: Swept,
  cell: CellDevice,
  instanceIds: readonly string[],
): Promise<readonly { readonly instanceId: string; readonly fate: InstanceFate }[]> => {
  try {
    const answer = await cell.instances(instanceIds);
    if (answer.cellId !== cell.cellId)
      throw new PandoError('Conflict', `${cell.name} answers as ${answer.cellId}.`);
    const asked = new Set(instanceIds);
    return answer.instances.filter(({ instanceId }) => asked.has(instanceId));
  } catch (err) {
    region.log.warn({ err, cell: cell.cellId }, 'a cell did not say what became of its instances');
    return [];
  }
};

const tell = (region: Swept, told: Set<string>, cell: CellDevice, instanceId: string): void => {
  if (told.has(instanceId) || told.size >= orphansToldMax) return;
  told.add(instanceId);
  region.log.error(
    { instance: instanceId, cell: cell.cellId },
    'an interface belongs to an instance that its cell does not know: it is kept until an operator decides',
  );
};

export class InterfaceSweeper {
  readonly #region: Swept;
  readonly #timer: NodeJS.Timeout;
  readonly #told = new Set<string>();
  #after = '';
  #running: Promise<unknown> = Promise.resolve();

  constructor(region: Swept) {
    this.#region = region;
    this.#timer = setInterval(() => {
      this.turn().catch((err: unknown) => region.log.warn({ err }, 'interfaces were not compared'));
    }, region.config.sweepEveryMs);
    this.#timer.unref();
  }

  /** Instances unknown to their cells whose interfaces are kept. */
  get kept(): ReadonlySet<string> {
    return this.#told;
  }

  /** One pass, after the one that runs. Resolves with how many interfaces it released. */
  turn(): Promise<number> {
    const turn = this.#running.then(async () => {
      const { next, released } = await sweep(this.#region, this.#after, this.#told);
      this.#after = next;
      return released;
    });
    this.#running = turn.catch(() => undefined);
    return turn;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }
}
