import { PandoError } from '#contracts/errors.ts';
import { operationOf } from './actions.ts';
import { parseBase64, parseTimestamp } from './scalars.ts';
import type { Scalar, Shape, StructureShape } from './schema.ts';
import type { KnownAction, WireInput } from './types.ts';

/**
 * An input as plain JSON values: times as ISO 8601 text, blobs as base64.
 *
 * @throws `InvalidParameterValue` or `UnknownParameter` if the input does not conform to the schema.
 */
export function toTransport(action: KnownAction, input: WireInput): WireInput {
  return walkInput(operationOf(action).input, input, toJson);
}

/**
 * The input that {@link toTransport} made JSON of, checked against the schema again: the other side may speak
 * another version.
 *
 * @throws `InvalidParameterValue`, `UnknownParameter` or `MissingParameter`.
 */
export function reviveInput(action: KnownAction, json: unknown): WireInput {
  return walkInput(operationOf(action).input, json, fromJson);
}

type ScalarMap = (scalar: Scalar, value: unknown) => unknown;

function walkInput(shape: StructureShape | undefined, value: unknown, map: ScalarMap): WireInput {
  if (shape !== undefined) return walkStructure(shape, value, '', map);
  if (isRecord(value) && Object.keys(value).length === 0) return {};
  throw new PandoError('UnknownParameter', 'The action has no parameters.');
}

function walk(shape: Shape, value: unknown, path: string, map: ScalarMap): unknown {
  switch (shape.kind) {
    case 'structure':
      return walkStructure(shape, value, path, map);
    case 'list':
      if (!Array.isArray(value)) throw wrongType(path);
      return value.map((item, i) => walk(shape.element, item, `${path}.${i + 1}`, map));
    case 'scalar': {
      const mapped = map(shape.scalar, value);
      if (mapped === undefined) throw wrongType(path);
      return mapped;
    }
  }
}

function walkStructure(shape: StructureShape, value: unknown, path: string, map: ScalarMap): WireInput {
  if (!isRecord(value)) throw wrongType(path);
  const prefix = path === '' ? '' : `${path}.`;
  const result: Record<string, unknown> = {};
  for (const [name, item] of Object.entries(value)) {
    const member = shape.byName.get(name);
    if (member === undefined)
      throw new PandoError('UnknownParameter', `The parameter ${prefix}${name} is not recognized`);
    if (item !== undefined && item !== null) result[name] = walk(member.shape, item, prefix + name, map);
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
