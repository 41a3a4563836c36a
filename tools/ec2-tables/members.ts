/** What an action does with its members, as rows of a table. */
import { type ActionMembers, fateOf } from '#wire/members.ts';
import { type Member, StructureShape } from '#wire/schema.ts';

export interface MemberRow {
  readonly path: string;
  readonly required: boolean;
  /** In words. */
  readonly fate: string;
}

const insideOf = ({ shape }: Member): StructureShape | undefined => {
  const inside = shape.kind === 'list' ? shape.element : shape;
  return inside instanceof StructureShape ? inside : undefined;
};

const wordsOf = (rows: readonly ActionMembers[], path: string): string => {
  const fates = rows.map((row) => fateOf(row, path));
  const note = rows.flatMap(({ notes }) => notes?.[path] ?? []).join('; ');
  if (fates.includes('effect')) return note === '' ? 'has effect' : `has effect: ${note}`;
  const values = rows.flatMap(({ always }) => (always === '*' ? [] : (always?.[path] ?? [])));
  if (fates.includes('always') && values.length === 0) return 'narrows an answer that is empty';
  if (fates.includes('always')) return `says what is so anyway: ${values.map(String).join(', ')}`;
  return 'refused';
};

/** Whether something inside a member is listed by itself. */
const isOpened = (rows: readonly ActionMembers[], path: string): boolean =>
  rows.some((row) =>
    [
      ...(row.effect === '*' ? [] : row.effect),
      ...Object.keys(row.always === '*' ? {} : (row.always ?? {})),
    ].some((listed) => listed.startsWith(`${path}.`)),
  );

/** One row for each member, and for the members of those of which only a part has effect. */
export const memberRows = (
  input: StructureShape | undefined,
  rows: readonly ActionMembers[],
  prefix = '',
): readonly MemberRow[] =>
  (input?.members ?? []).flatMap((member, at) => {
    const path = `${prefix}${member.name}`;
    const inside = insideOf(member);
    if (inside !== undefined && isOpened(rows, path)) return memberRows(inside, rows, `${path}.`);
    return [{ path, required: at < (input?.requiredCount ?? 0), fate: wordsOf(rows, path) }];
  });
