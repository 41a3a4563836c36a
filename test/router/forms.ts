/** Inputs as forms, by the schema: what a client that knows no type would send. */
import type { ScalarShape, Shape, StructureShape } from '#wire/schema.ts';

/** Writes an input as a client's form. */
export const writeForm = (shape: Shape, value: unknown, path: string, into: URLSearchParams): void => {
  if (shape.kind === 'list') {
    if (Array.isArray(value))
      value.forEach((item, i) => void writeForm(shape.element, item, `${path}.${i + 1}`, into));
  } else if (shape.kind === 'structure') {
    for (const member of shape.members) {
      const item: unknown =
        typeof value === 'object' && value !== null ? Reflect.get(value, member.name) : undefined;
      if (item !== undefined)
        writeForm(member.shape, item, path === '' ? member.queryName : `${path}.${member.queryName}`, into);
    }
  } else if (value instanceof Date) into.append(path, value.toISOString());
  else if (value instanceof Uint8Array) into.append(path, Buffer.from(value).toString('base64'));
  else into.append(path, String(value));
};

/** One scalar of a request: its name on the wire, with index 1 in every list. */
export interface Leaf {
  readonly path: string;
  /** Name of the innermost member. */
  readonly member: string;
  readonly scalar: ScalarShape['scalar'];
}

const depthMax = 5;

/** Every scalar that a request of this shape can hold. */
export const leavesOf = (shape: Shape, path = '', member = '', depth = 0): readonly Leaf[] => {
  if (depth > depthMax) return [];
  if (shape.kind === 'scalar') return [{ path, member, scalar: shape.scalar }];
  if (shape.kind === 'list') return leavesOf(shape.element, `${path}.1`, member, depth + 1);
  return shape.members.flatMap((one) =>
    leavesOf(one.shape, path === '' ? one.queryName : `${path}.${one.queryName}`, one.name, depth + 1),
  );
};

/** The scalars that a request cannot be without. */
export const requiredLeaves = (shape: StructureShape, path = ''): readonly Leaf[] =>
  shape.members.slice(0, shape.requiredCount).flatMap(({ shape: inner, queryName, name }) => {
    const at = path === '' ? queryName : `${path}.${queryName}`;
    const element = inner.kind === 'list' ? inner.element : inner;
    const place = inner.kind === 'list' ? `${at}.1` : at;
    if (element.kind === 'structure') return requiredLeaves(element, place);
    return element.kind === 'scalar' ? [{ path: place, member: name, scalar: element.scalar }] : [];
  });
