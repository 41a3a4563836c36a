/** This browser as a device of a person: a key that cannot leave it. */
import { call } from './api.ts';
import type { BodyInput } from './contract.ts';
import { type DeviceKey, database } from './db.ts';

type PublicKey = BodyInput<'addDevice'>['publicKey'];

export const deviceOf = async (personId: string): Promise<DeviceKey | undefined> =>
  (await database()).get('keys', personId);

/** The person's key in this browser; made and registered on first use. Errors: `limit_reached`, no answer. */
export function ensureDevice(personId: string): Promise<DeviceKey> {
  // Two tabs must not register twice: one of the keys would overwrite the other.
  return navigator.locks.request(`device-${personId}`, async () => {
    const db = await database();
    const known = await db.get('keys', personId);
    // No question to the server: a payment is signed and kept where there is no network, too.
    if (known !== undefined) return known;
    const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, [
      'sign',
      'verify',
    ]);
    const { x = '', y = '' } = await crypto.subtle.exportKey('jwk', pair.publicKey);
    const publicKey: PublicKey = { kty: 'EC', crv: 'P-256', x, y };
    const { deviceId } = await call('addDevice', { name: deviceName(), publicKey });
    const made = { personId, deviceId, privateKey: pair.privateKey };
    await db.put('keys', made);
    return made;
  });
}

/** A key that the person removed elsewhere signs nothing any more: it is forgotten, and the next message makes another. */
export async function checkDevice(personId: string): Promise<void> {
  const known = await deviceOf(personId);
  if (known === undefined) return;
  const { devices } = await call('devices');
  if (devices.every((device) => device.deviceId !== known.deviceId))
    await (await database()).delete('keys', personId);
}

function deviceName(): string {
  const agent = navigator.userAgent;
  const system = ['iPhone', 'iPad', 'Android', 'Macintosh', 'Windows', 'Linux'].find((name) =>
    agent.includes(name),
  );
  return `Browser on ${system ?? 'a device'}`;
}
