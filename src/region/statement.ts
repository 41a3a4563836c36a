/**
 * Statements of the launch path. Their text is made once: what Kysely works out of a template it works out anew for each call. Outside of
 * a transaction they go to the pool itself.
 */
import { CompiledQuery, type Kysely } from 'kysely';
import { findPool } from '#base/postgres/database.ts';
import type { RegionSchema } from './schema.ts';

export const statement =
  <Row>(text: string) =>
  async (
    db: Pick<Kysely<RegionSchema>, 'executeQuery'>,
    ...values: readonly unknown[]
  ): Promise<readonly Row[]> =>
    (await findPool(db)?.run<Row>(text, values)) ??
    (await db.executeQuery<Row>(CompiledQuery.raw(text, [...values]))).rows;
