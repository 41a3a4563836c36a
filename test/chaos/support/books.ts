/** Compares what users were promised with rows, hosts and the region's tables. Says everything that does not agree. */
import pg from 'pg';
import type { SimHost } from '#simhost/sim-host.ts';
import type { StormCell, StormRegion } from './region.ts';
import type { Ledger } from './users.ts';

interface Row {
  readonly id: string;
  readonly state: string;
  readonly host_id: string | null;
  readonly other_host_id: string | null;
  readonly workflow_id: string | null;
  readonly locked: boolean;
  readonly held: string;
  readonly eni: string | null;
}

const rowsOf = async <T extends object>(url: string, statement: string): Promise<T[]> => {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<T>(statement)).rows;
  } finally {
    await client.end();
  }
};

const instanceRows = ({ store }: StormCell): Promise<Row[]> =>
  rowsOf(
    store.url,
    `select id, state, host_id, other_host_id, workflow_id, locked, held, interface ->> 'eniId' as eni from instances`,
  );

/** Workflows that have not ended, VMs in quarantine, counters that are not the sum over rows. */
const cellProblems = async ({ cellId, store }: StormCell): Promise<string[]> => {
  const live = await rowsOf<{ kind: string; state: string; subject: string; last_error: unknown }>(
    store.url,
    `select kind, state, subject, last_error from workflows where state not in ('done', 'undone')`,
  );
  const quarantined = await rowsOf<{ instance_id: string; host_id: string; reason: string }>(
    store.url,
    'select instance_id, host_id, reason from quarantined_vms',
  );
  const counters = await rowsOf<{ id: string }>(
    store.url,
    `select h.id, h.used_vcpus_milli, h.used_memory_mib, h.used_disk_mib, s.* from hosts h cross join lateral (
       select coalesce(sum(vcpus_milli) filter (where held = 'all'), 0)::bigint as vcpus,
         coalesce(sum(memory_mib) filter (where held = 'all'), 0)::bigint as memory,
         coalesce(sum(disk_mib) filter (where held <> 'none'), 0)::bigint as disk
       from instances where host_id = h.id) s
     where (h.used_vcpus_milli, h.used_memory_mib, h.used_disk_mib) is distinct from (s.vcpus, s.memory, s.disk)`,
  );
  return [
    ...live.map((each) => `${cellId}: workflow ${JSON.stringify(each)} has not ended`),
    ...quarantined.map(
      (each) => `${cellId}: ${each.instance_id} in quarantine on ${each.host_id}: ${each.reason}`,
    ),
    ...counters.map((each) => `${cellId}: counters are not the sum over rows: ${JSON.stringify(each)}`),
  ];
};

const vmsOf = (hosts: readonly SimHost[], id: string): string[] =>
  hosts.flatMap((host) => {
    const vm = host.vms.get(id);
    return vm === undefined ? [] : [`${host.hostId} ${vm.state}`];
  });

/** A promise against the row and the hosts. */
const promiseProblems = (ledger: Ledger, rows: ReadonlyMap<string, Row>, region: StormRegion): string[] =>
  ledger.promised.flatMap(({ token, ids, wish }) => {
    if (ids.size !== 1) return [`token ${token} has ${ids.size} instances: ${[...ids]}`];
    const [id = ''] = ids;
    const row = rows.get(id);
    if (row === undefined) return [`lost: ${id} has no row, and should be ${wish}`];
    if (row.state !== wish) return [`${id} is ${row.state}, and should be ${wish}`];
    const found = vmsOf(region.hosts, id);
    const wanted = wish === 'terminated' ? [] : [`${row.host_id} ${wish}`];
    const same = found.length === wanted.length && found[0] === wanted[0];
    return same ? [] : [`${id} is on [${found}], and should be on [${wanted}]`];
  });

const restProblems = (row: Row): string[] => {
  const rests = row.workflow_id === null && !row.locked && row.other_host_id === null;
  const freed = row.state !== 'terminated' || (row.host_id === null && row.held === 'none');
  return rests && freed ? [] : [`the row of ${row.id} is not at rest: ${JSON.stringify(row)}`];
};

