/** JSON in pieces: a value that is sent to many, or inside several messages, is turned into text once. */

/** JSON text as UTF-8. */
export interface Json {
  readonly pieces: readonly Buffer[];
  readonly bytes: number;
}

/** `undefined`: to be encoded with the first message that has it. */
const encodings = new WeakMap<object, Buffer | undefined>();

/** How deep inside a message such a value is looked for: `{ p: { params: { state } } }`. */
const depthMax = 4;

/** Has this object's JSON made once, however many messages it is part of. It must not change from now on. */
export const encodeOnce = <T extends object>(value: T): T => {
  if (!encodings.has(value)) encodings.set(value, undefined);
  return value;
};

/** Whether something inside is encoded apart. Asked of every message, so nothing is made on the way. */
const hasApart = (value: unknown, depth: number): boolean => {
  if (typeof value !== 'object' || value === null) return false;
  if (encodings.has(value)) return true;
  if (Array.isArray(value)) return value.length > 0 && hasApart(value[0], 0);
  if (depth === 0 || Object.getPrototypeOf(value) !== Object.prototype) return false;
  for (const member of Object.values(value)) if (hasApart(member, depth - 1)) return true;
  return false;
};

/** The JSON as one text; undefined where something inside is encoded apart. Throws what `JSON.stringify` throws. */
export const wholeText = (value: unknown): string | undefined =>
  hasApart(value, depthMax) ? undefined : JSON.stringify(value);

/** JSON of a value, as `JSON.stringify` makes it. Throws what that throws. */
export const toJson = (value: unknown): Json => {
  const pieces = piecesOf(value, depthMax) ?? [Buffer.from(JSON.stringify(value))];
  return { pieces, bytes: pieces.reduce((sum, piece) => sum + piece.length, 0) };
};

/** undefined: there is nothing inside that is encoded apart. */
const piecesOf = (value: unknown, depth: number): Buffer[] | undefined => {
  if (typeof value !== 'object' || value === null) return undefined;
  if (encodings.has(value)) return [encodingOf(value)];
  if (Array.isArray(value)) return piecesOfArray(value);
  return piecesOfMembers(value, depth);
};

const piecesOfMembers = (value: object, depth: number): Buffer[] | undefined => {
  if (depth === 0 || Object.getPrototypeOf(value) !== Object.prototype) return undefined;
  // It says itself what its JSON is.
  if ('toJSON' in value) return undefined;
  const members = Object.entries(value).map(([key, member]) => ({
    key,
    member,
    inner: piecesOf(member, depth - 1),
  }));
  if (members.every(({ inner }) => inner === undefined)) return undefined;
  const pieces: Buffer[] = [];
  let opening = '{';
  for (const { key, member, inner } of members) {
    const text = inner === undefined ? JSON.stringify(member) : '';
    // What JSON cannot say (undefined, a function) is left out, as it would be.
    if (text === undefined) continue;
    pieces.push(Buffer.from(`${opening}${JSON.stringify(key)}:${text}`), ...(inner ?? []));
    opening = ',';
  }
  pieces.push(Buffer.from('}'));
  return pieces;
};

/** Only of an array of nothing but such values: it is looked at no further than its first member otherwise. */
const piecesOfArray = (values: readonly unknown[]): Buffer[] | undefined => {
  const isApart = (value: unknown): value is object =>
    typeof value === 'object' && value !== null && encodings.has(value);
  if (!isApart(values[0]) || !values.every(isApart)) return undefined;
  return [...values.flatMap((value, at) => [at === 0 ? opens : comma, encodingOf(value)]), closes];
};
const [opens, comma, closes] = [Buffer.from('['), Buffer.from(','), Buffer.from(']')];

const encodingOf = (value: object): Buffer => {
  const known = encodings.get(value);
  if (known !== undefined) return known;
  const pieces = piecesOfMembers(value, depthMax);
  const made = pieces === undefined ? Buffer.from(JSON.stringify(value)) : Buffer.concat(pieces);
  encodings.set(value, made);
  return made;
};
