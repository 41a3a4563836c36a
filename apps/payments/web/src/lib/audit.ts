/** Recomputes a statement on this phone, so that nobody's word is needed for it. The application's README says what is hashed. */
import type { Statement } from './contract.ts';

type Entry = Statement['entries'][number];

/** `0/12`: the sub-account and the number in it. */
export const entryName = (entry: Entry): string => `${entry.subAccount}/${entry.sequence}`;

const bytesOf = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const hexOf = (bytes: ArrayBuffer): string =>
  [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');

async function hashOf(statement: Statement, entry: Entry, before: string): Promise<string> {
  const { subAccount, sequence, transactionId, amountMinor, balanceMinor, at } = entry;
  const fields = [
    statement.accountId,
    subAccount,
    sequence,
    transactionId,
    statement.currency,
    amountMinor,
    balanceMinor,
    at,
  ];
  const text = new TextEncoder().encode(fields.join('|'));
  return hexOf(await crypto.subtle.digest('SHA-256', new Uint8Array([...bytesOf(before), ...text])));
}

/** The first entry that does not follow from the one before it, `closing` where the sum is another; undefined: all is sound. */
export async function firstBroken(statement: Statement): Promise<string | undefined> {
  const chains = new Map<number, { sequence: number; balanceMinor: bigint; hash: string }>();
  let total = BigInt(statement.openingMinor);
  for (const entry of statement.entries) {
    const before = chains.get(entry.subAccount) ?? { sequence: 0, balanceMinor: 0n, hash: '' };
    const balanceMinor = before.balanceMinor + BigInt(entry.amountMinor);
    const follows =
      entry.sequence === before.sequence + 1 &&
      BigInt(entry.balanceMinor) === balanceMinor &&
      entry.hash === (await hashOf(statement, entry, before.hash));
    if (!follows) return entryName(entry);
    chains.set(entry.subAccount, { sequence: entry.sequence, balanceMinor, hash: entry.hash });
    total += BigInt(entry.amountMinor);
  }
  return total === BigInt(statement.closingMinor) ? undefined : 'closing';
}