const hostProblems = (host: SimHost, rows: ReadonlyMap<string, Row>): string[] => {
  const strangers = [...host.vms.keys()].filter((id) => rows.get(id)?.host_id !== host.hostId);
  const enis = new Set([...host.vms.keys()].map((id) => rows.get(id)?.eni));
  const ports = [...host.card.ports.keys(), ...host.card.administrative].filter((eni) => !enis.has(eni));
  const queues = [...host.card.queues.keys()];
  return [
    ...strangers.map((id) => `${host.hostId} has ${id}, which no row explains`),
    ...ports.map((eni) => `the card of ${host.hostId} has ${eni}, which no VM there has`),
    ...queues.map((eni) => `the card of ${host.hostId} still has a queue for ${eni}`),
  ];
};

/** Interfaces and addresses that no instance explains, and the reverse. */
const regionProblems = async (url: string, rows: ReadonlyMap<string, Row>): Promise<string[]> => {
  const enis = await rowsOf<{ eni_id: string; instance_id: string; public: number }>(
    url,
    `select eni_id, instance_id, (select count(*)::int from public_address p where p.eni_id = eni.eni_id) as public from eni`,
  );
  const loose = await rowsOf<{ ip: string }>(
    url,
    `select ip from public_address where account_id is not null
       and not exists (select from eni where eni.eni_id = public_address.eni_id)`,
  );
  const counts = await rowsOf<{ vpc_id: string }>(
    url,
    'select vpc_id from vpc where ports <> (select count(*) from eni where eni.vpc_id = vpc.vpc_id)',
  );
  const alive = [...rows.values()].filter(({ state }) => state !== 'terminated');
  const byInstance = new Map(enis.map((each) => [each.instance_id, each]));
  const orphans = enis.filter(({ instance_id: id }) => !rows.has(id) || rows.get(id)?.state === 'terminated');
  const wrong = alive.filter(({ id, eni }) => byInstance.get(id)?.eni_id !== eni);
  return [
    ...orphans.map((each) => `orphan: interface ${each.eni_id} of ${each.instance_id}`),
    ...wrong.map(({ id, eni }) => `${id} has no interface ${eni} in the region`),
    // A stopped instance has given its automatic address back.
    ...enis
      .filter((each) => each.public !== (rows.get(each.instance_id)?.state === 'stopped' ? 0 : 1))
      .map((each) => `${each.eni_id} has ${each.public} public addresses`),
    ...loose.map(({ ip }) => `orphan: public address ${ip}`),
    ...counts.map(({ vpc_id: id }) => `${id} counts its ports wrongly`),
  ];
};

/** All that does not agree; empty: the books balance. */
export const problemsOf = async (region: StormRegion, ledger: Ledger): Promise<string[]> => {
  const perCell = await Promise.all(
    region.cells.map(async (cell) => [await instanceRows(cell), cell] as const),
  );
  const rows = new Map(perCell.flatMap(([all]) => all.map((row) => [row.id, row])));
  const promised = new Set(ledger.promised.flatMap(({ ids }) => [...ids]));
  const unasked = [...rows.keys()].filter((id) => !promised.has(id));
  const cells = await Promise.all(region.cells.map(cellProblems));
  return [
    ...promiseProblems(ledger, rows, region),
    ...unasked.map((id) => `duplicate: ${id} is ${rows.get(id)?.state}, and nobody was told of it`),
    ...[...rows.values()].flatMap(restProblems),
    ...cells.flat(),
    ...perCell.flatMap(([all, { hosts }]) => {
      const own = new Map(all.map((row) => [row.id, row]));
      return hosts.flatMap((host) => hostProblems(host, own));
    }),
    ...(await regionProblems(region.store.url, rows)),
    ...region.world.violations.map((each) => `I1: ${each}`),
    ...ledger.complaints,
  ];
};
