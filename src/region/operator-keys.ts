/** Keys with which operators sign requests to `/rollout/v1/`. They are of no account: the EC2 API knows none of them. */
import { sql } from 'kysely';
import { transact } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import { newAccessKey } from './accounts.ts';
import type { Region } from './region.ts';

export const operatorKeysMax = 1_000;

type Keys = Pick<Region, 'db' | 'sealer'>;

interface Row {
  access_key_id: string;
  operator: string;
  created_by: string;
  created_at: Date;
  sealed_secret: Buffer;
}

export interface OperatorKey {
  readonly accessKeyId: string;
  readonly operator: string;
  readonly createdBy: string;
  readonly createdAt: string;
}

/** Makes a key of this operator. The secret is told here once; the table has it sealed. */
export const createOperatorKey = async (
  { db, sealer }: Keys,
  { operator, createdBy }: { readonly operator: string; readonly createdBy: string },
): Promise<{ accessKeyId: string; secretAccessKey: string; operator: string }> => {
  const key = newAccessKey();
  const sealed = sealer.seal(key.secretAccessKey, contextOf(key.accessKeyId));
  const made = await transact(db, async (tx) => {
    await sql`lock table operator_key in share row exclusive mode`.execute(tx);
    const { rows } = await sql`
      insert into operator_key (access_key_id, operator, sealed_secret, created_by)
      select ${key.accessKeyId}, ${operator}, ${sealed}, ${createdBy}
      where (select count(*) from operator_key) < ${operatorKeysMax} returning 1`.execute(tx);
    return rows.length > 0;
  });
  if (!made)
    throw new PandoError(
      'InvalidParameterValue',
      `There are ${operatorKeysMax} keys of operators: delete one first.`,
    );
  return { ...key, operator };
};

/** A sealed secret of an account is none of an operator, wherever its row is moved to. */
const contextOf = (accessKeyId: string): string => `operator ${accessKeyId}`;

export const listOperatorKeys = async (db: Region['db']): Promise<OperatorKey[]> => {
  const { rows } = await sql<Row>`select access_key_id, operator, created_by, created_at from operator_key
    order by created_at, access_key_id`.execute(db);
  return rows.map(({ access_key_id, operator, created_by, created_at }) => ({
    ...{ accessKeyId: access_key_id, operator, createdBy: created_by, createdAt: created_at.toISOString() },
  }));
};

/** Good for nothing from the next request on. @throws NotFound */
export const deleteOperatorKey = async (db: Region['db'], accessKeyId: string): Promise<void> => {
  const { rows } =
    await sql`delete from operator_key where access_key_id = ${accessKeyId} returning 1`.execute(db);
  if (rows.length === 0)
    throw new PandoError(
      'NotFound',
      `There is no key ${accessKeyId} of an operator. pando operator key list shows those there are.`,
    );
};

/** undefined: no operator has it. */
export const findOperatorKey = async (
  { db, sealer }: Keys,
  accessKeyId: string,
): Promise<{ readonly secret: string; readonly operator: string } | undefined> => {
  const { rows } = await sql<Row>`select * from operator_key where access_key_id = ${accessKeyId}`.execute(
    db,
  );
  const [row] = rows;
  return row && { secret: sealer.open(row.sealed_secret, contextOf(accessKeyId)), operator: row.operator };
};
