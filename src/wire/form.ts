import { PandoError } from '#contracts/errors.ts';
import { wireLimits } from './limits.ts';
import { decodeFormBytes, decodeFormText } from './percent.ts';
import { isUserData, tooLong } from './scalars.ts';
import { atOnce } from './slices.ts';

/** A parameter and what is below it: `Filter.1.Name=x` is `Filter` → `1` → `Name` with the value `x`. */
export interface ParameterNode {
  readonly value: string | undefined;
  readonly children: ReadonlyMap<string, ParameterNode>;
}

/** A request's form as a tree. Maps, not objects, so that a name such as `__proto__` is only a name. */
export interface ParameterForm {
  /** Values of names without a dot that belong to the request itself, such as `Action`. */
  readonly envelope: ReadonlyMap<string, string>;
  readonly parameters: ParameterNode;
}

/** How much of a long form is read between two turns that others have. */
export const formSliceBytes = 16 * 1024;
/** The same in parameters: a short one costs its handling, not its bytes. */
export const formSlicePairs = 128;

const [ampersandByte, equalsByte] = [0x26, 0x3d];

/** Names about the request and its signature; no action has a parameter of these names. */
const envelopeNames: ReadonlySet<string> = new Set([
  'Action',
  'Version',
  'AWSAccessKeyId',
  'Signature',
  'SignatureMethod',
  'SignatureVersion',
  'SecurityToken',
  'Timestamp',
  'Expires',
]);

/**
 * Reads a form (`a=1&b.1=2`).
 *
 * @throws `RequestEntityTooLarge`, `MalformedQueryString` or `InvalidParameterValue`.
 */
export function parseForm(form: URLSearchParams | string): ParameterForm {
  const read = new FormBeingRead();
  if (typeof form === 'string') atOnce(readText(form, read));
  else for (const [name, value] of form) read.add(name, value);
  return read;
}

/**
 * Reads a form of UTF-8 text as {@link parseForm} does, and yields after each `formSliceBytes` or `formSlicePairs` of it, so that others
 * have a turn.
 *
 * @param query pairs of the URL, before those of the body.
 * @throws as {@link parseForm}.
 */
export function* parseFormInSlices(query: string, body: Buffer): Generator<undefined, ParameterForm> {
  const read = new FormBeingRead();
  yield* readText(query, read);
  yield* readBytes(body, read);
  return read;
}

/** A node while its form is read. */
interface NodeBeingRead {
  value: string | undefined;
  children: Map<string, NodeBeingRead>;
}

/** Of every node that has a value and nothing below it, which are most: a map for each would be the greater part of a form's memory. */
const noChildren: Map<string, NodeBeingRead> = new Map();

class FormBeingRead implements ParameterForm {
  readonly envelope = new Map<string, string>();
  readonly parameters: NodeBeingRead = { value: undefined, children: new Map() };
  #count = 0;
  #chars = 0;
  #valueChars = 0;

