/** Ids: a prefix that names the kind and a ULID in lower case, so that ids of one kind sort by time. */
import { randomBytes } from 'node:crypto';

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const timeChars = 10;
const randomChars = 16;

/** `newId('pay', now)` → `pay_01k…`; `nowMs` is the injected clock's. */
export function newId<Prefix extends string>(prefix: Prefix, nowMs: number): `${Prefix}_${string}` {
  let time = '';
  for (let rest = nowMs, at = 0; at < timeChars; at += 1, rest = Math.floor(rest / 32))
    time = (alphabet[rest % 32] ?? '') + time;
  let random = '';
  for (const byte of randomBytes(randomChars)) random += alphabet[byte % 32] ?? '';
  return `${prefix}_${time}${random}`;
}
