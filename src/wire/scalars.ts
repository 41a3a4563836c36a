import { PandoError } from '#contracts/errors.ts';
import { wireLimits } from './limits.ts';
import type { Scalar } from './schema.ts';

/** A scalar as handlers see it. */
export type ScalarValue = string | number | boolean | Date | Uint8Array;

const integerText = /^-?\d{1,16}$/;
const decimalText = /^-?(\d{1,32}(\.\d{0,32})?|\.\d{1,32})(e[+-]?\d{1,3})?$/i;
const base64Text = /^[A-Za-z0-9+/]*={0,2}$/;
const timestampText = /^(\d{4}-\d\d-(\d\d))(?:T(\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(Z|[+-]\d\d:\d\d)?)?$/;

/**
 * A scalar from its text on the wire.
 *
 * @throws `InvalidParameterValue` that names `path`.
 */
export function parseScalar(scalar: Scalar, text: string, path: string): ScalarValue {
  if (text.length > wireLimits.valueCharsMax) throw tooLong(path);
  switch (scalar) {
    case 'string':
      return text;
    case 'integer':
      return parseNumber(integerText, text, path, 'an integer', Number.isSafeInteger);
    case 'decimal':
      return parseNumber(decimalText, text, path, 'a number', Number.isFinite);
    case 'boolean':
      return parseBoolean(text) ?? refuse(text, path, 'true or false');
    case 'timestamp':
      return parseTimestamp(text) ?? refuse(text, path, 'a time in ISO 8601 form');
    case 'blob':
      return parseBase64(text) ?? refuse(text, path, 'base64');
  }
}

/** As Java reads it, in whatever case: Python clients send `True`. */
function parseBoolean(text: string): boolean | undefined {
  const lower = text.length <= 'false'.length ? text.toLowerCase() : '';
  if (lower === 'true') return true;
  return lower === 'false' ? false : undefined;
}

function parseNumber(
  form: RegExp,
  text: string,
  path: string,
  expected: string,
  valid: (n: number) => boolean,
): number {
  const value = form.test(text) ? Number(text) : Number.NaN;
  if (!valid(value)) throw invalidValue(text, path, expected);
  // "-0" is a number that equals nothing a caller would compare it with.
  return value === 0 ? 0 : value;
}

/** A time from ISO 8601 text, in UTC where no zone is given; `undefined` if it is none. */
export function parseTimestamp(text: string): Date | undefined {
  const match = timestampText.exec(text);
  if (match === null) return undefined;
  const [, day, dayOfMonth, time = '00:00', zone = 'Z'] = match;
  // A date alone tells whether the day exists: `Date` would take February 30 for March 2.
  if (new Date(`${day}T00:00Z`).getUTCDate() !== Number(dayOfMonth)) return undefined;
  const date = new Date(`${day}T${time}${zone}`);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** Bytes from base64 text, which may be wrapped into lines; `undefined` if it is none. */
export function parseBase64(text: string): Uint8Array | undefined {
  const unwrapped = text.replaceAll(/[\r\n]+/g, '');
  if (unwrapped.length % 4 !== 0 || !base64Text.test(unwrapped)) return undefined;
  return new Uint8Array(Buffer.from(unwrapped, 'base64'));
}

function refuse(text: string, path: string, expected: string): never {
  throw invalidValue(text, path, expected);
}

/** Whether a parameter is user data, in an action of its own or inside others. */
export const isUserData = (path: string): boolean => /(?:^|\.)UserData(?:\.|$)/.test(path);

/** User data is the one value that people make too long: EC2 has words of its own for it. */
export const tooLong = (path: string): PandoError =>
  new PandoError(
    'InvalidParameterValue',
    isUserData(path)
      ? `User data is limited to ${wireLimits.userDataBytesMax} bytes`
      : `The value of parameter ${path.slice(0, wireLimits.parameterNameCharsMax)} is longer than ${wireLimits.valueCharsMax} characters.`,
  );

/** EC2's answer to a value that is not of its parameter's type. Long values are cut. */
export function invalidValue(value: string, path: string, expected: string): PandoError {
  const shown = value.length > 64 ? `${value.slice(0, 64)}…` : value;
  return new PandoError(
    'InvalidParameterValue',
    `Value (${shown}) for parameter ${path} is invalid. Expecting ${expected}.`,
  );
}
