/** How far a client has read: for each cell the number of the last event, `1.17_2.5`. Numbers grow within a cell, so none is missed. */
import { PandoError } from '#contracts/errors.ts';

export type Cursor = ReadonlyMap<number, number>;

const form = /^\d{1,4}\.\d{1,15}$/;
const cellsMax = 4_096;

/** @throws InvalidPaginationToken */
export const parseCursor = (text: string | null | undefined): Cursor => {
  if (text === null || text === undefined || text === '' || text === '0') return new Map();
  const parts = text.split('_', cellsMax);
  if (!parts.every((part) => form.test(part)))
    throw new PandoError('InvalidPaginationToken', 'The cursor is none that an answer or an event had.');
  return new Map(parts.map((part) => part.split('.').map(Number) as [number, number]));
};

/** Never empty: a client that has read nothing says so too. */
export const cursorText = (cursor: Cursor): string =>
  [...cursor]
    .sort(([a], [b]) => a - b)
    .map(([cell, seq]) => `${cell}.${seq}`)
    .join('_') || '0';
