/** Ids: one branded string type per kind, made and checked from one list. EC2's syntax: prefix, dash, 17 hex digits. */
import { randomBytes } from 'node:crypto';
import { PandoError } from './errors.ts';
import { type IdKind, type IdKindRules, idKinds } from './idKinds.ts';

export { type IdKind, type IdKindRules, idKinds } from './idKinds.ts';

type Brand<K extends string> = string & { readonly __kind: K };

export type Id<K extends IdKind> = Brand<K>;
export type InstanceId = Id<'instance'>;

const idHexDigits = 17;
/** Hex digits of an instance id (volume id, reservation id) that name its cell (S3.4): up to 4,095 cells. */
const cellHexDigits = 3;
export const cellNumberMax = 0xfff;

const hex = (digits: number): string =>
  randomBytes(Math.ceil(digits / 2))
    .toString('hex')
    .slice(0, digits);

/** A new random id of a region's resource. */
export const newId = <K extends IdKind>(kind: K): Id<K> =>
  `${idKinds[kind].prefix}-${hex(idHexDigits)}` as Id<K>;

/** A new id whose first digits name the cell that owns it (S3.4). */
export const newCellId = <K extends IdKind>(kind: K, cellNumber: number): Id<K> => {
  if (!Number.isInteger(cellNumber) || cellNumber < 0 || cellNumber > cellNumberMax)
    throw new RangeError(`cell number ${cellNumber} is outside 0..${cellNumberMax}`);
  const cell = cellNumber.toString(16).padStart(cellHexDigits, '0');
  return `${idKinds[kind].prefix}-${cell}${hex(idHexDigits - cellHexDigits)}` as Id<K>;
};

/** Whether `text` has the syntax of an id of this kind. */
export const isId = <K extends IdKind>(kind: K, text: string): text is Id<K> =>
  text.startsWith(`${idKinds[kind].prefix}-`) &&
  /^[0-9a-f]{17}$/.test(text.slice(idKinds[kind].prefix.length + 1));

/** An id of this kind as Pando makes them: what its own parts send one another. @throws EC2's `…Malformed` error */
export const exactId = <K extends IdKind>(kind: K, text: string): Id<K> => {
  if (isId(kind, text)) return text;
  throw malformedId(kind, text);
};

/**
 * An id as a client of the API wrote it. One that no resource of Pando has, but that may be one of this kind, is given back as it is: it
 * is looked for and not found. @throws EC2's `…Malformed` error
 */
export const parseId = (kind: IdKind, text: string): string => {
  const { prefix, malformed, digits }: IdKindRules = idKinds[kind];
  if (malformed === undefined) return text;
  const rest = text.startsWith(`${prefix}-`) ? text.slice(prefix.length + 1) : '';
  if (rest === '' || (digits && !/^[0-9a-f]{8}(?:[0-9a-f]{9})?$/.test(rest))) throw malformedId(kind, text);
  return text;
};

/**
 * The id of something that is to be tagged, whatever its kind: the one place where EC2 looks at the form of every id alike.
 *
 * @throws InvalidID
 */
export const checkTaggedId = (text: string): void => {
  if (text.length <= idCharsShownMax && /^(?:[a-z]+-)+[0-9a-f]{8}(?:[0-9a-f]{9})?$/.test(text)) return;
  throw invalidId(text);
};

/** EC2's error for the id of a thing that cannot be tagged. */
export const invalidId = (text: string): PandoError =>
  new PandoError('InvalidID', `The ID '${text.slice(0, idCharsShownMax)}' is not valid`);

/** EC2's error for ids of a kind that the account does not have; they are told in the order given. */
export const notFound = (kind: IdKind, ids: string | readonly string[]): PandoError => {
  const { notFound: code, missing }: IdKindRules = idKinds[kind];
  const given = typeof ids === 'string' ? [ids] : ids;
  const shown = given.slice(0, idsShownMax).map((id) => id.slice(0, idCharsShownMax));
  // A function: `$` in an id is no pattern.
  return new PandoError(
    code,
    missing[given.length > 1 ? 1 : 0].replace('@', () => shown.join(', ')),
  );
};

const idsShownMax = 10;
const idCharsShownMax = 64;

/** With the right beginning EC2 does not tell what it expects. */
const malformedId = (kind: IdKind, text: string): PandoError => {
  const { prefix, malformed, parameter, notFound: otherwise }: IdKindRules = idKinds[kind];
  const shown = text.slice(0, idCharsShownMax);
  const code = malformed ?? otherwise;
  if (parameter !== undefined)
    return new PandoError(
      code,
      `Value (${shown}) for parameter ${parameter} is invalid. Expected: '${prefix}-...'.`,
    );
  const expected = text.startsWith(`${prefix}-`) ? '' : ` (expecting "${prefix}-...")`;
  return new PandoError(code, `Invalid id: "${shown}"${expected}`);
};

/** The number of the cell that an instance (or other cell-owned) id names (S3.4). */
export const cellNumberOf = (id: string): number =>
  Number.parseInt(id.slice(id.lastIndexOf('-') + 1).slice(0, cellHexDigits), 16);

/** The snapshot that an image's root device is made of: an id of the image's own, since an image has no other disk. */
export const snapshotIdOf = (imageId: string): Id<'snapshot'> =>
  `${idKinds.snapshot.prefix}-${imageId.slice(imageId.indexOf('-') + 1)}` as Id<'snapshot'>;
