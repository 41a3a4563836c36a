/** The region's devices (cards by way of their cells, the gateway), and the installation's objects that each is to have. */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import { cellNumberOf } from '#contracts/ids.ts';
import type { DeviceObjects, NetworkDevice, NetworkObject } from '#contracts/network-objects.ts';
import type { CellDevice } from './devices.ts';
import type { Region } from './region.ts';
import type { Database, RegionTransaction } from './schema.ts';

/** Devices that have an interface of some VPC now, or are to have an object of the installation's. */
export const listDevices = async (db: Database): Promise<string[]> => {
  const { rows } = await sql<{ device: string }>`
    select 'card/' || vtep as device from eni where vtep is not null
    union select 'gateway/' || vtep from gateway_device
    union select device from device_object where vpc_id is null order by device`.execute(db);
  return rows.map(({ device }) => device);
};

/** The device with this id. Its calls answer HostUnreachable while its cell, its host or it itself is away. */
export const networkDevice = (region: Region, deviceId: string): NetworkDevice => {
  const [kind, vtep = ''] = deviceId.split('/');
  if (kind === 'gateway') return region.gateway.device(deviceId);
  const any = async <T>(call: (device: NetworkDevice) => Promise<T>): Promise<T> => {
    let last: unknown = new PandoError(
      'HostUnreachable',
      `No cell that is connected has ${deviceId.slice(0, 80)}.`,
    );
    for (const cell of await likelyCells(region, vtep))
      try {
        return await call(cell.device(deviceId));
      } catch (error) {
        last = error;
        // Another cell may have it.
        if (PandoError.from(error).code !== 'NotFound') throw error;
        last = new PandoError('HostUnreachable', `${deviceId.slice(0, 80)} is in no cell that is connected.`);
      }
    throw last;
  };
  return {
    deviceId,
    objects: (vpcIds): Promise<DeviceObjects> => any((device) => device.objects(vpcIds)),
    transact: (transaction) => any((device) => device.transact(transaction)),
    confirm: async (transactionId) => {
      // Whether it is the transaction that is unknown or the card, another cell does not know it either.
      const [cell] = await likelyCells(region, vtep);
      if (cell === undefined) throw new PandoError('HostUnreachable', `${deviceId} is in no connected cell.`);
      await cell.device(deviceId).confirm(transactionId);
    },
  };
};

/** Connected cells, the one that has an interface on the card first. */
const likelyCells = async (region: Region, vtep: string): Promise<CellDevice[]> => {
  const placed = await region.db
    .selectFrom('eni')
    .select('instance_id')
    .where('vtep', '=', vtep)
    .limit(1)
    .executeTakeFirst();
  const number = placed?.instance_id == null ? undefined : cellNumberOf(placed.instance_id);
  const connected = [...region.cells.values()].filter((cell) => cell.connected > 0);
  return connected.sort((a, b) => Number(b.number === number) - Number(a.number === number));
};

/** A version of one of the installation's objects, for devices to be set to. Repeated: the same as once. */
export const saveFleetObject = async (tx: RegionTransaction, object: NetworkObject): Promise<void> => {
  const { kind, id, version, digest, body } = object;
  await tx
    .insertInto('network_object')
    .values({ kind, id, version, digest, vpc_id: null, body: JSON.stringify(body) })
    .onConflict((conflict) => conflict.columns(['kind', 'id', 'version']).doNothing())
    .execute();
};

/** What a device is to have of one of the installation's objects from now on; absent: it is to have none. */
export const setDesired = async (
  tx: RegionTransaction,
  device: string,
  object: Pick<NetworkObject, 'kind' | 'id'> & Partial<Pick<NetworkObject, 'version' | 'digest'>>,
): Promise<void> => {
  const { kind, id, version, digest } = object;
  if (version === undefined || digest === undefined)
    await tx
      .deleteFrom('device_object')
      .where('device', '=', device)
      .where('kind', '=', kind)
      .where('id', '=', id)
      .execute();
  else
    await tx
      .insertInto('device_object')
      .values({ device, kind, id, vpc_id: null, version, digest })
      .onConflict((conflict) => conflict.columns(['device', 'kind', 'id']).doUpdateSet({ version, digest }))
      .execute();
};

/** The installation's objects that a device is to have by now. */
export const desiredFleetObjects = async (db: Database, device: string): Promise<NetworkObject[]> => {
  const rows = await db
    .selectFrom('device_object as d')
    .innerJoin('network_object as o', (join) =>
      join.onRef('o.kind', '=', 'd.kind').onRef('o.id', '=', 'd.id').onRef('o.version', '=', 'd.version'),
    )
    .select(['o.kind', 'o.id', 'o.version', 'o.digest', 'o.body'])
    .where('d.device', '=', device)
    .where('d.vpc_id', 'is', null)
    .execute();
  return rows.map(({ kind, id, version, digest, body }) => ({ kind, id, version, digest, body }));
};
