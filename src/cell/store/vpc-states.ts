/** The newest network state of each VPC that the region pushed. */
import type { VpcState } from '#contracts/network.ts';
import type { Sql } from './sql.ts';

/** Keeps `state` unless a newer one is there. */
export const storeVpcState = async (sql: Sql, state: VpcState): Promise<void> => {
  await sql.query(
    `insert into vpc_states (vpc_id, version, state) values ($1, $2, $3)
     on conflict (vpc_id) do update set version = excluded.version, state = excluded.state
     where vpc_states.version < excluded.version`,
    [state.vpcId, state.version, JSON.stringify(state)],
  );
};

export const loadVpcStates = async (sql: Sql, vpcIds: readonly string[]): Promise<VpcState[]> =>
  (await sql.query<{ state: VpcState }>('select state from vpc_states where vpc_id = any($1)', [vpcIds])).map(
    (row) => row.state,
  );

export const deleteVpcState = async (sql: Sql, vpcId: string): Promise<void> => {
  await sql.query('delete from vpc_states where vpc_id = $1', [vpcId]);
};
