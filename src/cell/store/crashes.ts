/** Ends of VMs that nobody can explain, by the host on which they came: where memory is bad, its VMs are the first to feel it. */
import { crashesKeptMax } from '../limits.ts';
import type { Sql } from './sql.ts';

export interface Crash {
  readonly instanceId: string;
  /** `killed`: its VMM ended by itself. `panicked`: its guest's kernel gave up, which is more often the guest's own doing. */
  readonly cause: 'killed' | 'panicked';
  /** Milliseconds since the epoch, by the store's clock. */
  readonly at: number;
}

/** Keeps the last ones. Gives those that are kept now. */
export const noteCrash = async (
  sql: Sql,
  hostId: string,
  { instanceId, cause }: Omit<Crash, 'at'>,
): Promise<readonly Crash[]> => {
  const [row] = await sql.query<{ crashes: Crash[] }>(
    `update hosts set crashes = (
       select jsonb_agg(one order by at) from (
         select one, at from jsonb_array_elements(crashes || jsonb_build_object(
           'instanceId', $2::text, 'cause', $3::text, 'at', floor(extract(epoch from clock_timestamp()) * 1000)))
           with ordinality as all_of_them(one, at) order by at desc limit $4) last)
     where id = $1 returning crashes`,
    [hostId, instanceId, cause, crashesKeptMax],
  );
  return row?.crashes ?? [];
};
