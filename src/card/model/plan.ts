/** The difference of two models as batches of commands. Pure: `plan(a, b)` applied to a gives b. */
import { elementsPerStatementMax, overlayDevice } from '../limits.ts';
import type { Model, NftChain, NftSet } from './model.ts';

/**
 * Run in this order: rules of the firewall first (a new port is closed before it is reachable), then what makes places
 * known, then routes that use them, and at last what nothing refers to any more.
 */
export interface Plan {
  readonly nft: readonly string[];
  readonly bridgeAdd: readonly string[];
  readonly ipAdd: readonly string[];
  /** Deletions may find nothing: a tap that is gone took its routes along. */
  readonly ipDelete: readonly string[];
  readonly bridgeDelete: readonly string[];
}

export const isEmptyPlan = (plan: Plan): boolean =>
  Object.values(plan).every((lines: readonly string[]) => lines.length === 0);

export const plan = (before: Model, after: Model): Plan => ({
  nft: firewall(before, after),
  bridgeAdd: changed(before.fdb, after.fdb).map(
    ([mac, to]) => `fdb replace ${mac} dev ${overlayDevice} dst ${to} self permanent`,
  ),
  ipAdd: [
    ...added(before.addresses, after.addresses).map((address) => `addr add ${address} dev lo`),
    ...changed(before.links, after.links).map(([dev, mtu]) => `link set dev ${dev} mtu ${mtu} up`),
    ...changed(before.neighbours, after.neighbours).map(neighbourLine),
    ...changed(before.routes, after.routes).map(([key, spec]) => routeLine(key, spec)),
    ...added(before.rules, after.rules).map((rule) => `rule add ${rule}`),
  ],
  ipDelete: [
    ...added(after.rules, before.rules).map((rule) => `rule del ${rule}`),
    ...gone(before.routes, after.routes).map((key) => `route del ${key}`),
    ...gone(before.neighbours, after.neighbours).map((key) => `neigh del ${key}`),
    ...added(after.addresses, before.addresses).map((address) => `addr del ${address} dev lo`),
  ],
  bridgeDelete: gone(before.fdb, after.fdb).map((mac) => `fdb del ${mac} dev ${overlayDevice} self`),
});

const neighbourLine = ([key, mac]: [string, string]): string => {
  const [ip, , dev] = key.split(' ');
  return `neigh replace ${ip} lladdr ${mac} dev ${dev} nud permanent`;
};

const routeLine = (key: string, spec: string): string => {
  const [destination, , table] = key.split(' ');
  return spec === 'unreachable' || spec === 'blackhole'
    ? `route replace ${spec} ${destination} table ${table}`
    : `route replace ${destination} ${spec} table ${table}`;
};

const added = (before: ReadonlySet<string>, after: ReadonlySet<string>): string[] =>
  [...after].filter((value) => !before.has(value));

const gone = (before: ReadonlyMap<string, unknown>, after: ReadonlyMap<string, unknown>): string[] =>
  [...before.keys()].filter((key) => !after.has(key));

const changed = <V>(before: ReadonlyMap<string, V>, after: ReadonlyMap<string, V>): [string, V][] =>
  [...after].filter(([key, value]) => before.get(key) !== value);

/** One nft transaction. Names first, then contents, then deletions: nothing refers to what is not there. */
const firewall = (before: Model, after: Model): string[] => {
  const rewritten = [...after.chains].filter(([name, chain]) => !sameChain(before.chains.get(name), chain));
  const goneChains = gone(before.chains, after.chains);
  const goneSets = gone(before.sets, after.sets);
  const lines = [
    ...added(tablesOf(before), tablesOf(after)).map((table) => `add table ${table}`),
    ...[...after.sets].filter(([name]) => !before.sets.has(name)).map(setLine),
    ...rewritten.filter(([name]) => !before.chains.has(name)).map(chainLine),
    ...rewritten.filter(([name]) => before.chains.has(name)).map(([name]) => `flush chain ${name}`),
    ...goneChains.map((name) => `flush chain ${name}`),
    ...[...before.sets].flatMap(([name, set]) =>
      elementLines('delete', name, added(after.sets.get(name)?.elements ?? new Set(), set.elements)),
    ),
    ...rewritten.flatMap(([name, chain]) => chain.rules.map((rule) => `add rule ${name} ${rule}`)),
    ...[...after.sets].flatMap(([name, set]) =>
      elementLines('add', name, added(before.sets.get(name)?.elements ?? new Set(), set.elements)),
    ),
    ...goneChains.map((name) => `delete chain ${name}`),
    ...goneSets.map((name) => `delete ${before.sets.get(name)?.kind} ${name}`),
    ...added(tablesOf(after), tablesOf(before)).map((table) => `delete table ${table}`),
  ];
  return lines;
};

/** `inet pando` of `inet pando forward`. */
const tableOf = (name: string): string => name.split(' ').slice(0, 2).join(' ');
const tablesOf = (model: Model): Set<string> =>
  new Set([...model.sets.keys(), ...model.chains.keys()].map(tableOf));

const setLine = ([name, set]: [string, NftSet]): string =>
  `add ${set.kind} ${name} { type ${set.type};${set.flags === undefined ? '' : ` flags ${set.flags};`} }`;

const chainLine = ([name, chain]: [string, NftChain]): string =>
  chain.hook === undefined ? `add chain ${name}` : `add chain ${name} { ${chain.hook} }`;

/** A key of a map is enough to delete its element, but the value must be the one that is there. */
const elementLines = (verb: 'add' | 'delete', set: string, elements: readonly string[]): string[] => {
  const lines: string[] = [];
  for (let at = 0; at < elements.length; at += elementsPerStatementMax)
    lines.push(`${verb} element ${set} { ${elements.slice(at, at + elementsPerStatementMax).join(', ')} }`);
  return lines;
};

const sameChain = (a: NftChain | undefined, b: NftChain): boolean =>
  a !== undefined && a.rules.length === b.rules.length && a.rules.every((rule, at) => rule === b.rules[at]);

/**
 * A transaction that puts the firewall of `after` in the place of whatever tables `present` there are: packets see the old
 * rules or the new ones, never none. Connections that are tracked stay tracked.
 */
export const replaceFirewall = (
  present: readonly string[],
  after: Model,
  extra: readonly string[],
): string[] => [
  ...present.map((table) => `delete table ${table}`),
  ...firewall({ ...after, sets: new Map(), chains: new Map() }, after),
  ...extra,
];
