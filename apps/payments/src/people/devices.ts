/** Devices and what they sign: the signature, the clock, and that each message comes once (replay protection, S9.5). */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { clockSkewSMax, devicesMax, messageAgeSMax } from '../contract/limits.ts';
import type { Device } from '../contract/people.ts';
import type { DeviceId } from '../contract/primitives.ts';
import type { PublicKeyJwk } from '../contract/signing.ts';
import { type Queryable, run } from '../store/pool.ts';
import { constraintOf } from '../store/transaction.ts';

/** Nonces are kept for longer than any message that could bear them is accepted. */
export const nonceKeptMs = 2 * (messageAgeSMax + clockSkewSMax) * 1000;

interface DeviceRow {
  device_id: DeviceId;
  person_id: string;
  name: string;
  public_key: PublicKeyJwk;
  phone_number: string | null;
  added_ms: bigint;
  last_report_ms: bigint;
  suspect_until_ms: bigint;
}

export interface KnownDevice {
  readonly deviceId: DeviceId;
  readonly personId: string;
  readonly phoneNumber: string | null;
  readonly lastReportMs: number;
  readonly suspectUntilMs: number;
  readonly publicKey: PublicKeyJwk;
}

/** What a device is for good: all that a request may know of it that has not waited for the look at the store. */
export type Signer = Pick<KnownDevice, 'deviceId' | 'personId'>;

const viewOf = (row: DeviceRow): Device => ({
  deviceId: row.device_id,
  name: row.name,
  addedAt: Number(row.added_ms),
  ...(row.last_report_ms > 0n && { lastReportAt: Number(row.last_report_ms) }),
});

/** Errors: `invalid_request` (no point of the curve), `limit_reached`, `state_conflict` (the key is registered). */
export async function addDevice(
  unit: Unit,
  personId: string,
  device: { readonly name: string; readonly publicKey: PublicKeyJwk; readonly phoneNumber?: string },
): Promise<Device> {
  keyOf(device.publicKey);
  // The person's row is locked, so that two at once do not both take the last place.
  await run(unit.on, 'select 1 from person where person_id = $1 for update', [personId]);
  const [count] = await run<{ n: bigint }>(
    unit.on,
    'select count(*) n from device where person_id = $1 and removed_ms is null',
    [personId],
  );
  if ((count?.n ?? 0n) >= BigInt(devicesMax))
    throw new PaymentsError('limit_reached', `A person has at most ${devicesMax} devices. Remove one first.`);
  const deviceId = newId('dev', unit.nowMs);
  try {
    const [row] = await run<DeviceRow>(
      unit.on,
      `insert into device (device_id, person_id, name, public_key, phone_number, added_ms)
       values ($1, $2, $3, $4, $5, $6) returning *`,
      [
        deviceId,
        personId,
        device.name,
        JSON.stringify(device.publicKey),
        device.phoneNumber ?? null,
        unit.nowMs,
      ],
    );
    if (row === undefined) throw new Error('no device was added');
    return viewOf(row);
  } catch (error) {
    if (!constraintOf(error).startsWith('device_')) throw error;
    throw new PaymentsError('state_conflict', 'That key is registered already. Make a new one.', {
      cause: error,
    });
  }
}

export async function devicesOf(on: Queryable, personId: string): Promise<Device[]> {
  const rows = await run<DeviceRow>(
    on,
    'select * from device where person_id = $1 and removed_ms is null order by device_id',
    [personId],
  );
  return rows.map(viewOf);
}

/** The row stays, so that its key never works for anybody again. */
export async function removeDevice(unit: Unit, personId: string, deviceId: string): Promise<void> {
  const rows = await run(
    unit.on,
    'update device set removed_ms = $3 where device_id = $1 and person_id = $2 and removed_ms is null returning 1',
    [deviceId, personId, unit.nowMs],
  );
  if (rows.length === 0) throw new PaymentsError('not_found', 'You have no such device.');
}

function keyOf(jwk: PublicKeyJwk): KeyObject {
  try {
    return createPublicKey({ key: { ...jwk }, format: 'jwk' });
  } catch (error) {
    throw new PaymentsError('invalid_request', 'The public key is not a point of P-256.', { cause: error });
  }
}

export interface SignedMessage {
  readonly payload: { readonly deviceId: string; readonly nonce: string; readonly at: number };
  readonly signature: string;
}

/** What is kept of a device, as far as a signature of its is concerned. */
export type SignerRow = Pick<
  DeviceRow,
  'device_id' | 'public_key' | 'phone_number' | 'last_report_ms' | 'suspect_until_ms'
>;

/**
 * The device that signed the bytes; `row` is the one that the message names, as far as it is the person's own. Errors:
 * `device_not_yours` (also for one that does not exist or was removed), `signature_invalid`. Says nothing about freshness.
 */
export function signerOf(
  personId: string,
  row: SignerRow | undefined,
  bytes: Uint8Array,
  signature: string,
): KnownDevice {
  if (row === undefined)
    throw new PaymentsError('device_not_yours', 'The message names a device that is not registered to you.');
  const genuine = verify(
    'sha256',
    bytes,
    { key: keptKeyOf(row.public_key), dsaEncoding: 'ieee-p1363' },
    Buffer.from(signature, 'base64url'),
  );
  if (!genuine)
    throw new PaymentsError(
      'signature_invalid',
      'The signature is not the device’s over exactly this message.',
    );
  return {
    deviceId: row.device_id,
    personId,
    phoneNumber: row.phone_number,
    lastReportMs: Number(row.last_report_ms),
    suspectUntilMs: Number(row.suspect_until_ms),
    publicKey: row.public_key,
  };
}

/** Keys by their point: what a key is never changes, so it is not made again for each message. Whose it is comes from the store. */
const keptKeys = new Map<string, KeyObject>();
const keptKeysMax = 10_000;

function keptKeyOf(jwk: PublicKeyJwk): KeyObject {
  const name = `${jwk.x}.${jwk.y}`;
  const kept = keptKeys.get(name) ?? keyOf(jwk);
  // Deleted and set again: the map's order is by last use, so that the first entry is the one to forget.
  keptKeys.delete(name);
  if (keptKeys.size >= keptKeysMax) keptKeys.delete(keptKeys.keys().next().value ?? '');
  return keptKeys.set(name, kept) && kept;
}

/** Refuses what is from the future, too old, or was taken before. Records the nonce in the caller's transaction. */
export async function takeOnce(unit: Unit, message: SignedMessage): Promise<void> {
  const { deviceId, nonce, at } = message.payload;
  checkTime(at, unit.nowMs);
  const rows = await run(
    unit.on,
    'insert into nonce (device_id, nonce, at_ms) values ($1, $2, $3) on conflict do nothing returning 1',
    [deviceId, nonce, unit.nowMs],
  );
  if (rows.length === 0) throw replayed();
}

export const replayed = (): PaymentsError =>
  new PaymentsError('message_replayed', 'A message with this nonce was taken before. Sign a new one.');

export function checkTime(atMs: number, nowMs: number): void {
  if (atMs > nowMs + clockSkewSMax * 1000)
    throw new PaymentsError(
      'message_from_future',
      `The message is dated ${Math.round((atMs - nowMs) / 1000)} s ahead. Set the device’s clock by the network.`,
    );
  if (atMs < nowMs - messageAgeSMax * 1000)
    throw new PaymentsError(
      'message_too_old',
      `The message is ${Math.round((nowMs - atMs) / 1000)} s old. Sign a new one; is the device’s clock right?`,
    );
}
