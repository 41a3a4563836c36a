/** Ids: a prefix that names the kind and a ULID in lower case. Ids of one kind sort by time, and within a millisecond by order. */
import { randomBytes } from 'node:crypto';

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const timeChars = 10;
const countChars = 4;
const randomChars = 12;

const last = { ms: 0, count: 0 };
/** Drawn many at a time: each draw asks the kernel. */
const drawn = { bytes: Buffer.alloc(0), at: 0 };
const drawBytes = 4_096;

/** `newId('pay', now)` → `pay_01k…`; `nowMs` is the injected clock's. */
export function newId<Prefix extends string>(prefix: Prefix, nowMs: number): `${Prefix}_${string}` {
  last.count = nowMs === last.ms ? last.count + 1 : 0;
  last.ms = nowMs;
  if (drawn.at + randomChars > drawn.bytes.length)
    Object.assign(drawn, { bytes: randomBytes(drawBytes), at: 0 });
  let random = '';
  for (let char = 0; char < randomChars; char += 1)
    random += alphabet[(drawn.bytes[drawn.at + char] ?? 0) % 32] ?? '';
  drawn.at += randomChars;
  return `${prefix}_${base32(nowMs, timeChars)}${base32(last.count, countChars)}${random}`;
}

function base32(value: number, chars: number): string {
  let text = '';
  for (let rest = value, at = 0; at < chars; at += 1, rest = Math.floor(rest / 32))
    text = (alphabet[rest % 32] ?? '') + text;
  return text;
}