  add(name: string, value: string): void {
    this.#chars += name.length + value.length;
    this.#valueChars += value.length;
    if (this.#chars > wireLimits.formBytesMax) throw tooLarge();
    if (this.#valueChars > wireLimits.allValuesCharsMax) throw valuesTooLarge();
    if (++this.#count > wireLimits.parametersMax) throw tooMany('parameters', wireLimits.parametersMax);
    if (envelopeNames.has(name)) {
      if (this.envelope.has(name)) throw duplicate(name);
      this.envelope.set(name, value);
    } else if (!/^X-Amz-/i.test(name)) {
      insert(this.parameters, name, value);
    }
  }
}

/** Nine characters are the most that one UTF-16 unit takes when it is percent-encoded. */
const encodedCharsMax = 9;
/** A text of so many bytes has more characters than a name may, also encoded. */
const nameBytesMax = 4 * (encodedCharsMax * wireLimits.parameterNameCharsMax + 1);
/** User data is base64, whose characters take three. Twice its bytes: also when it is in lines. */
const userDataRawCharsMax = 3 * 2 * wireLimits.userDataBytesMax;

/** A value of more characters need not be read to know that it is too long. */
const valueRawCharsMax = (name: string): number =>
  isUserData(name) ? userDataRawCharsMax : encodedCharsMax * wireLimits.valueCharsMax;

/**
 * A form of more parameters than there may be is refused before the first of them is read: reading that many is the greater part of what
 * it costs. Nothing between two ampersands is no parameter; a form with much of that is left to the reading. @throws InvalidParameterValue
 */
function countPairs(form: Buffer | string): void {
  let [at, pairs, skipped] = [0, 0, 0];
  while (skipped < formSliceBytes) {
    const end = typeof form === 'string' ? form.indexOf('&', at) : form.indexOf(ampersandByte, at);
    if (end === at) skipped += 1;
    else if (at < form.length) pairs += 1;
    if (pairs > wireLimits.parametersMax) throw tooMany('parameters', wireLimits.parametersMax);
    if (end === -1) return;
    at = end + 1;
  }
}

/** Short pairs are read in a plain loop: a generator for each would cost more than the reading. */
function* readText(form: string, into: FormBeingRead): Generator<undefined, void> {
  if (form.length > wireLimits.formBytesMax) throw tooLarge();
  countPairs(form);
  let start = 0;
  while (start < form.length) {
    const ampersand = form.indexOf('&', start);
    const end = ampersand === -1 ? form.length : ampersand;
    // A long one is read in slices, and so that both ways refuse it alike.
    if (end - start > formSliceBytes) yield* readLongPair(Buffer.from(form.slice(start, end)), into);
    else if (end > start) readTextPair(form.slice(start, end), into);
    start = end + 1;
  }
}

function readTextPair(pair: string, into: FormBeingRead): void {
  const equals = pair.indexOf('=');
  const name = decodeName(equals === -1 ? pair : pair.slice(0, equals));
  into.add(name, equals === -1 ? '' : decodeText(pair.slice(equals + 1)));
}

/** @throws InvalidParameterValue where it need not be read to know that it is too long. */
function decodeName(text: string): string {
  if (text.length > encodedCharsMax * wireLimits.parameterNameCharsMax) throw nameTooLong();
  return decodeText(text);
}

function* readBytes(form: Buffer, into: FormBeingRead): Generator<undefined, void> {
  if (form.length > wireLimits.formBytesMax) throw tooLarge();
  countPairs(form);
  let at = 0;
  while (at < form.length) {
    const next = readSlice(form, at, into);
    if (next > at) at = next;
    else {
      // What begins here is longer than a slice.
      const end = pairEnd(form, at);
      yield* readLongPair(form.subarray(at, end), into);
      at = end + 1;
    }
    if (at < form.length) yield;
  }
}

/**
 * A loop of its own, without a `yield` in it: the engine compiles those of generators late or not at all. Reads at most `formSliceBytes` and
 * `formSlicePairs`, and tells where the rest begins: at `start` where nothing but a pair that is longer does.
 */
function readSlice(form: Buffer, start: number, into: FormBeingRead): number {
  const sliceEnd = start + formSliceBytes;
  let at = start;
  for (let pairs = 0; pairs < formSlicePairs; pairs += 1) {
    // A run of them holds nothing, and is passed without a search for each.
    while (at < sliceEnd && form[at] === ampersandByte) at += 1;
    if (at >= sliceEnd || at >= form.length) return at;
    const end = pairEnd(form, at);
    // It would end in another slice.
    if (end > sliceEnd) return at;
    readShortPair(form, at, end, into);
    at = end + 1;
  }
  return at;
}

function pairEnd(form: Buffer, start: number): number {
  const ampersand = form.indexOf(ampersandByte, start);
  return ampersand === -1 ? form.length : ampersand;
}

/** Makes nothing but the two texts: whatever else it made, so many times, would have to be collected again. */
function readShortPair(form: Buffer, start: number, end: number, into: FormBeingRead): void {
  const equals = equalsIn(form, start, end);
  const name = nameIn(form, start, equals);
  if (end - equals - 1 > valueRawCharsMax(name)) throw tooLong(name);
  into.add(name, equals === end ? '' : decodeText(form.toString('utf8', equals + 1, end)));
}

/** Where the name of a pair ends. */
function equalsIn(form: Buffer, start: number, end: number): number {
  for (let at = start; at < end; at += 1) if (form[at] === equalsByte) return at;
  return end;
}

/** More bytes than the longest name has are as good as all of them, and are not made text of. */
function nameIn(form: Buffer, start: number, end: number): string {
  return decodeName(form.toString('utf8', start, Math.min(end, start + nameBytesMax)));
}

function* readLongPair(pair: Buffer, into: FormBeingRead): Generator<undefined, void> {
  const equals = pair.indexOf(equalsByte);
  const name = nameIn(pair, 0, equals === -1 ? pair.length : equals);
  if (equals === -1) return into.add(name, '');
  const value = pair.subarray(equals + 1);
  if (value.length > valueRawCharsMax(name)) throw tooLong(name);
  const decoded = yield* malformedFor(
    decodeFormBytes(value, formSliceBytes, utf8BytesPerChar * wireLimits.valueCharsMax),
  );
  if (decoded === undefined) throw tooLong(name);
  yield;
  into.add(name, decoded);
}

/** The most bytes that one UTF-16 unit takes in UTF-8. */
const utf8BytesPerChar = 3;

function* malformedFor<T>(work: Generator<undefined, T>): Generator<undefined, T> {
  try {
    return yield* work;
  } catch (cause) {
    throw malformed(cause);
  }
}

function decodeText(text: string): string {
  try {
    return decodeFormText(text);
  } catch (cause) {
    throw malformed(cause);
  }
}

function malformed(cause: unknown): PandoError {
  return new PandoError('MalformedQueryString', 'The request has a percent escape that is not UTF-8 text.', {
    cause,
  });
}

function insert(root: NodeBeingRead, name: string, value: string): void {
  if (name.length > wireLimits.parameterNameCharsMax) throw nameTooLong();
  // No store holds it as text, and no text of EC2's has it.
  if (value.includes('\u0000') || name.includes('\u0000'))
    throw new PandoError(
      'InvalidParameterValue',
      'A parameter holds the character U+0000, which is not allowed.',
    );
  const segments = name.split('.');
  if (segments.length > wireLimits.nameSegmentsMax) {
    throw new PandoError('UnknownParameter', `The parameter ${name} is nested too deep.`);
  }
  let node = root;
  for (const segment of segments) node = child(node, segment);
  if (node.value !== undefined) throw duplicate(name);
  node.value = value;
}

function child(node: NodeBeingRead, segment: string): NodeBeingRead {
  const known = node.children.get(segment);
  if (known !== undefined) return known;
  const made: NodeBeingRead = { value: undefined, children: noChildren };
  if (node.children === noChildren) node.children = new Map();
  node.children.set(segment, made);
  return made;
}

function tooLarge(): PandoError {
  return new PandoError(
    'RequestEntityTooLarge',
    `The request is larger than ${wireLimits.formBytesMax} bytes.`,
  );
}

function valuesTooLarge(): PandoError {
  return new PandoError(
    'RequestEntityTooLarge',
    `The values of the request are longer than ${wireLimits.allValuesCharsMax} characters together.`,
  );
}

function nameTooLong(): PandoError {
  return new PandoError(
    'InvalidParameterValue',
    `A parameter's name is longer than ${wireLimits.parameterNameCharsMax} characters.`,
  );
}

function duplicate(name: string): PandoError {
  return new PandoError('InvalidParameterValue', `The parameter ${name} was given more than once.`);
}

/** More of something than a request may have. */
export function tooMany(what: string, max: number): PandoError {
  return new PandoError('InvalidParameterValue', `The request has more than ${max} ${what}.`);
}
