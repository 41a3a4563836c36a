/** Associations of instances with profiles. They end with their instance. */
import type { InstanceRow } from './instances.ts';
import type { Sql } from './sql.ts';

/** The words of the partial index, without which it is not used. */
const associated = `terminated_at is null and spec->'instanceProfile' is not null`;
const associationId = `spec->'instanceProfile'->>'associationId'`;

/** The instances whose associations come next in the order of their ids; only these, where ids are given. */
export const listAssociatedAfter = (
  sql: Sql,
  request: {
    readonly accountId: string;
    readonly after?: string | undefined;
    readonly associationIds?: readonly string[] | undefined;
    readonly limit: number;
  },
): Promise<InstanceRow[]> =>
  sql.query(
    `select * from instances where account_id = $1 and ${associated}
       and ($2::text is null or ${associationId} > $2) and ($3::text[] is null or ${associationId} = any($3))
     order by ${associationId} limit $4`,
    [request.accountId, request.after ?? null, request.associationIds ?? null, request.limit],
  );

/** The instance of an association, locked. */
export const lockAssociated = async (
  tx: Sql,
  accountId: string,
  id: string,
): Promise<InstanceRow | undefined> =>
  (
    await tx.query<InstanceRow>(
      `select * from instances where account_id = $1 and ${associated} and ${associationId} = $2 for update`,
      [accountId, id],
    )
  )[0];
