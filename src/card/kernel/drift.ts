/** What somebody else has changed in a VPC's namespace (S8.2): compared with what this process knows to have put there. */
import { z } from 'zod';
import type { Model } from '../model/model.ts';
import { plan } from '../model/plan.ts';
import { runInside } from './namespace.ts';
import { readKernel } from './read.ts';

const ruleset = z.object({
  nftables: z.array(
    z.object({
      chain: z.object({ family: z.string(), table: z.string(), name: z.string() }).optional(),
      rule: z.object({ family: z.string(), table: z.string(), chain: z.string() }).optional(),
    }),
  ),
});

/** `inet pando forward` → how many rules it has. */
const rulesByChain = async (namespace: string): Promise<Map<string, number>> => {
  const { nftables } = ruleset.parse(JSON.parse(await runInside(namespace, 'nft -j -t list ruleset\n')));
  const counts = new Map<string, number>();
  for (const { chain } of nftables)
    if (chain !== undefined) counts.set(`${chain.family} ${chain.table} ${chain.name}`, 0);
  for (const { rule } of nftables) {
    if (rule === undefined) continue;
    const name = `${rule.family} ${rule.table} ${rule.chain}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
};

/** In the words of the tools; undefined: none. Of the firewall chains and numbers of rules are compared, not their texts. */
export const driftOf = async (namespace: string, applied: Model): Promise<string | undefined> => {
  const { model } = await readKernel(namespace);
  const { nft: _, ...steps } = plan({ ...model, sets: applied.sets, chains: applied.chains }, applied);
  const [line] = Object.values(steps).flat();
  if (line !== undefined) return `${namespace} needs: ${line}`;
  const counts = await rulesByChain(namespace);
  for (const [name, { rules }] of applied.chains)
    if (counts.get(name) !== rules.length)
      return `${namespace}: chain ${name} has ${counts.get(name) ?? 'no'} rules, not ${rules.length}`;
  const strange = [...counts.keys()].find((name) => !applied.chains.has(name));
  return strange && `${namespace}: chain ${strange} is nobody's`;
};
