/** Values that all processors of a cell share, made by whichever needs them first. */
import { randomBytes } from 'node:crypto';
import type { Sql } from './sql.ts';

const secretBytes = 32;

/** A secret of this name; both processors get the same, so that a page token of one is good at the other. */
export const sharedSecret = async (sql: Sql, name: string): Promise<string> => {
  await sql.query('insert into settings (name, value) values ($1, $2) on conflict do nothing', [
    name,
    randomBytes(secretBytes).toString('hex'),
  ]);
  const [row] = await sql.query<{ value: string }>('select value from settings where name = $1', [name]);
  if (row === undefined) throw new Error(`setting ${name} is not there after it was written`);
  return row.value;
};
