/** Removes what connection tracking of a namespace knows of addresses that have changed hands. */
import { BlockList, isIPv4 } from 'node:net';
import { ExecError } from '#base/exec.ts';
import type { Logger } from '#base/log.ts';
import { elementsPerStatementMax, forgetTriesMax, pairsForgottenMax } from '../limits.ts';
import { importedSet } from '../model/firewall.ts';
import type { FlowsOf } from '../model/holders.ts';
import { readImported } from './imported.ts';
import { readNet, runInside } from './namespace.ts';

/** Exit of a shell that does not find the command. */
const noSuchCommand = 127;

/**
 * After this no packet of a flow of `moved` passes for being tracked: the next one is judged by the rules. To be called once the kernel
 * has the new places and rules, so that no old packet is tracked anew. `cidrs`: what is inside of the VPC.
 */
export const forgetFlows = async (
  namespace: string,
  moved: readonly FlowsOf[],
  cidrs: readonly string[],
  log: Logger,
): Promise<void> => {
  if (moved.length === 0) return;
  const commands = deletions(await trackedText(namespace), moved, cidrs);
  if (commands.length === 0) return;
  await deleteTracked(namespace, commands, log);
  log.info({ addresses: moved.length }, 'tracked flows of addresses that changed hands are gone');
};

/** Of flows that a migration let in. Answers whether some of others may be left. */
export const forgetImported = async (namespace: string, moved: readonly FlowsOf[]): Promise<boolean> => {
  const gone = new Set(moved.filter(({ reach }) => reach === 'all').map(({ ip }) => ip));
  if (gone.size === 0) return true;
  const flows = (await readImported(namespace)).flatMap((line) => /\{ (.*) timeout /.exec(line)?.[1] ?? []);
  const theirs = flows.filter((flow) => flow.split(' . ').some((part) => gone.has(part)));
  const lines: string[] = [];
  for (let at = 0; at < theirs.length; at += elementsPerStatementMax)
    lines.push(
      `delete element ${importedSet} { ${theirs.slice(at, at + elementsPerStatementMax).join(', ')} }`,
    );
  if (lines.length > 0) await runInside(namespace, `nft -f - <<'END'\n${lines.join('\n')}\nEND\n`);
  return flows.length > theirs.length;
};

/** One line a flow. The file costs no process; a kernel without it is asked by the tool. */
const trackedText = (namespace: string): Promise<string> =>
  readNet(namespace, 'nf_conntrack').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return runInside(namespace, 'conntrack -L 2>/dev/null || true\n');
    throw error;
  });

/** Commands of `conntrack` that remove all of `moved` that is in `text`; none for what is not in it. */
export const deletions = (text: string, moved: readonly FlowsOf[], cidrs: readonly string[]): string[] => {
  const inside = blockList(cidrs);
  const present = moved.filter(({ ip }) => isIPv4(ip) && text.includes(`=${ip} `));
  const whole = new Set(present.flatMap(({ ip, reach }) => (reach === 'all' ? ip : [])));
  for (const { ip } of present.filter((each) => each.reach === 'outside' && !whole.has(each.ip))) {
    const pairs = outsidePairs(text, ip, inside);
    if (pairs.length > pairsForgottenMax) whole.add(ip);
    else for (const pair of pairs) whole.add(pair);
  }
  // Of an address: as either end, before and after translation.
  return [...whole].flatMap((each) =>
    each.startsWith('-') ? `-D ${each}` : ['-s', '-d', '-r', '-q'].map((end) => `-D ${end} ${each}`),
  );
};

/** `-s SRC -d DST` of the flows between `ip` and addresses outside. */
const outsidePairs = (text: string, ip: string, inside: BlockList): string[] => [
  ...new Set(
    text.split('\n').flatMap((line) => {
      if (!line.includes(`=${ip} `)) return [];
      const [, src = '', dst = ''] = /src=(\S+) dst=(\S+)/.exec(line) ?? [];
      const peer = src === ip ? dst : src;
      return isIPv4(peer) && !inside.check(peer) ? [`-s ${src} -d ${dst}`] : [];
    }),
  ),
];

const blockList = (cidrs: readonly string[]): BlockList => {
  const list = new BlockList();
  for (const cidr of [...cidrs, '169.254.0.0/16']) {
    const [network = '', length] = cidr.split('/');
    list.addSubnet(network, Number(length));
  }
  return list;
};

/** A flow that ends by itself meanwhile can make the tool fail: it is asked again. */
const deleteTracked = async (namespace: string, commands: readonly string[], log: Logger): Promise<void> => {
  const script = `conntrack -R - >/dev/null <<'END'\n${commands.join('\n')}\nEND\n`;
  for (let tries = 1; ; tries += 1)
    try {
      await runInside(namespace, script);
      return;
    } catch (error) {
      if (error instanceof ExecError && error.exitCode === noSuchCommand) {
        log.error(
          { alarm: 'conntrack-missing', namespace },
          'tracked flows of an address that changed hands stay: install the package conntrack on this machine',
        );
        return;
      }
      if (tries >= forgetTriesMax) throw error;
    }
};
