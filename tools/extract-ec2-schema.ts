/**
 * Writes the wire schema tables that `src/wire` reads, from the runtime schemas of the AWS SDK:
 *
 *     node tools/extract-ec2-schema.ts
 *
 * The SDK is a development dependency alone: at run time its package costs 94 MB of memory, these tables 2 MB.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import * as ec2 from '@aws-sdk/client-ec2';
import * as sts from '@aws-sdk/client-sts';
import { isDecimal } from './ec2-decimals.ts';

/** The SDK's numbers for simple types, and our letters. `n` is an integer, `d` a decimal number. */
const scalarLetters = new Map<unknown, string>([
  [0, 's'],
  [1, 'n'],
  [2, 'b'],
  [4, 't'],
  [5, 't'],
  [6, 't'],
  [7, 't'],
  [21, 'x'],
]);

type Member = [name: string, type: string | number, queryName: string | 0, xmlName: string | 0];
type Shape = [required: number, members: Member[]] | [element: string | number, tag: string];

interface Service {
  readonly file: string;
  readonly package: string;
  readonly namespace: Record<string, unknown>;
  readonly version: string;
  readonly xmlns: string;
  readonly actions: (name: string) => boolean;
}

const services: readonly Service[] = [
  {
    file: 'ec2.json',
    package: '@aws-sdk/client-ec2',
    namespace: ec2,
    version: '2016-11-15',
    xmlns: 'http://ec2.amazonaws.com/doc/',
    actions: () => true,
  },
  {
    file: 'sts.json',
    package: '@aws-sdk/client-sts',
    namespace: sts,
    version: '2011-06-15',
    xmlns: 'https://sts.amazonaws.com/doc/',
    actions: (name) => name === 'GetCallerIdentity',
  },
];

/** Collects shapes in the order in which they are first met, so that the output is stable. */
class Collector {
  readonly shapes: Shape[] = [];
  readonly indexes = new Map<unknown, number>();

  type(reference: unknown): string | number {
    const [schema] = unwrap(reference);
    if (schema === 'unit') return '';
    if (typeof schema === 'number' && schema >= 64 && schema < 128)
      return this.list(schema, schema & 63, 'member');
    const letter = scalarLetters.get(schema);
    if (letter !== undefined) return letter;
    if (!Array.isArray(schema)) throw new Error(`unknown schema ${String(schema)}`);
    if (schema[0] === 0) return this.type(schema[4]);
    if (schema[0] === 1) return this.list(schema, schema[4], 'member');
    if (schema[0] === 3) return this.structure(schema);
    throw new Error(`unknown kind of schema ${String(schema[0])} in ${String(schema[2])}`);
  }

  private list(key: unknown, element: unknown, defaultTag: string): number {
    const known = this.indexes.get(key);
    if (known !== undefined) return known;
    const index = this.reserve(key);
    this.shapes[index] = [this.type(element), text(unwrap(element)[1].xmlName) ?? defaultTag];
    return index;
  }

  private structure(schema: readonly unknown[]): number {
    const known = this.indexes.get(schema);
    if (known !== undefined) return known;
    const index = this.reserve(schema);
    const names = strings(schema[4]);
    const references = Array.isArray(schema[5]) ? schema[5] : [];
    const members = names.map((name, i) => this.member(String(schema[2]), name, references[i]));
    this.shapes[index] = [typeof schema[6] === 'number' ? schema[6] : 0, members];
    return index;
  }

  private member(structure: string, name: string, reference: unknown): Member {
    const traits = unwrap(reference)[1];
    const xmlName = text(traits.xmlName);
    const queryName = text(traits.ec2QueryName) ?? capitalise(xmlName ?? name);
    const type = this.type(reference);
    const exact = type === 'n' && isDecimal(structure, name) ? 'd' : type;
    return [
      name,
      exact,
      queryName === name ? 0 : queryName,
      xmlName === undefined || xmlName === name ? 0 : xmlName,
    ];
  }

  private reserve(key: unknown): number {
    const index = this.shapes.push([0, []]) - 1;
    this.indexes.set(key, index);
    return index;
  }
}

/** A reference is a schema, a function that gives one, or a pair of a reference and the member's own traits. */
function unwrap(reference: unknown): [schema: unknown, traits: Record<string, unknown>] {
  const schema = typeof reference === 'function' ? reference() : reference;
  if (!Array.isArray(schema) || schema.length !== 2) return [schema, {}];
  const [inner] = unwrap(schema[0]);
  return [inner, typeof schema[1] === 'object' && schema[1] !== null ? { ...schema[1] } : {}];
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function capitalise(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

function packageVersion(name: string): string {
  const file = new URL(`../node_modules/${name}/package.json`, import.meta.url);
  const manifest: { version: string } = JSON.parse(readFileSync(file, 'utf8'));
  return manifest.version;
}

function extract(service: Service): string {
  const collector = new Collector();
  const operations = Object.values(service.namespace)
    .filter((value): value is unknown[] => Array.isArray(value) && value[0] === 9)
    .map((value) => ({ name: String(value[2]), input: value[4], output: value[5] }))
    .filter(({ name }) => service.actions(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, input, output }) => [name, collector.type(input), collector.type(output)]);
  const head = {
    source: `${service.package}@${packageVersion(service.package)}`,
    version: service.version,
    xmlns: service.xmlns,
  };
  const lines = (rows: readonly unknown[]) => `[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]`;
  return `${JSON.stringify(head).slice(0, -1)},\n"operations":${lines(operations)},\n"shapes":${lines(collector.shapes)}}\n`;
}

for (const service of services) {
  writeFileSync(new URL(`../src/wire/schema/${service.file}`, import.meta.url), extract(service));
}
