/** Connection tracking of one address, read from the kernel's list and let in on another card. */
import type { TrackedFlow } from '#contracts/network.ts';
import { elementsPerStatementMax, importedFlowSecondsMax } from './limits.ts';
import { importedSet } from './model/firewall.ts';
import { word } from './model/safe.ts';

/** Flows of `ip` in `/proc/net/nf_conntrack`'s text: the original direction of each. Only protocols with ports. */
export const parseFlows = (text: string, ip: string): TrackedFlow[] =>
  text.split('\n').flatMap((line) => {
    const protocol = /^ipv4\s+\d+\s+\S+\s+(\d+)\s/.exec(line)?.[1];
    const tuple = /src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)/.exec(line);
    if (protocol === undefined || tuple === null) return [];
    const [, src = '', dst = '', sport, dport] = tuple;
    if (src !== ip && dst !== ip) return [];
    return [{ protocol: Number(protocol), src, dst, sport: Number(sport), dport: Number(dport) }];
  });

/** nft statements that let the flows in, both directions of each. */
export const flowStatements = (flows: readonly TrackedFlow[]): string[] => {
  const elements = [
    ...new Set(
      flows.flatMap(({ protocol, src, dst, sport, dport }) => [
        `${protocol} . ${word(src)} . ${sport} . ${word(dst)} . ${dport}`,
        `${protocol} . ${word(dst)} . ${dport} . ${word(src)} . ${sport}`,
      ]),
    ),
  ].map((element) => `${element} timeout ${importedFlowSecondsMax}s`);
  const lines: string[] = [];
  for (let at = 0; at < elements.length; at += elementsPerStatementMax)
    lines.push(
      `add element ${importedSet} { ${elements.slice(at, at + elementsPerStatementMax).join(', ')} }`,
    );
  return lines;
};
