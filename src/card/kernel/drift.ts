/**
 * What somebody else has changed in a VPC's namespace (S8.2). Addresses, routes, neighbours and entries are compared with what this process
 * knows to have put there. Of the firewall the words differ from what the tools show, so it is loaded into an empty namespace, and what
 * the tools show there is what they must show here: rule by rule, element by element.
 */
import { z } from 'zod';
import { exec } from '#base/exec.ts';
import { canonicalJson } from '#contracts/canonicalJson.ts';
import { overlayDevice, scriptTimeoutMs, vxlanPort } from '../limits.ts';
import type { Model } from '../model/model.ts';
import { plan, replaceFirewall } from '../model/plan.ts';
import { runInside } from './namespace.ts';
import { ownOf, readKernel } from './read.ts';

const named = z.looseObject({
  family: z.string(),
  table: z.string(),
  name: z.string().optional(),
  chain: z.string().optional(),
  elem: z.array(z.unknown()).optional(),
});
const ruleset = z.object({ nftables: z.array(z.record(z.string(), z.unknown())) });

/** `chain inet pando forward` → what it is and its rules in order; `set inet pando own` → its elements. */
export type Firewall = ReadonlyMap<string, readonly string[]>;

const list = 'nft -j list ruleset\n';

/** Of `nft -j list ruleset`. Elements of `running` sets, which are the running system's, are left out. */
export const parseRuleset = (text: string, running: ReadonlySet<string> = new Set()): Firewall => {
  const found = new Map<string, string[]>();
  const add = (name: string, lines: readonly string[]): void => {
    found.set(name, [...(found.get(name) ?? []), ...lines]);
  };
  for (const entry of ruleset.parse(JSON.parse(text)).nftables)
    for (const [kind, value] of Object.entries(entry)) {
      const parsed = named.safeParse(value);
      if (!parsed.success || kind === 'metainfo') continue;
      const { family, table, name, chain, elem = [], handle: _, ...rest } = parsed.data;
      if (kind === 'rule') add(`chain ${family} ${table} ${chain}`, [canonicalJson(rest)]);
      else {
        const own = running.has(`${family} ${table} ${name}`) ? [] : elem;
        const elements = own.map((each) => canonicalJson(each)).sort();
        add(`${kind} ${family} ${table} ${name}`, [canonicalJson(rest), ...elements]);
      }
    }
  return found;
};

/** The first difference, in words; undefined: none. */
export const firewallDrift = (wanted: Firewall, has: Firewall): string | undefined => {
  for (const [name, lines] of wanted) {
    const present = has.get(name);
    if (present === undefined) return `${name} is gone`;
    const missing = lines.find((line) => !present.includes(line));
    if (missing !== undefined) return `${name} lacks ${missing}`;
    const strange = present.find((line) => !lines.includes(line));
    if (strange !== undefined) return `${name} has ${strange}, which nobody rolled out`;
    if (lines.some((line, at) => line !== present[at])) return `${name} has its rules in another order`;
  }
  const strange = [...has.keys()].find((name) => !wanted.has(name));
  return strange && `${strange} is nobody's`;
};

/** What the tools show of this firewall. */
const shown = async (applied: Model): Promise<string> => {
  const { stdout } = await exec('unshare', ['--net', 'sh', '-e', '-s'], {
    timeoutMs: scriptTimeoutMs,
    input: `ip link add ${overlayDevice} type vxlan id 1 dstport ${vxlanPort}
nft -f - <<'END-OF-RULES'
${replaceFirewall([], applied, []).join('\n')}
END-OF-RULES
${list}`,
  });
  return stdout;
};

/** In the words of the tools; undefined: none. */
export const driftOf = async (namespace: string, applied: Model): Promise<string | undefined> => {
  const { nft: _, ...steps } = plan(ownOf(await readKernel(namespace), applied), applied);
  const [line] = Object.values(steps).flat();
  if (line !== undefined) return `${namespace} needs: ${line}`;
  const [wanted, has] = await Promise.all([shown(applied), runInside(namespace, list)]);
  const running = new Set(
    [...applied.sets].flatMap(([name, { flags }]) => (flags === undefined ? [] : name)),
  );
  const difference = firewallDrift(parseRuleset(wanted, running), parseRuleset(has, running));
  return difference && `${namespace}: ${difference}`;
};
