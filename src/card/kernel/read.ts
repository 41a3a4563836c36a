/** Reads what the kernel holds in a VPC's namespace, as a model (the firewall aside, which is replaced as a whole). */
import { z } from 'zod';
import { overlayDevice } from '../limits.ts';
import { emptyModel, type Model } from '../model/model.ts';
import { runInside } from './namespace.ts';

const links = z.array(z.object({ ifname: z.string(), mtu: z.number(), flags: z.array(z.string()) }));
const addresses = z.array(
  z.object({
    addr_info: z
      .array(z.object({ family: z.string(), local: z.string(), prefixlen: z.number() }))
      .default([]),
  }),
);
const neighbours = z.array(
  z.object({ dst: z.string(), dev: z.string(), lladdr: z.string().optional(), state: z.array(z.string()) }),
);
const routes = z.array(
  z.object({
    type: z.string().optional(),
    dst: z.string(),
    gateway: z.string().optional(),
    dev: z.string().optional(),
    table: z.string().optional(),
    prefsrc: z.string().optional(),
    protocol: z.string().optional(),
  }),
);
const rules = z.array(
  z.object({
    priority: z.number(),
    src: z.string(),
    srclen: z.number().optional(),
    iif: z.string().optional(),
    table: z.string(),
  }),
);
const fdb = z.array(z.object({ mac: z.string(), dst: z.string().optional(), port: z.number().optional() }));

export interface KernelState {
  readonly model: Model;
  /** Neighbours that the kernel confirms by asking, as `Model.neighbours`: guests that are asked over ARP are among them for a moment. */
  readonly asked: ReadonlyMap<string, string>;
  /** All devices besides `lo`, also those that are down. */
  readonly devices: readonly string[];
  /** Tables of nftables: `inet pando`. */
  readonly tables: readonly string[];
}

const separator = 'END-OF-ANSWER';
const commands = [
  'ip -j link',
  'ip -4 -j addr show dev lo',
  'ip -4 -j neigh show',
  'ip -4 -j route show table all',
  'ip -4 -j rule',
  `bridge -j fdb show dev ${overlayDevice}`,
  'nft list tables',
];

/** One spawn for everything. */
export const readKernel = async (namespace: string): Promise<KernelState> => {
  const script = commands.map((command) => `${command}\necho\necho ${separator}`).join('\n');
  const answers = (await runInside(namespace, script)).split(`${separator}\n`);
  const json = (at: number): unknown => JSON.parse(answers[at]?.trim() || '[]');
  const known = neighbours.parse(json(2));
  const isPermanent = ({ state }: (typeof known)[number]): boolean => state.includes('PERMANENT');
  const all = links.parse(json(0)).filter(({ ifname }) => ifname !== 'lo');
  return {
    devices: all.map(({ ifname }) => ifname),
    tables: (answers[6] ?? '').split('\n').flatMap((line) => line.match(/^table (\S+ pando)$/)?.[1] ?? []),
    asked: readNeighbours(known.filter((each) => !isPermanent(each))),
    model: {
      ...emptyModel,
      links: new Map(all.filter(({ flags }) => flags.includes('UP')).map(({ ifname, mtu }) => [ifname, mtu])),
      addresses: readAddresses(json(1)),
      neighbours: readNeighbours(known.filter(isPermanent)),
      routes: readRoutes(json(3)),
      rules: readRules(json(4)),
      fdb: new Map(
        fdb
          .parse(json(5))
          .flatMap(({ mac, dst, port }) =>
            dst === undefined ? [] : [[mac, port === undefined ? dst : `${dst} port ${port}`]],
          ),
      ),
    },
  };
};

/**
 * What is there, of what a card may have put there. A guest that is being asked over ARP has an entry that is permanent before and after: it is
 * not lost, and nobody else has changed it.
 */
export const ownOf = ({ model, asked }: KernelState, applied: Model): Model => ({
  ...model,
  ...{ sets: applied.sets, chains: applied.chains },
  neighbours: new Map([
    ...[...asked].filter(([key, mac]) => applied.neighbours.get(key) === mac),
    ...model.neighbours,
  ]),
});

const readNeighbours = (all: z.infer<typeof neighbours>): Map<string, string> =>
  new Map(
    all.flatMap(({ dst, dev, lladdr }): [string, string][] =>
      lladdr ? [[`${dst} dev ${dev}`, lladdr]] : [],
    ),
  );

const readAddresses = (json: unknown): Set<string> =>
  new Set(
    addresses
      .parse(json)
      .flatMap(({ addr_info }) => addr_info)
      .filter(({ local }) => !local.startsWith('127.'))
      .map(({ local, prefixlen }) => `${local}/${prefixlen}`),
  );

const readRoutes = (json: unknown): Map<string, string> =>
  new Map(
    routes
      .parse(json)
      .filter(({ table, protocol }) => table !== 'local' && protocol !== 'kernel')
      .map(({ type, dst, gateway, dev, table = 'main', prefsrc }) => {
        const spec = [
          gateway === undefined ? '' : `via ${gateway}`,
          `dev ${dev}`,
          gateway === undefined ? '' : 'onlink',
          prefsrc === undefined ? '' : `src ${prefsrc}`,
        ];
        return [`${dst} table ${table}`, type ?? spec.filter((part) => part !== '').join(' ')];
      }),
  );

const ownPreferences = { min: 1, max: 32_765 };

const readRules = (json: unknown): Set<string> =>
  new Set(
    rules
      .parse(json)
      .filter(({ priority }) => priority >= ownPreferences.min && priority <= ownPreferences.max)
      .map(({ priority, src, srclen, iif, table }) => {
        const from = src === 'all' ? '' : ` from ${src}/${srclen ?? 32}`;
        return `pref ${priority}${from}${iif === undefined ? '' : ` iif ${iif}`} lookup ${table}`;
      }),
  );
