/** The registry of cells and the gateway: who may be sent requests, and who is told network state. */
import { sql } from 'kysely';
import { transact, violatedConstraint } from '#base/postgres/transaction.ts';
import type { cardContract } from '#contracts/card.ts';
import { PandoError } from '#contracts/errors.ts';
import type { CellRecord, cellPushContract } from '#contracts/region.ts';
import { CellDevice, type PushStream } from './devices.ts';
import type { Region } from './region.ts';
import type { Database } from './schema.ts';

/** Records a cell and takes the processor's stream as a way to tell it network state. */
export const joinCell = async (
  region: Region,
  record: CellRecord,
  stream: PushStream<typeof cellPushContract>,
): Promise<void> => {
  const { cellId: cell_id, number, zone, processors, takes } = record;
  if (!region.config.zones.some((one) => one.name === zone))
    throw new PandoError('InvalidParameterValue', `The region has no zone ${zone}.`);
  const row = { number, zone, state: record.state, processors, takes: takes ? JSON.stringify(takes) : null };
  const stored = await region.db
    .insertInto('cell')
    .values({ cell_id, drained_at: null, retired_at: null, ...row })
    // A cell's number is in its ids for ever: a cell that comes back under another is refused, and one that was retired as well.
    .onConflict((conflict) =>
      conflict
        .column('cell_id')
        .doUpdateSet({
          ...{ zone, processors, takes: row.takes },
          // An operator has drained it: its processors do not know, and need not.
          state: sql`case when cell.drained_at is not null then 'draining' else ${record.state} end`,
        })
        .where('cell.number', '=', number)
        .where('cell.retired_at', 'is', null),
    )
    .returning('cell_id')
    .executeTakeFirst()
    .catch((error: unknown) => {
      if (violatedConstraint(error) !== undefined) return undefined;
      throw error;
    });
  if (stored === undefined)
    throw new PandoError(
      'Conflict',
      `Cell ${cell_id} or cell number ${number} is registered otherwise, or was retired.`,
    );
  const device = cellDevice(region, cell_id, number);
  // The first processor to come back may find that the cell's hosts have missed something.
  if (device.connected === 0) region.pusher.forget(device);
  if (stream.closed) return;
  device.join(stream);
  void region.replicas.say();
  region.reconciler.wake();
};

type Registry = Pick<Region, 'cells' | 'vpcParts' | 'vpcVersions' | 'pusher' | 'relay'>;

const cellDevice = (region: Registry, cellId: string, number: number): CellDevice => {
  const known = region.cells.get(cellId);
  if (known !== undefined) return known;
  const device = new CellDevice(cellId, number, region.vpcParts, region.relay, region.vpcVersions);
  region.cells.set(cellId, device);
  region.pusher.add(device);
  return device;
};

/** Cells that are registered, by whichever process of the region they joined. */
export const knowCells = async (db: Database, region: Registry): Promise<void> => {
  const cells = db.selectFrom('cell').select(['cell_id', 'number']).where('retired_at', 'is', null);
  for (const { cell_id, number } of await cells.execute()) cellDevice(region, cell_id, number);
};

/** Forgets a stream that ended. */
export const leave = (
  region: Region,
  stream: PushStream<typeof cellPushContract & typeof cardContract>,
): void => {
  for (const cell of region.cells.values()) cell.leave(stream);
  region.gateway.leave(stream);
  void region.replicas.say();
};

/**
 * Every cell that has ever joined and was not retired, whether or not it is connected: a cell that is away still owns its instances and
 * the client tokens that it took. A router that was told of fewer would say that instances do not exist, and launch again elsewhere.
 */
export const listCells = async (region: Region): Promise<CellRecord[]> => {
  const rows = await region.db
    .selectFrom('cell')
    .selectAll()
    .where('retired_at', 'is', null)
    .orderBy('number')
    .execute();
  return rows.map(({ cell_id: cellId, number, zone, state, processors, takes, canary }) => ({
    ...{ cellId, number, zone, state, processors },
    ...(takes === null ? {} : { takes }),
    ...(canary ? { canary } : {}),
  }));
};

/** Zones in which a cell takes launches, in the order of the configuration. */
export const zonesWithCells = async (region: Region): Promise<{ name: string; id: string }[]> => {
  const cells = await region.db.selectFrom('cell').select('zone').where('state', '=', 'active').execute();
  return region.config.zones
    .filter(({ name }) => cells.some(({ zone }) => zone === name))
    .map(({ name, id }) => ({ name, id }));
};

/** Records where the gateway is; VPCs with an internet gateway change with it. */
export const joinGateway = async (
  region: Region,
  place: { readonly vtep: string; readonly mac: string },
  stream: PushStream<typeof cardContract>,
): Promise<void> => {
  await transact(region.db, async (tx) => {
    const { rows } = await sql`
      insert into gateway_device (vtep, mac) values (${place.vtep}, ${place.mac})
      on conflict (singleton) do update set vtep = excluded.vtep, mac = excluded.mac
      where (gateway_device.vtep, gateway_device.mac) is distinct from (excluded.vtep, excluded.mac)
      returning 1`.execute(tx);
    if (rows.length === 0) return;
    await sql`
      update vpc set version = version + 1
      where vpc_id in (
        select v.vpc_id from vpc v join internet_gateway g using (vpc_id) order by v.vpc_id for update of v)`.execute(
      tx,
    );
  });
  region.pusher.forget(region.gateway);
  // Not awaited: the gateway answers only after it has our answer to its hello.
  region.gateway
    .join(stream)
    .then((vpcIds) => region.pusher.assume(region.gateway, vpcIds))
    .catch((err: unknown) => region.log.warn({ err }, 'the gateway did not say what it has'))
    .finally(() => {
      void region.replicas.say();
      region.reconciler.wake();
    });
};
