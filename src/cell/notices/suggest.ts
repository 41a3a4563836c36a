/**
 * Alternatives to a request that no client named (S10.2): worked out from what its account has run in this cell, and from what its VMs
 * there have used.
 */
import type { UsageBook } from '../hosts/usage.ts';
import { findSize, type InstanceSize, instanceTypeCatalogue, sizeOf } from '../instance-types.ts';
import { usageHeadroom, usageLookedAtMax, usageObservedMsMin } from '../limits.ts';
import type { OptionColumn } from '../store/capacity-requests.ts';
import type { Sql } from '../store/sql.ts';

export const suggestionsMax = 3;

/** How many instances of a type the account has, or had within the time that terminated ones are kept. */
export interface TypeUse {
  readonly type: string;
  readonly count: number;
}

/** The most that any of `vms` running instances of a type has used lately. */
export interface MeasuredUse {
  readonly vms: number;
  readonly vcpusMilli: number;
  readonly memoryMib: number;
  readonly networkMbps: number;
}

export const readTypeUse = (sql: Sql, accountId: string): Promise<TypeUse[]> =>
  sql.query<TypeUse>(
    `select spec->>'instanceType' as type, count(*)::int as count from instances where account_id = $1
     group by 1 order by 2 desc, 1 limit 32`,
    [accountId],
  );

/** What the account's running instances of this type have used; undefined: none has been measured for long enough. */
export const readMeasuredUse = async (
  sql: Sql,
  usage: Pick<UsageBook, 'of'>,
  accountId: string,
  type: string,
): Promise<MeasuredUse | undefined> => {
  const rows = await sql.query<{ id: string }>(
    `select id from instances where account_id = $1 and state = 'running' and spec->>'instanceType' = $2
     order by created_at, id limit $3`,
    [accountId, type, usageLookedAtMax],
  );
  const measured = rows.flatMap(({ id }) => usage.of(id) ?? []);
  const known = measured.filter(({ observedMs }) => observedMs >= usageObservedMsMin);
  if (known.length === 0) return undefined;
  const most = (of: (each: (typeof known)[number]) => number): number => Math.max(...known.map(of));
  return {
    vms: known.length,
    vcpusMilli: most(({ vcpusMilli }) => vcpusMilli),
    memoryMib: most(({ memoryMib }) => memoryMib),
    networkMbps: most(({ networkMbps }) => networkMbps),
  };
};

const familyOf = (type: string): string => type.slice(0, type.indexOf('.'));
const roundedUp = (value: number, to: number): number => Math.max(to, Math.ceil(value / to) * to);
const stepMilli = 250;
const stepMib = 64;

/** A custom size, as big as what was measured asks for. */
const customFor = ({ needs = [] }: InstanceSize, need: MeasuredUse): string =>
  `custom.${roundedUp(need.vcpusMilli, stepMilli)}m.${roundedUp(need.memoryMib, stepMib)}${needs.map((one) => `+${one}`).join('')}`;

/** The smallest type below `asked` that carries `need`: of its family, a custom size for a custom size, or one that the account uses. */
const smallestThatCarries = (
  asked: InstanceSize,
  need: MeasuredUse,
  used: readonly TypeUse[],
): InstanceSize | undefined => {
  const family = familyOf(asked.name);
  const names = [
    ...(family === 'custom' ? [customFor(asked, need)] : []),
    ...instanceTypeCatalogue.map(({ name }) => name).filter((name) => familyOf(name) === family),
    ...used.map(({ type }) => type),
  ];
  const needs = (asked.needs ?? []).join();
  return names
    .flatMap((name) => findSize(name) ?? [])
    .filter(
      (size) =>
        (size.needs ?? []).join() === needs &&
        size.vcpusMilli <= asked.vcpusMilli &&
        size.memoryMib <= asked.memoryMib &&
        size.vcpusMilli + size.memoryMib < asked.vcpusMilli + asked.memoryMib &&
        size.vcpusMilli >= need.vcpusMilli &&
        size.memoryMib >= need.memoryMib &&
        size.networkMbps >= need.networkMbps,
    )
    .sort((a, b) => a.memoryMib - b.memoryMib || a.vcpusMilli - b.vcpusMilli)[0];
};

/** A smaller type that carries what the account's VMs of the type that is asked for really use. */
const byMeasure = (
  { type, count, amount }: OptionColumn,
  measured: MeasuredUse,
  used: readonly TypeUse[],
): OptionColumn | undefined => {
  const asked = findSize(type);
  const need = {
    vms: measured.vms,
    vcpusMilli: measured.vcpusMilli * usageHeadroom,
    memoryMib: measured.memoryMib * usageHeadroom,
    networkMbps: measured.networkMbps * usageHeadroom,
  };
  const found = asked && smallestThatCarries(asked, need, used);
  if (found === undefined) return undefined;
  const { name, vcpusMilli, memoryMib, networkMbps } = found;
  const cpus = (measured.vcpusMilli / 1000).toFixed(2);
  const network = Math.ceil(measured.networkMbps);
  return {
    ...{ type: name, count, amount: { ...amount, vcpusMilli, memoryMib, networkMbps } },
    reason: `Of the ${type} that you run none has used more than ${cpus} vCPU, ${Math.ceil(measured.memoryMib)} MiB and ${network} Mbit/s lately (${measured.vms} measured): this type carries that.`,
  };
};

/**
 * A smaller type that carries what is really used; types that the account uses, most of all first, in the number that makes at least the
 * same vCPU and memory; then half as many of what was asked for. `given` begins with the original; nothing of it is repeated. Pure.
 */
export const suggest = (
  given: readonly OptionColumn[],
  used: readonly TypeUse[],
  measured?: MeasuredUse,
): OptionColumn[] => {
  const [original] = given;
  if (original === undefined) return [];
  const { count, amount } = original;
  const known = new Set(given.map((each) => `${each.type} ${each.count}`));
  const found: OptionColumn[] = [];
  const add = (option: OptionColumn | undefined): void => {
    if (option === undefined) return;
    const key = `${option.type} ${option.count}`;
    if (known.has(key) || found.length >= suggestionsMax) return;
    known.add(key);
    found.push(option);
  };
  add(measured && byMeasure(original, measured, used));
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
