import { PandoError } from '#contracts/errors.ts';
import { isKnownAction } from './actions.ts';
import { checkFilterLimits } from './filters.ts';
import { type ParameterForm, type ParameterNode, parseForm, tooMany } from './form.ts';
import { wireLimits } from './limits.ts';
import { invalidValue, parseScalar } from './scalars.ts';
import { findOperation, type ListShape, type Shape, type StructureShape } from './schema.ts';
import { atOnce, SliceOfValues } from './slices.ts';
import type { KnownAction, WireInput } from './types.ts';

/** A request that conforms to the schema. */
export interface DecodedRequest {
  readonly action: KnownAction;
  /** The API version that the client speaks, `YYYY-MM-DD`: the response's namespace echoes it. */
  readonly version: string;
  readonly input: WireInput;
}

/**
 * Decodes a Query request. Names that the action does not have are errors, as are missing and malformed ones.
 *
 * @throws `InvalidAction`, `MissingParameter`, `UnknownParameter`, `InvalidParameterValue`, `FilterLimitExceeded`,
 * `NoSuchVersion`, `MalformedQueryString` or `RequestEntityTooLarge`; nothing else.
 */
export function decodeRequest(form: URLSearchParams | string): DecodedRequest {
  return decodeForm(parseForm(form));
}

/** The same of a form that has been read. @throws as {@link decodeRequest} */
export function decodeForm(form: ParameterForm): DecodedRequest {
  return atOnce(decodeFormInSlices(form));
}

/** The same, which yields after each `sliceValues` values. @throws as {@link decodeRequest} */
export function* decodeFormInSlices({
  envelope,
  parameters,
}: ParameterForm): Generator<undefined, DecodedRequest> {
  const action = envelope.get('Action');
  if (action === undefined || action === '') {
    throw new PandoError('MissingAction', 'The request must contain the parameter Action.');
  }
  const version = envelope.get('Version');
  if (version === undefined || version === '') throw missing('Version');
  if (!/^\d{4}-\d\d-\d\d$/.test(version)) {
    throw new PandoError('NoSuchVersion', 'The parameter Version must be a date such as 2016-11-15.');
  }
  const operation = isKnownAction(action) ? findOperation(action) : undefined;
  if (operation === undefined || !isKnownAction(action)) {
    throw new PandoError(
      'InvalidAction',
      `The action ${action.slice(0, 128)} is not valid for this web service.`,
    );
  }
  const input = yield* decodeInput(operation.input, parameters);
  // Refused before it is sent on, as what is over a limit that holds for every action.
  if (Array.isArray(input.Filters)) checkFilterLimits(input.Filters);
  return { action, version, input };
}

type Decoded<T> = Generator<undefined, T>;

function* decodeInput(shape: StructureShape | undefined, parameters: ParameterNode): Decoded<WireInput> {
  if (shape !== undefined) return yield* decodeStructure(shape, parameters, '', new SliceOfValues());
  for (const name of parameters.children.keys()) throw unknown(name);
  return {};
}

function* decodeNode(
  shape: Shape,
  node: ParameterNode,
  path: string,
  slice: SliceOfValues,
): Decoded<unknown> {
  if (slice.ends()) yield;
  switch (shape.kind) {
    case 'structure':
      if (node.value) throw invalidValue(node.value, path, 'a structure');
      return yield* decodeStructure(shape, node, path, slice);
    case 'list':
      return yield* decodeList(shape, node, path, slice);
    case 'scalar':
      for (const name of node.children.keys()) throw unknown(`${path}.${name}`);
      return parseScalar(shape.scalar, node.value ?? '', path);
  }
}

function* decodeStructure(
  shape: StructureShape,
  node: ParameterNode,
  path: string,
  slice: SliceOfValues,
): Decoded<WireInput> {
  const prefix = path === '' ? '' : `${path}.`;
  const result: Record<string, unknown> = {};
  for (const [queryName, child] of node.children) {
    const member = shape.byQueryName.get(queryName);
    if (member === undefined) throw unknown(prefix + queryName);
    result[member.name] = yield* decodeNode(member.shape, child, prefix + queryName, slice);
  }
  for (let i = 0; i < shape.requiredCount; i++) {
    const member = shape.members[i];
    if (member === undefined || result[member.name] !== undefined) continue;
    // EC2 has words of its own for an empty list of instances, which is none at all on the wire.
    if (member.name === 'InstanceIds') throw noInstances();
    throw missing(prefix + member.queryName);
  }
  return result;
}

/**
 * Indexes order a list; gaps between them are closed, as EC2 does. Memory follows the number of items, never
 * the greatest index. `Name=` alone is an empty list.
 */
function* decodeList(
  shape: ListShape,
  node: ParameterNode,
  path: string,
  slice: SliceOfValues,
): Decoded<readonly unknown[]> {
  if (node.value) throw invalidValue(node.value, path, `a list such as ${path}.1`);
  if (node.children.size > wireLimits.listItemsMax)
    throw tooMany(`items in ${path}`, wireLimits.listItemsMax);
  const items = [...node.children]
    .map(([name, child]) => ({ index: listIndex(name, path), child }))
    .sort((a, b) => a.index - b.index);
  const decoded: unknown[] = [];
  for (const { index, child } of items)
    decoded.push(yield* decodeNode(shape.element, child, `${path}.${index}`, slice));
  return decoded;
}

function listIndex(name: string, path: string): number {
  if (!/^(0|[1-9]\d{0,8})$/.test(name)) throw unknown(`${path}.${name}`);
  return Number(name);
}

function noInstances(): PandoError {
  return new PandoError('InvalidParameterCombination', 'No instances specified');
}

function unknown(path: string): PandoError {
  return new PandoError('UnknownParameter', `The parameter ${path} is not recognized`);
}

function missing(path: string): PandoError {
  return new PandoError('MissingParameter', `The request must contain the parameter ${path}`);
}
