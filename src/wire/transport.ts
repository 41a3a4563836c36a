import { PandoError } from '#contracts/errors.ts';
import { operationOf } from './actions.ts';
import { parseBase64, parseTimestamp } from './scalars.ts';
import type { Scalar, Shape, StructureShape } from './schema.ts';
import { atOnce, inTurns, SliceOfValues } from './slices.ts';
import type { KnownAction, WireInput } from './types.ts';

/**
 * An input as plain JSON values: times as ISO 8601 text, blobs as base64.
 *
 * @throws `InvalidParameterValue` or `UnknownParameter` if the input does not conform to the schema.
 */
export function toTransport(action: KnownAction, input: WireInput): WireInput {
  return atOnce(toTransportInSlices(action, input));
}

/** The same, which yields after each `sliceValues` values. @throws as {@link toTransport} */
export function toTransportInSlices(action: KnownAction, input: WireInput): Generator<undefined, WireInput> {
  return walkInput(operationOf(action).input, input, toJson);
}

/**
 * The input that {@link toTransport} made JSON of, checked against the schema again: the other side may speak
 * another version.
 *
 * @throws `InvalidParameterValue`, `UnknownParameter` or `MissingParameter`.
 */
export function reviveInput(action: KnownAction, json: unknown): WireInput {
  return atOnce(walkInput(operationOf(action).input, json, fromJson));
}

/** The same, with a turn for others after each `sliceValues` values. Rejects as {@link reviveInput} throws. */
export function reviveInputInTurns(action: KnownAction, json: unknown): Promise<WireInput> {
  return inTurns(walkInput(operationOf(action).input, json, fromJson));
}

type ScalarMap = (scalar: Scalar, value: unknown) => unknown;
type Walked<T> = Generator<undefined, T>;

function* walkInput(shape: StructureShape | undefined, value: unknown, map: ScalarMap): Walked<WireInput> {
  if (shape !== undefined) return yield* walkStructure(shape, value, '', { map, slice: new SliceOfValues() });
  if (isRecord(value) && Object.keys(value).length === 0) return {};
  throw new PandoError('UnknownParameter', 'The action has no parameters.');
}

interface Walk {
  readonly map: ScalarMap;
  readonly slice: SliceOfValues;
}

function* walk(shape: Shape, value: unknown, path: string, how: Walk): Walked<unknown> {
  if (how.slice.ends()) yield;
  switch (shape.kind) {
    case 'structure':
      return yield* walkStructure(shape, value, path, how);
    case 'list': {
      if (!Array.isArray(value)) throw wrongType(path);
      const items: unknown[] = [];
      for (const [i, item] of value.entries())
        items.push(yield* walk(shape.element, item, `${path}.${i + 1}`, how));
      return items;
    }
    case 'scalar': {
      const mapped = how.map(shape.scalar, value);
      if (mapped === undefined) throw wrongType(path);
      return mapped;
    }
  }
}

function* walkStructure(
  shape: StructureShape,
  value: unknown,
  path: string,
  how: Walk,
): Walked<Record<string, unknown>> {
  if (!isRecord(value)) throw wrongType(path);
  const prefix = path === '' ? '' : `${path}.`;
  const result: Record<string, unknown> = {};
  for (const [name, item] of Object.entries(value)) {
    const member = shape.byName.get(name);
    if (member === undefined)
      throw new PandoError('UnknownParameter', `The parameter ${prefix}${name} is not recognized`);
    if (item !== undefined && item !== null)
      result[name] = yield* walk(member.shape, item, prefix + name, how);
  }
  for (const member of shape.members.slice(0, shape.requiredCount)) {
    if (result[member.name] === undefined) {
      throw new PandoError(
        'MissingParameter',
        `The request must contain the parameter ${prefix}${member.name}`,
      );
    }
  }
  return result;
}

function toJson(scalar: Scalar, value: unknown): unknown {
  if (scalar === 'timestamp') return value instanceof Date ? value.toISOString() : undefined;
  if (scalar === 'blob')
    return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : undefined;
  return plain(scalar, value);
}

function fromJson(scalar: Scalar, value: unknown): unknown {
  if (scalar === 'timestamp') return typeof value === 'string' ? parseTimestamp(value) : undefined;
  if (scalar === 'blob') return typeof value === 'string' ? parseBase64(value) : undefined;
  return plain(scalar, value);
}

function plain(scalar: Scalar, value: unknown): unknown {
  switch (scalar) {
    case 'string':
      return typeof value === 'string' ? value : undefined;
    case 'boolean':
      return typeof value === 'boolean' ? value : undefined;
    case 'integer':
      return Number.isSafeInteger(value) ? value : undefined;
    default:
      return Number.isFinite(value) ? value : undefined;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrongType(path: string): PandoError {
  return new PandoError(
    'InvalidParameterValue',
    `The value of parameter ${path || 'input'} is not of its type.`,
  );
}
