/**
 * The difference of two models as people read it: which addresses, routes, entries, rules go and which come, in the words of `ip`, `bridge`
 * and `nft`. Of the same models as the commands of a change (`plan`), so that one says nothing exactly where the other does. Pure.
 */
import { overlayDevice } from '../limits.ts';
import { emptyModel, type Model } from './model.ts';

/** Entries by kind; one that is there twice (a rule) is twice in the list. */
type Entries = readonly (readonly [kind: string, entries: readonly string[]])[];

/** What the kernel has for a model, an entry a line. */
export const entriesOf = (model: Model): Entries => [
  ['ip addr', [...model.addresses].map((address) => `${address} dev lo`)],
  ['ip link', [...model.links].map(([device, mtu]) => `${device} mtu ${mtu}`)],
  ['ip neigh', [...model.neighbours].map(([key, mac]) => `${key} lladdr ${mac}`)],
  ['bridge fdb', [...model.fdb].map(([mac, to]) => `${mac} dev ${overlayDevice} dst ${to}`)],
  ['ip route', [...model.routes].map(routeEntry)],
  ['ip rule', [...model.rules]],
  [
    'nft set',
    [...model.sets].map(([name, { kind, type, flags = '' }]) => `${name} ${kind} ${type} ${flags}`.trimEnd()),
  ],
  [
    'nft element',
    [...model.sets].flatMap(([name, { elements }]) => [...elements].map((each) => `${name} { ${each} }`)),
  ],
  [
    'nft chain',
    [...model.chains].map(([name, { hook }]) => (hook === undefined ? name : `${name} { ${hook} }`)),
  ],
  ['nft rule', [...model.chains].flatMap(([name, { rules }]) => rules.map((rule) => `${name} ${rule}`))],
];

const routeEntry = ([key, spec]: [string, string]): string => {
  const [destination, , table] = key.split(' ');
  return spec === 'unreachable' || spec === 'blackhole'
    ? `${spec} ${destination} table ${table}`
    : `${destination} ${spec} table ${table}`;
};

/** `undefined`: there is no namespace, before or after. */
export const kernelDiff = (before: Model | undefined, after: Model | undefined): string[] => {
  if (before === undefined && after === undefined) return [];
  const whole = before === undefined ? ['+ ip netns'] : after === undefined ? ['- ip netns'] : [];
  const [was, becomes] = [before ?? emptyModel, after ?? emptyModel];
  return [
    ...whole,
    ...entriesDiff(entriesOf(was), entriesOf(becomes)),
    ...reordered(was, becomes).map((name) => `~ nft chain ${name}: its rules in another order`),
  ];
};

/** Lists of entries of the same kinds, in the same order. */
export const entriesDiff = (before: Entries, after: Entries): string[] =>
  after.flatMap(([kind, entries], at) => {
    const were = before[at]?.[1] ?? [];
    return [
      ...without(were, entries).map((entry) => `- ${kind} ${entry}`),
      ...without(entries, were).map((entry) => `+ ${kind} ${entry}`),
    ];
  });

/** Those of a list that another does not have, as often as it has them less. */
const without = (list: readonly string[], other: readonly string[]): string[] => {
  const counts = new Map<string, number>();
  for (const each of other) counts.set(each, (counts.get(each) ?? 0) + 1);
  return list.filter((each) => {
    const left = counts.get(each) ?? 0;
    if (left > 0) counts.set(each, left - 1);
    return left === 0;
  });
};

/** Chains whose rules are the same ones in another order, which is another chain. */
const reordered = (before: Model, after: Model): string[] =>
  [...after.chains].flatMap(([name, { rules }]) => {
    const were = before.chains.get(name)?.rules;
    const isSame = were?.length === rules.length && rules.every((rule, at) => rule === were[at]);
    if (were === undefined || isSame) return [];
    return without(were, rules).length + without(rules, were).length === 0 ? [name] : [];
  });
