/** The newest network state of each VPC that the region pushed. */
import type { VpcState } from '#contracts/network.ts';
import type { Sql } from './sql.ts';

/** Keeps these states, each of another VPC, but for those of which a newer one is there. */
export const storeVpcStates = async (sql: Sql, states: readonly VpcState[]): Promise<void> => {
  // In one order, so that two processors that keep the same ones do not wait for each other.
  const sorted = [...states].sort((a, b) => (a.vpcId < b.vpcId ? -1 : 1));
  await sql.query(
    `insert into vpc_states (vpc_id, version, state)
       select * from unnest($1::text[], $2::int[], $3::jsonb[])
     on conflict (vpc_id) do update set version = excluded.version, state = excluded.state
     where vpc_states.version < excluded.version`,
    [
      sorted.map(({ vpcId }) => vpcId),
      sorted.map(({ version }) => version),
      sorted.map((state) => JSON.stringify(state)),
    ],
  );
};

export const loadVpcStates = async (sql: Sql, vpcIds: readonly string[]): Promise<VpcState[]> =>
  (await sql.query<{ state: VpcState }>('select state from vpc_states where vpc_id = any($1)', [vpcIds])).map(
    (row) => row.state,
  );

export const deleteVpcState = async (sql: Sql, vpcId: string): Promise<void> => {
  await sql.query('delete from vpc_states where vpc_id = $1', [vpcId]);
};
