import { PandoError } from '#contracts/errors.ts';
import { operationOf } from './actions.ts';
import { parseTimestamp } from './scalars.ts';
import {
  type ListShape,
  type Member,
  type Operation,
  type Scalar,
  type Shape,
  type StructureShape,
  schemaSource,
} from './schema.ts';
import type { KnownAction } from './types.ts';
import { escapeXml, textElement, xmlDeclaration } from './xml.ts';

/** Items of a top-level list between two parts of a response: about a millisecond of work. */
const itemsPerPart = 50;

/**
 * A response as XML. An empty list is an empty element (but most resources' `tagSet`, which is left out), an absent member is no element, members that the
 * schema does not have are left out. Times may be `Date` or ISO 8601 text, blobs bytes or base64.
 *
 * @param version the request's API version, echoed in the namespace.
 * @throws `InternalError` if a value is not of its schema's type.
 */
export function encodeResponse(
  action: KnownAction,
  output: object,
  requestId: string,
  version?: string,
): string {
  let text = '';
  for (const part of encodeResponseParts(action, output, requestId, version)) text += part;
  return text;
}

/** {@link encodeResponse} in parts, so that a page of a thousand instances need not block other requests. */
export function* encodeResponseParts(
  action: KnownAction,
  output: object,
  requestId: string,
  version?: string,
): Generator<string, void, undefined> {
  const operation = operationOf(action);
  const { xmlns, version: ownVersion } = schemaSource(operation.service);
  const namespace = escapeXml(`${xmlns}${version ?? ownVersion}/`);
  yield `${xmlDeclaration}<${action}Response xmlns="${namespace}">${opening(operation, requestId)}`;
  if (operation.output === undefined) yield operation.service === 'ec2' ? '<return>true</return>' : '';
  else yield* structureParts(operation.output, output);
  yield `${closing(operation, requestId)}</${action}Response>`;
}

function opening(operation: Operation, requestId: string): string {
  return operation.service === 'ec2' ? textElement('requestId', requestId) : `<${operation.name}Result>`;
}

function closing(operation: Operation, requestId: string): string {
  if (operation.service === 'ec2') return '';
  return `</${operation.name}Result><ResponseMetadata>${textElement('RequestId', requestId)}</ResponseMetadata>`;
}

function* structureParts(shape: StructureShape, output: object): Generator<string, void, undefined> {
  if (!isStructure(output)) return refuse('output', 'structure');
  for (const member of writersOf(shape)) {
    const value = output[member.name];
    if (member.shape.kind === 'list' && Array.isArray(value) && value.length > 0) {
      yield member.opening;
      for (let i = 0; i < value.length; i += itemsPerPart)
        yield items(member.shape, value.slice(i, i + itemsPerPart));
      yield member.closing;
    } else {
      const text = memberElement(member, value);
      if (text !== '') yield text;
    }
  }
}

/** A member with what never changes of its element. */
interface MemberWriter {
  readonly name: string;
  readonly shape: Shape;
  readonly opening: string;
  readonly closing: string;
  readonly empty: string;
  /** Whether EC2 leaves it out where it is an empty list. */
  readonly onlyTags: boolean;
}

/** Made when a structure is first written: most of the schema's never are. */
const writers = new WeakMap<StructureShape, readonly MemberWriter[]>();

const writersOf = (shape: StructureShape): readonly MemberWriter[] => {
  const known = writers.get(shape);
  if (known !== undefined) return known;
  const made = shape.members.map((member) => ({
    name: member.name,
    shape: member.shape,
    opening: `<${member.xmlName}>`,
    closing: `</${member.xmlName}>`,
    empty: `<${member.xmlName}/>`,
    onlyTags: isLeftOutEmpty(shape, member),
  }));
  writers.set(shape, made);
  return made;
};

function memberElement(member: MemberWriter, value: unknown): string {
  if (value === undefined || value === null) return '';
  if (member.onlyTags && Array.isArray(value) && value.length === 0) return '';
  const inner = content(member.shape, value, member.name);
  return inner === '' ? member.empty : member.opening + inner + member.closing;
}

/**
 * Members by which the resources are known whose list of tags EC2 sends even when it is empty: route table, network ACL, internet
 * gateway, DHCP options, key pair, network interface and rule of a security group.
 * The answers in `aws ec2 describe-… help` show it of all but gateways and DHCP options; of those two Ansible's modules read it unasked.
 */
const listsNoTags = [
  'PropagatingVgws',
  'Entries',
  'InternetGatewayId',
  'DhcpConfigurations',
  'PublicKey',
  'TagSet',
  'SecurityGroupRuleId',
] as const;

/** EC2 leaves other resources' list of tags out where there are none, unlike every other list: users of its SDKs rely on it. */
const isLeftOutEmpty = (owner: StructureShape, { xmlName, shape }: Member): boolean =>
  xmlName === 'tagSet' && isTagList(shape) && !listsNoTags.some((name) => owner.byName.has(name));

/** DescribeTags has a list of this name too: what it lists says whose each tag is. */
const isTagList = (shape: Shape): boolean =>
  shape.kind === 'list' && shape.element.kind === 'structure' && shape.element.members.length === 2;

function element(name: string, inner: string): string {
  return inner === '' ? `<${name}/>` : `<${name}>${inner}</${name}>`;
}

function content(shape: Shape, value: unknown, name: string): string {
  switch (shape.kind) {
    case 'scalar':
      return scalarText(shape.scalar, value) ?? refuse(name, shape.scalar);
    case 'list':
      return Array.isArray(value) ? items(shape, value) : refuse(name, 'list');
    case 'structure':
      return isStructure(value) ? members(shape, value) : refuse(name, 'structure');
  }
}

function members(shape: StructureShape, value: Readonly<Record<string, unknown>>): string {
  let text = '';
  for (const member of writersOf(shape)) text += memberElement(member, value[member.name]);
  return text;
}

const isStructure = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

function items(shape: ListShape, values: readonly unknown[]): string {
  let text = '';
  for (const value of values) {
    if (value !== undefined && value !== null)
      text += element(shape.tag, content(shape.element, value, shape.tag));
  }
  return text;
}

function scalarText(scalar: Scalar, value: unknown): string | undefined {
  switch (scalar) {
    case 'string':
      return typeof value === 'string' ? escapeXml(value) : undefined;
    case 'integer':
    case 'decimal':
      return Number.isFinite(value) ? String(value) : undefined;
    case 'boolean':
      return typeof value === 'boolean' ? String(value) : undefined;
    case 'timestamp':
      return timestampText(value);
    case 'blob':
      if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
      return typeof value === 'string' ? escapeXml(value) : undefined;
  }
}

function timestampText(value: unknown): string | undefined {
  const date = typeof value === 'string' ? parseTimestamp(value) : value;
  return date instanceof Date && !Number.isNaN(date.getTime()) ? date.toISOString() : undefined;
}

function refuse(name: string, expected: string): never {
  throw PandoError.from(new TypeError(`the response's ${name} is not of type ${expected}`));
}
