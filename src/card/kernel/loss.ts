/**
 * What a VPC's namespace lacks of what this process put there: addresses, routes, neighbours and entries one by one; of the firewall, whose
 * words differ from what the tools show, whether each table, chain and set is there with as many rules and elements.
 */
import { z } from 'zod';
import type { Model } from '../model/model.ts';
import { plan } from '../model/plan.ts';
import { runInside } from './namespace.ts';
import { ownOf, readKernel } from './read.ts';

const entry = z.looseObject({
  family: z.string(),
  table: z.string().optional(),
  name: z.string().optional(),
  chain: z.string().optional(),
  elem: z.array(z.unknown()).optional(),
});
const ruleset = z.object({ nftables: z.array(z.record(z.string(), z.unknown())) });

/** Of `nft -j list ruleset`: rules of each chain, elements of each set, as `inet pando forward` → 12. */
export const countRuleset = (text: string): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>();
  const add = (name: string, more: number): void => void counts.set(name, (counts.get(name) ?? 0) + more);
  for (const each of ruleset.parse(JSON.parse(text)).nftables)
    for (const [kind, value] of Object.entries(each)) {
      const parsed = entry.safeParse(value);
      if (!parsed.success || kind === 'table' || kind === 'metainfo') continue;
      const { family, table, name, chain, elem = [] } = parsed.data;
      if (kind === 'rule') add(`${family} ${table} ${chain}`, 1);
      else add(`${family} ${table} ${name}`, elem.length);
    }
  return counts;
};

/** The first thing of the firewall that is missing; undefined: none. More than there should be is no loss. */
export const missingOf = (applied: Model, counts: ReadonlyMap<string, number>): string | undefined => {
  // Elements of a set with flags come and go with the packets.
  const sets = [...applied.sets].map(([name, { flags, elements }]) => ({
    name,
    wanted: flags === undefined ? elements.size : 0,
  }));
  const chains = [...applied.chains].map(([name, { rules }]) => ({ name, wanted: rules.length }));
  for (const { name, wanted } of [...sets, ...chains]) {
    const has = counts.get(name);
    if (has === undefined) return `${name} is gone`;
    if (has < wanted) return `${name} has ${has} of ${wanted}`;
  }
  return undefined;
};

/** In words; undefined: nothing is missing. */
export const lossOf = async (namespace: string, applied: Model): Promise<string | undefined> => {
  const { bridgeAdd, ipAdd } = plan(ownOf(await readKernel(namespace), applied), applied);
  const [line] = [...bridgeAdd, ...ipAdd];
  if (line !== undefined) return line;
  return missingOf(applied, countRuleset(await runInside(namespace, 'nft -j list ruleset\n')));
};
