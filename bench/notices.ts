/**
 * From capacity freed to the client told (S10.6, goal p99 < 1 s): `node bench/notices.ts [--rounds 100] [--subscribers 10000]`.
 *
 * The production router, region and cell over real RPC and PostgreSQL, on simulated hosts. Freed: the commit that gave a claim back, as
 * PostgreSQL notifies it. Told: the event on the client's stream. Subscribers: other accounts' requests for the same, behind it.
 */
import { request as httpRequest } from 'node:http';
import { parseArgs } from 'node:util';
import aws4 from 'aws4';
import { listenStore } from '#base/postgres/listen.ts';
import { type RealClient, type RealCloud, regionName, startRealCloud } from '../test/router/realCloud.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '100' },
    subscribers: { type: 'string', default: '10000' },
  },
});
const rounds = Number(values.rounds);
const subscribers = Number(values.subscribers);
const goalMs = 1_000;
/** As big as the host. */
const type = 'custom.16000m.8192';

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;

const call = (
  cloud: RealCloud,
  client: RealClient,
  method: string,
  path: string,
  body?: object,
  onData?: (chunk: string) => void,
): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const signed = aws4.sign(
      {
        ...{ method, host: `127.0.0.1:${cloud.port}`, path: `/capacity/v1/${path}`, body: text },
        ...{ service: 'ec2', region: regionName },
        headers: {
          ...(text === '' ? {} : { 'content-type': 'application/json' }),
          ...(onData === undefined ? {} : { accept: 'text/event-stream' }),
        },
      },
      client.key,
    );
    const request = httpRequest({
      ...{ method, host: '127.0.0.1', port: cloud.port, path: `/capacity/v1/${path}` },
      headers: signed.headers as Record<string, string>,
    });
    request.on('error', reject).on('response', (response) => {
      let all = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        if (onData === undefined) all += chunk;
        else onData(chunk);
      });
      if (onData !== undefined) resolve(() => request.destroy());
      else response.on('end', () => resolve(JSON.parse(all)));
    });
    request.end(text);
  });

const crowd = (cloud: RealCloud): Promise<unknown> =>
  cloud.cell.services.db.query(
    `insert into capacity_requests (id, account_id, token, request_hash, state, mode, position, zone, class, options, offer_ms,
       expires_ms, valid_until)
     select 'pr-crowd' || n, 'crowd-' || (n / 100), n::text, '', 'waiting', 'reserve', 1000000000 + n, first.zone, first.class,
       first.options, first.offer_ms, first.expires_ms + 1000000000, first.valid_until
     from generate_series(1, $1) n, (select * from capacity_requests limit 1) first`,
    [subscribers],
  );

const offersOpen = async (cloud: RealCloud): Promise<number> => {
  const [row] = await cloud.cell.services.db.query<{ n: number }>(
    `select count(*)::int as n from capacity_offers where state = 'open'`,
  );
  return row?.n ?? 0;
};

/** Between rounds nobody of the crowd waits: the next launch of the round needs the room. */
const setCrowd = (cloud: RealCloud, state: 'waiting' | 'fulfilled'): Promise<unknown> =>
  cloud.cell.services.db.query(`update capacity_requests set state = $1 where id like 'pr-crowd%'`, [state]);

const cloud = await startRealCloud({ hosts: 1 });
try {
  const client = await cloud.account();
  let freedAt = Number.NaN;
  let told = Promise.withResolvers<number>();
  const unlisten = listenStore({
    ...{ url: cloud.cellUrl, channel: 'pando_capacity_freed' },
    heard: () => {
      if (Number.isNaN(freedAt)) freedAt = performance.now();
    },
  });
  const close = (await call(cloud, client, 'GET', 'events', undefined, (chunk) => {
    if (chunk.includes('event: capacity.offered')) told.resolve(performance.now());
  })) as () => void;
  const times: number[] = [];
  const holders: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const [instance] = await client.run({ InstanceType: type as never });
    const id = instance?.InstanceId ?? '';
    await client.reaches(id, 'running');
    const made = (await call(cloud, client, 'POST', 'requests', { instanceType: type, diskGib: 1 })) as {
      requestId: string;
    };
    if (round === 0) await crowd(cloud);
    else await setCrowd(cloud, 'waiting');
    told = Promise.withResolvers();
    freedAt = Number.NaN;
    await client.call('TerminateInstances', { InstanceIds: [id] });
    const at = await told.promise;
    times.push(at - freedAt);
    holders.push(await offersOpen(cloud));
    await setCrowd(cloud, 'fulfilled');
    await call(cloud, client, 'DELETE', `requests/${made.requestId}`);
    await client.reaches(id, 'terminated');
  }
  close();
  unlisten();
  const sorted = times.toSorted((a, b) => a - b);
  const ms = (q: number): string => `${quantile(sorted, q).toFixed(1)} ms`;
  console.log(
    `freed -> told, ${rounds} rounds, ${subscribers} subscribers: p50 ${ms(0.5)}, p99 ${ms(0.99)}, max ${ms(1)} (goal p99 < 1,000 ms)`,
  );
  console.log(
    'freed: PostgreSQL tells a listener of the commit that gave the claim back; told: the event is read from the client’s stream (SSE), through the router',
  );
  const most = Math.max(...holders);
  console.log(`who was offered the one slot: ${most} of ${subscribers + 1}; the others waited on`);
  if (most !== 1 || quantile(sorted, 0.99) >= goalMs) process.exitCode = 1;
} finally {
  await cloud.close();
}
