import { PandoError } from '#contracts/errors.ts';
import { wireLimits } from './limits.ts';
import { decodeFormText } from './percent.ts';
import { tooLong } from './scalars.ts';

/** A parameter and what is below it: `Filter.1.Name=x` is `Filter` → `1` → `Name` with the value `x`. */
export interface ParameterNode {
  value: string | undefined;
  readonly children: Map<string, ParameterNode>;
}

/** A request's form as a tree. Maps, not objects, so that a name such as `__proto__` is only a name. */
export interface ParameterForm {
  /** Values of names without a dot that belong to the request itself, such as `Action`. */
  readonly envelope: ReadonlyMap<string, string>;
  readonly parameters: ParameterNode;
}

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
  const envelope = new Map<string, string>();
  const parameters: ParameterNode = { value: undefined, children: new Map() };
  let count = 0;
  let chars = 0;
  for (const [name, value] of typeof form === 'string' ? textPairs(form) : form) {
    chars += name.length + value.length;
    if (chars > wireLimits.formBytesMax) throw tooLarge();
    if (++count > wireLimits.parametersMax) throw tooMany('parameters', wireLimits.parametersMax);
    if (envelopeNames.has(name)) {
      if (envelope.has(name)) throw duplicate(name);
      envelope.set(name, value);
    } else if (!/^X-Amz-/i.test(name)) {
      insert(parameters, name, value);
    }
  }
  return { envelope, parameters };
}

/** Nine characters are the most that one UTF-16 unit takes when it is percent-encoded. */
const valueRawCharsMax = 9 * wireLimits.valueCharsMax;

function* textPairs(form: string): Generator<readonly [string, string]> {
  if (form.length > wireLimits.formBytesMax) throw tooLarge();
  let start = 0;
  while (start < form.length) {
    const ampersand = form.indexOf('&', start);
    const end = ampersand === -1 ? form.length : ampersand;
    if (end > start) yield textPair(form.slice(start, end));
    start = end + 1;
  }
}

function textPair(pair: string): readonly [string, string] {
  const equals = pair.indexOf('=');
  if (equals === -1) return [decodeText(pair), ''];
  const name = decodeText(pair.slice(0, equals));
  // Its characters need not be read to know that there are too many of them.
  if (pair.length - equals > valueRawCharsMax) throw tooLong(name);
  return [name, decodeText(pair.slice(equals + 1))];
}

function decodeText(text: string): string {
  try {
    return decodeFormText(text);
  } catch (cause) {
    throw new PandoError('MalformedQueryString', 'The request has a percent escape that is not UTF-8 text.', {
      cause,
    });
  }
}

function insert(root: ParameterNode, name: string, value: string): void {
  if (name.length > wireLimits.parameterNameCharsMax) {
    throw new PandoError(
      'InvalidParameterValue',
      `A parameter's name is longer than ${wireLimits.parameterNameCharsMax} characters.`,
    );
  }
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

function child(node: ParameterNode, segment: string): ParameterNode {
  const known = node.children.get(segment);
  if (known !== undefined) return known;
  const made: ParameterNode = { value: undefined, children: new Map() };
  node.children.set(segment, made);
  return made;
}

function tooLarge(): PandoError {
  return new PandoError(
    'RequestEntityTooLarge',
    `The request is larger than ${wireLimits.formBytesMax} bytes.`,
  );
}

function duplicate(name: string): PandoError {
  return new PandoError('InvalidParameterValue', `The parameter ${name} was given more than once.`);
}

/** More of something than a request may have. */
export function tooMany(what: string, max: number): PandoError {
  return new PandoError('InvalidParameterValue', `The request has more than ${max} ${what}.`);
}
