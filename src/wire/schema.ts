import { readFileSync } from 'node:fs';

/** A type with no parts. `decimal` is a number that may have a fraction; `blob` is base64 on the wire. */
export type Scalar = 'string' | 'integer' | 'decimal' | 'boolean' | 'timestamp' | 'blob';

/** One value of `scalar`. */
export interface ScalarShape {
  readonly kind: 'scalar';
  readonly scalar: Scalar;
}

/** Values in order. A request numbers them from 1; a response wraps each in `tag`. */
export interface ListShape {
  readonly kind: 'list';
  readonly element: Shape;
  readonly tag: string;
}

/** A member of a structure, with its three names: in TypeScript, in a request, in a response. */
export interface Member {
  readonly name: string;
  readonly queryName: string;
  readonly xmlName: string;
  readonly shape: Shape;
}

/** Any type of the wire. Structures may contain themselves. */
export type Shape = ScalarShape | ListShape | StructureShape;

/** Named members, of which the first `requiredCount` must be present in a request. */
export class StructureShape {
  readonly kind = 'structure';
  readonly members: readonly Member[];
  readonly requiredCount: number;
  #byName: ReadonlyMap<string, Member> | undefined;
  #byQueryName: ReadonlyMap<string, Member> | undefined;

  constructor(members: readonly Member[], requiredCount: number) {
    this.members = members;
    this.requiredCount = requiredCount;
  }

  /** Members by their TypeScript names. Built on first use: most structures are never asked. */
  get byName(): ReadonlyMap<string, Member> {
    this.#byName ??= new Map(this.members.map((member) => [member.name, member]));
    return this.#byName;
  }

  /** Members by their names in a request. */
  get byQueryName(): ReadonlyMap<string, Member> {
    this.#byQueryName ??= new Map(this.members.map((member) => [member.queryName, member]));
    return this.#byQueryName;
  }
}

/** The service that an action belongs to. They differ in how a response is wrapped. */
export type Service = 'ec2' | 'sts';

/** One action: what it takes and what it gives. Without `output` the answer is `<return>true</return>`. */
export interface Operation {
  readonly name: string;
  readonly service: Service;
  readonly input: StructureShape | undefined;
  readonly output: StructureShape | undefined;
}

/** Where a schema table came from, and the API version that it describes. */
export interface SchemaSource {
  readonly source: string;
  readonly version: string;
  /** The namespace of responses, up to the version. */
  readonly xmlns: string;
}

/** A scalar's letter, or the index of a shape. The empty string is no type at all. */
type TypeCode = string | number;
type MemberRow = readonly [name: string, type: TypeCode, queryName: string | 0, xmlName: string | 0];
type ShapeRow =
  | readonly [requiredCount: number, members: readonly MemberRow[]]
  | readonly [element: TypeCode, tag: string];

interface Table extends SchemaSource {
  readonly operations: readonly (readonly [name: string, input: TypeCode, output: TypeCode])[];
  readonly shapes: readonly ShapeRow[];
}

const scalars: Readonly<Record<string, ScalarShape>> = {
  s: { kind: 'scalar', scalar: 'string' },
  n: { kind: 'scalar', scalar: 'integer' },
  d: { kind: 'scalar', scalar: 'decimal' },
  b: { kind: 'scalar', scalar: 'boolean' },
  t: { kind: 'scalar', scalar: 'timestamp' },
  x: { kind: 'scalar', scalar: 'blob' },
};

/** One service's actions. A shape is built when it is first met: a process uses a few hundred of thousands. */
class ServiceSchema {
  readonly source: SchemaSource;
  readonly operations = new Map<string, Operation>();
  readonly #table: Table;
  readonly #shapes: (Shape | undefined)[];
  readonly #rows: ReadonlyMap<string, readonly [name: string, input: TypeCode, output: TypeCode]>;
  readonly #service: Service;

  constructor(service: Service) {
    this.#service = service;
    const file = new URL(`./schema/${service}.json`, import.meta.url);
    this.#table = JSON.parse(readFileSync(file, 'utf8'));
    this.#shapes = new Array(this.#table.shapes.length);
    this.#rows = new Map(this.#table.operations.map((row) => [row[0], row]));
    const { source, version, xmlns } = this.#table;
    this.source = { source, version, xmlns };
  }

  get actionNames(): readonly string[] {
    return [...this.#rows.keys()];
  }

  has(name: string): boolean {
    return this.#rows.has(name);
  }

  find(name: string): Operation | undefined {
    const known = this.operations.get(name);
    if (known !== undefined) return known;
    const row = this.#rows.get(name);
    if (row === undefined) return undefined;
    const operation = {
      name,
      service: this.#service,
      input: this.#structure(row[1]),
      output: this.#structure(row[2]),
    };
    this.operations.set(name, operation);
    return operation;
  }

  #structure(code: TypeCode): StructureShape | undefined {
    if (code === '') return undefined;
    const shape = this.#shape(code);
    return shape instanceof StructureShape ? shape : undefined;
  }

  #shape(code: TypeCode): Shape {
    if (typeof code === 'string') return this.#scalar(code);
    const known = this.#shapes[code];
    if (known !== undefined) return known;
    const row = this.#table.shapes[code];
    if (row === undefined) throw new RangeError(`the ${this.#service} schema has no shape ${code}`);
    const [first, second] = row;
    if (typeof second === 'string') return this.#list(code, first, second);
    const members = second.map((member) => this.#member(member));
    const shape = new StructureShape(members, typeof first === 'number' ? first : 0);
    this.#shapes[code] = shape;
    return shape;
  }

  #scalar(letter: string): ScalarShape {
    const scalar = scalars[letter];
    if (scalar === undefined)
      throw new RangeError(`the ${this.#service} schema has an unknown type '${letter}'`);
    return scalar;
  }

  /** The element is looked up on first use: this is where the recursion of a recursive shape ends. */
  #list(index: number, code: TypeCode, tag: string): ListShape {
    const resolve = () => this.#shape(code);
    let element: Shape | undefined;
    const shape: ListShape = {
      kind: 'list',
      tag,
      get element() {
        element ??= resolve();
        return element;
      },
    };
    this.#shapes[index] = shape;
    return shape;
  }

  #member([name, type, queryName, xmlName]: MemberRow): Member {
    return {
      name,
      queryName: queryName === 0 ? name : queryName,
      xmlName: xmlName === 0 ? name : xmlName,
      shape: this.#shape(type),
    };
  }
}

const loaded = new Map<Service, ServiceSchema>();

function schemaOf(service: Service): ServiceSchema {
  const known = loaded.get(service);
  if (known !== undefined) return known;
  const schema = new ServiceSchema(service);
  loaded.set(service, schema);
  return schema;
}

/** The action of that name, in either service. */
export function findOperation(name: string): Operation | undefined {
  return schemaOf('ec2').find(name) ?? schemaOf('sts').find(name);
}

/** Whether either service has an action of that name. */
export function hasOperation(name: string): boolean {
  return schemaOf('ec2').has(name) || schemaOf('sts').has(name);
}

/** The names of all actions of a service, in alphabetical order. */
export function actionNames(service: Service): readonly string[] {
  return schemaOf(service).actionNames;
}

/** Which SDK a service's table was made from, and for which API version. */
export function schemaSource(service: Service): SchemaSource {
  return schemaOf(service).source;
}
