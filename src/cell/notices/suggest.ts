/** Alternatives to a request that no client named: worked out from what its account has run in this cell (S10.2). */
import { findSize, sizeOf } from '../instance-types.ts';
import type { OptionColumn } from '../store/capacity-requests.ts';
import type { Sql } from '../store/sql.ts';

export const suggestionsMax = 3;

/** How many instances of a type the account has, or had within the time that terminated ones are kept. */
export interface TypeUse {
  readonly type: string;
  readonly count: number;
}

export const readTypeUse = (sql: Sql, accountId: string): Promise<TypeUse[]> =>
  sql.query<TypeUse>(
    `select spec->>'instanceType' as type, count(*)::int as count from instances where account_id = $1
     group by 1 order by 2 desc, 1 limit 32`,
    [accountId],
  );

/**
 * Types that the account uses, most of all first, in the number that makes at least the same vCPU and memory; then half as many of what
 * was asked for. `given` begins with the original; nothing of it is repeated. Pure.
 */
export const suggest = (given: readonly OptionColumn[], used: readonly TypeUse[]): OptionColumn[] => {
  const [original] = given;
  if (original === undefined) return [];
  const { count, amount } = original;
  const known = new Set(given.map((each) => `${each.type} ${each.count}`));
  const found: OptionColumn[] = [];
  const add = (option: OptionColumn): void => {
    const key = `${option.type} ${option.count}`;
    if (known.has(key) || found.length >= suggestionsMax) return;
    known.add(key);
    found.push(option);
  };
  for (const { type, count: had } of used) {
    if (type === original.type || findSize(type) === undefined) continue;
    const { vcpusMilli, memoryMib, networkMbps } = sizeOf(type);
    // One machine of what was asked for may need all of its memory: two smaller ones are something else.
    if (vcpusMilli < amount.vcpusMilli || memoryMib < amount.memoryMib) continue;
    const reason = `You have run ${had} of this type; each has at least the vCPU and memory that you asked for.`;
    add({ type, count, amount: { ...amount, vcpusMilli, memoryMib, networkMbps }, reason });
    const fewer = Math.max(
      Math.ceil((count * amount.vcpusMilli) / vcpusMilli),
      Math.ceil((count * amount.memoryMib) / memoryMib),
    );
    if (fewer < count)
      add({
        ...{ type, count: fewer, amount: { ...amount, vcpusMilli, memoryMib, networkMbps } },
        reason: `You have run ${had} of this type; ${fewer} make at least the vCPU and memory that you asked for in all.`,
      });
  }
  if (count > 1)
    add({ ...original, count: Math.ceil(count / 2), reason: 'Half as many of what you asked for.' });
  return found;
};
