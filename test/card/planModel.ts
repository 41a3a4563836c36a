/** A kernel made of maps that executes plans and, like the real one, refuses what refers to nothing or is there already. */
import assert from 'node:assert/strict';
import type { Plan } from '#card/model/plan.ts';

export interface FakeKernel {
  readonly entries: Map<string, string>;
  readonly tables: Set<string>;
  readonly sets: Map<string, { decl: string; elements: Set<string> }>;
  readonly chains: Map<string, { decl: string; rules: string[] }>;
}

export const state = (): FakeKernel => ({
  entries: new Map(),
  tables: new Set(),
  sets: new Map(),
  chains: new Map(),
});

export const snapshot = (kernel: FakeKernel) => ({
  entries: [...kernel.entries].sort(),
  tables: [...kernel.tables].sort(),
  sets: [...kernel.sets].map(([name, { decl, elements }]) => [name, decl, [...elements].sort()]).sort(),
  chains: [...kernel.chains].map(([name, { decl, rules }]) => [name, decl, rules]).sort(),
});

export const execute = (kernel: FakeKernel, steps: Plan): void => {
  for (const line of steps.nft) nft(kernel, line);
  references(kernel);
  for (const line of [...steps.bridgeAdd, ...steps.ipAdd, ...steps.ipDelete, ...steps.bridgeDelete])
    entry(kernel, line);
};

const entry = ({ entries }: FakeKernel, line: string): void => {
  const [object = '', verb = ''] = line.split(' ');
  const rest = line.slice(object.length + verb.length + 2);
  switch (`${object} ${verb}`) {
    case 'fdb replace':
      entries.set(`fdb ${rest.split(' ')[0]}`, rest);
      break;
    case 'fdb del':
      assert.ok(entries.delete(`fdb ${rest.split(' ')[0]}`), line);
      break;
    case 'neigh replace':
      entries.set(`neigh ${rest.replace(/ lladdr \S+/, '').replace(' nud permanent', '')}`, rest);
      break;
    case 'neigh del':
      assert.ok(entries.delete(`neigh ${rest}`), line);
      break;
    case 'route replace': {
      const words = rest.split(' ').filter((word) => word !== 'unreachable' && word !== 'blackhole');
      entries.set(`route ${words[0]} table ${words.at(-1)}`, rest);
      break;
    }
    case 'route del':
      assert.ok(entries.delete(`route ${rest}`), line);
      break;
    case 'link set':
      entries.set(`link ${rest.split(' ')[1]}`, rest);
      break;
    case 'rule add':
    case 'addr add':
      assert.ok(!entries.has(`${object} ${rest}`), line);
      entries.set(`${object} ${rest}`, '');
      break;
    case 'rule del':
    case 'addr del':
      assert.ok(entries.delete(`${object} ${rest}`), line);
      break;
    default:
      assert.fail(line);
  }
  // A tap's own device leaves with the tap, not by a plan.
  for (const key of entries.keys()) if (key.startsWith('link tap')) entries.delete(key);
};

const nft = (kernel: FakeKernel, line: string): void => {
  const [verb, object, family, table, name, ...rest] = line.split(' ');
  const [tableName, full] = [`${family} ${table}`, `${family} ${table} ${name}`];
  const { sets, chains, tables } = kernel;
  const elements = (): string[] => rest.join(' ').slice(2, -2).split(', ');
  switch (`${verb} ${object}`) {
    case 'add table':
      tables.add(tableName);
      break;
    case 'delete table':
      assert.ok(![...sets.keys(), ...chains.keys()].some((key) => key.startsWith(`${tableName} `)), line);
      assert.ok(tables.delete(tableName), line);
      break;
    case 'add set':
    case 'add map':
      assert.ok(tables.has(tableName) && !sets.has(full), line);
      sets.set(full, { decl: rest.join(' '), elements: new Set() });
      break;
    case 'delete set':
    case 'delete map':
      assert.ok(sets.delete(full), line);
      break;
    case 'add chain':
      assert.ok(tables.has(tableName) && !chains.has(full), line);
      chains.set(full, { decl: rest.join(' '), rules: [] });
      break;
    case 'flush chain': {
      const chain = chains.get(full);
      assert.ok(chain, line);
      chain.rules.length = 0;
      break;
    }
    case 'delete chain':
      assert.deepEqual(chains.get(full)?.rules, [], line);
      chains.delete(full);
      break;
    case 'add rule': {
      const chain = chains.get(full);
      assert.ok(chain, line);
      chain.rules.push(rest.join(' '));
      break;
    }
    case 'add element':
    case 'delete element': {
      const set = sets.get(full);
      assert.ok(set, line);
      for (const element of elements()) {
        assert.equal(set.elements.has(element), verb === 'delete', line);
        if (verb === 'add') set.elements.add(element);
        else set.elements.delete(element);
      }
      break;
    }
    default:
      assert.fail(line);
  }
};

/** Whatever a rule or a verdict map names is there. */
const references = ({ chains, sets }: FakeKernel): void => {
  const texts = [
    ...[...chains].flatMap(([name, { rules }]) => rules.map((rule) => [name, rule] as const)),
    ...[...sets].flatMap(([name, { elements }]) => [...elements].map((element) => [name, element] as const)),
  ];
  for (const [name, text] of texts) {
    const table = name.split(' ').slice(0, 2).join(' ');
    for (const [, set] of text.matchAll(/@([A-Za-z_][\w-]*)/g))
      assert.ok(sets.has(`${table} ${set}`), `${name}: ${text}`);
    for (const [, chain] of text.matchAll(/(?:jump|goto) (\S+)/g))
      assert.ok(chains.has(`${table} ${chain}`), `${name}: ${text}`);
  }
};
