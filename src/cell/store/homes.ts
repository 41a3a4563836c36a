/** Which hosts are this cell's: under which move they came, and which were given to other cells. */
import { claimIdOf, releaseClaim } from './claims.ts';
import type { Sql } from './sql.ts';

export interface ReleasedHost {
  readonly host_id: string;
  readonly to_cell: string;
  readonly generation: number;
}

export interface HostHome {
  readonly id: string;
  readonly state: 'active' | 'draining';
  readonly home_generation: number;
  readonly leaving_to: string | null;
  readonly leaving_generation: number | null;
  /** The workflow that has the host. */
  readonly rebuild_id: string | null;
}

export const findReleased = async (sql: Sql, hostId: string): Promise<ReleasedHost | undefined> =>
  (
    await sql.query<ReleasedHost>(
      'select host_id, to_cell, generation from released_hosts where host_id = $1',
      [hostId],
    )
  )[0];

/** What says whether a host may come: by where it went, and whether there is room for it. */
export interface Entry {
  readonly released: ReleasedHost | undefined;
  /** It is here already, or there are fewer hosts than may be. */
  readonly room: boolean;
}

/** A cell that has all of its hosts again asks this of each: they are counted only for a new one. */
export const findEntry = async (sql: Sql, hostId: string, hostsMax: number): Promise<Entry> => {
  const [found] = await sql.query<{
    readonly to_cell: string | null;
    readonly generation: number | null;
    readonly room: boolean;
  }>(
    `select r.to_cell, r.generation,
       case when exists (select from hosts where id = $1) then true else (select count(*) from hosts) < $2 end as room
     from (select) one left join released_hosts r on r.host_id = $1`,
    [hostId, hostsMax],
  );
  const { to_cell = null, generation = null, room = false } = found ?? {};
  const released =
    to_cell === null || generation === null ? undefined : { host_id: hostId, to_cell, generation };
  return { released, room };
};

const homeColumns = 'id, state, home_generation, leaving_to, leaving_generation, rebuild_id';

export const findHome = async (sql: Sql, hostId: string): Promise<HostHome | undefined> =>
  (await sql.query<HostHome>(`select ${homeColumns} from hosts where id = $1`, [hostId]))[0];

export const lockHome = async (tx: Sql, hostId: string): Promise<HostHome | undefined> =>
  (await tx.query<HostHome>(`select ${homeColumns} from hosts where id = $1 for update`, [hostId]))[0];

/** A host that has come (again) under a newer move than the one that it left by. */
export const welcomeBack = async (sql: Sql, hostId: string, generation: number): Promise<void> => {
  await sql.query('delete from released_hosts where host_id = $1 and generation < $2', [hostId, generation]);
};

export const setHomeGeneration = async (sql: Sql, hostId: string, generation: number): Promise<void> => {
  await sql.query('update hosts set home_generation = $2 where id = $1 and home_generation < $2', [
    hostId,
    generation,
  ]);
};

/** `undefined`: it stays after all. */
export const setLeaving = async (
  tx: Sql,
  hostId: string,
  leaving: { readonly cellId: string; readonly generation: number } | undefined,
): Promise<void> => {
  await tx.query('update hosts set leaving_to = $2, leaving_generation = $3 where id = $1', [
    hostId,
    leaving?.cellId ?? null,
    leaving?.generation ?? null,
  ]);
};

/** The host is the other cell's: this one forgets it, and refuses it under this generation or an older one. */
export const releaseHost = async (tx: Sql, { host_id, to_cell, generation }: ReleasedHost): Promise<void> => {
  await releaseClaim(tx, claimIdOf('reserve', host_id));
  await tx.query(
    `insert into released_hosts (host_id, to_cell, generation) values ($1, $2, $3)
     on conflict (host_id) do update set to_cell = excluded.to_cell, generation = excluded.generation, released_at = now()
     where released_hosts.generation < excluded.generation`,
    [host_id, to_cell, generation],
  );
  await tx.query('delete from hosts where id = $1', [host_id]);
};
