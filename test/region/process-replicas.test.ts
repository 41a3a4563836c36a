/** Several processes of one region (S3.5): one that is killed takes only what it was answering along, and nothing that it had answered. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { type Authority, createAuthority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import type { Contract, Handlers } from '#base/rpc/contract.ts';
import { ReplicaClient } from '#base/rpc/replicas.ts';
import { PandoError } from '#contracts/errors.ts';
import { newCellId } from '#contracts/ids.ts';
import type { VpcState } from '#contracts/network.ts';
import { operatorContract } from '#contracts/operator.ts';
import { cellPushContract, regionContract } from '#contracts/region.ts';
import { startTestDatabase, type TestDatabase } from '../base/postgres/test-database.ts';
import { until } from '../cell/support/harness.ts';
import { freePort } from '../support/freePort.ts';
import { type RegionProcess, startRegionProcess } from './regionProcess.ts';

const remote = { ...regionContract, ...operatorContract } as const;
const clients = 4;
const callsEach = 30;
/** One call in so many changes something. */
const changesEvery = 5;
const firstPort = 2_000;

let database: TestDatabase;
let dir: string;
let authority: Authority;
const regions: RegionProcess[] = [];
const open: { close(): void }[] = [];
type Region = ReplicaClient<Contract, typeof remote>;

const start = async (name: string, port?: number): Promise<RegionProcess> =>
  startRegionProcess({ authority, dir, databaseUrl: database.url }, name, port ?? (await freePort()));

before(async () => {
  database = await startTestDatabase();
  dir = await mkdtemp(path.join(tmpdir(), 'pando-region-replicas-'));
  authority = await createAuthority('test authority');
  for (const name of ['region', 'region-2']) regions.push(await start(name));
});
after(async () => {
  for (const client of open) client.close();
  await Promise.all(regions.map((region) => region.kill()));
  await database.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Somebody who knows all replicas, and asks the one at `first` while it is there. */
const connect = async <Own extends Contract>(
  identity: string,
  first: number,
  contract: Own,
  handlers: Handlers<Own>,
  hello?: (stream: { call: ReplicaClient<Own, typeof remote>['call'] }) => Promise<unknown>,
): Promise<ReplicaClient<Own, typeof remote>> => {
  const at = regions.map(({ port, identity }) => ({ host: '127.0.0.1', port, identity }));
  const client = new ReplicaClient({
    tls: await issueCertificate(authority, `spiffe://pando/${identity}`),
    at: [...at.slice(first), ...at.slice(0, first)],
    expect: 'spiffe://pando/region/',
    ...{ remote, contract, handlers, access: openAccess(contract) },
    onConnect: async (stream) => void (await hello?.(stream)),
  });
  open.push(client);
  await client.ready(20_000);
  return client;
};

const ec2 = async (region: Region, accountId: string, action: string, input: object) => {
  const call = { requestId: 'r', accountId, principal: 'p', action, input };
  return (await region.call('ec2.call', call)).output as Record<string, unknown>;
};

interface Group {
  readonly GroupId: string;
  readonly IpPermissions: readonly { readonly FromPort?: number }[];
}
const groupOf = async (region: Region, accountId: string): Promise<Group> => {
  const { SecurityGroups } = await ec2(region, accountId, 'DescribeSecurityGroups', {});
  const [group] = SecurityGroups as Group[];
  assert.ok(group);
  return group;
};
const openPort = (region: Region, accountId: string, GroupId: string, port: number) =>
  ec2(region, accountId, 'AuthorizeSecurityGroupIngress', {
    GroupId,
    IpPermissions: [
      { IpProtocol: 'tcp', FromPort: port, ToPort: port, IpRanges: [{ CidrIp: '192.0.2.0/24' }] },
    ],
  });

test('kill -9 of one under load: calls that were under way are lost, changes that were answered are not, devices go on being told', async (t) => {
  const operator = await connect('operator/test', 0, {}, {});
  const { accountId } = await operator.call('operator.createAccount', { name: 'first' });
  const told: VpcState[] = [];
  const cell = await connect(
    'cell/cell-7/cell-7-a',
    0,
    cellPushContract,
    {
      'cell.applyVpc': ({ state }) => {
        told.push(state);
        return { version: state.version, unreachable: [] };
      },
      'cell.removeVpc': () => ({}),
    },
    (stream) =>
      stream.call('region.joinCell', {
        ...{ cellId: 'cell-7', number: 7, processors: ['127.0.0.1:1'], zone: 'test-1a', state: 'active' },
      }),
  );
  const routers = await Promise.all(
    Array.from({ length: clients }, (_, at) => connect(`router/r-${at}`, at % regions.length, {}, {})),
  );
  const [first, second] = routers;
  assert.ok(first && second);
  const { Subnets } = await ec2(first, accountId, 'DescribeSubnets', {});
  const [subnet] = Subnets as { SubnetId: string }[];
  const { port: eni } = await cell.call('region.allocateInterface', {
    ...{ accountId, instanceId: newCellId('instance', 7), subnetId: subnet?.SubnetId ?? '' },
    ...{ groupIds: [], publicIp: false },
  });
  await cell.call('region.placeInterface', { eniId: eni.eniId, vtep: '198.18.1.11', epoch: 1 });
  const { GroupId } = await groupOf(second, accountId);

  const answered = new Set<number>();
  const calls: { readonly begunMs: number; readonly endedMs: number; readonly end: string }[] = [];
  let killedMs = Number.POSITIVE_INFINITY;
  let ports = firstPort;
  const work = async (region: Region): Promise<void> => {
    for (let call = 0, late = 0; late < callsEach; call++) {
      const begunMs = performance.now();
      const port = call % changesEvery === 0 ? ports++ : undefined;
      const asked =
        port === undefined ? groupOf(region, accountId) : openPort(region, accountId, GroupId, port);
      const end = await asked.then(
        () => 'ok',
        (error: unknown) => PandoError.from(error).code,
      );
      if (end === 'ok' && port !== undefined) answered.add(port);
      if (begunMs > killedMs) late++;
      calls.push({ begunMs, endedMs: performance.now(), end });
    }
  };
  const load = Promise.all(routers.map(work));
  await until('the load runs', () => calls.length >= clients * callsEach, 60_000);
  const [victim] = regions;
  assert.ok(victim);
  killedMs = performance.now();
  await victim.kill();
  // Its end may be heard of before the end of its connections, by a turn.
  await turn();
  const goneMs = performance.now();
  await load;

  const lost = calls.filter(({ end }) => end !== 'ok');
  for (const { begunMs, endedMs, end } of lost) {
    assert.equal(end, 'HostUnreachable');
    assert.ok(begunMs <= goneMs && endedMs >= killedMs, 'it was under way while its process died');
  }
  t.diagnostic(`${lost.length} of ${calls.length} calls were lost`);
  const seen = new Set((await groupOf(first, accountId)).IpPermissions.map(({ FromPort }) => FromPort));
  assert.deepEqual(
    [...answered].filter((port) => !seen.has(port)),
    [],
    'what was answered is there',
  );

  // The other one has the cell too, and tells it before the call returns.
  await openPort(first, accountId, GroupId, 1_999);
  const has = (): boolean =>
    told.at(-1)?.groups.some(({ ingress }) => ingress.some(({ fromPort }) => fromPort === 1_999)) === true;
  assert.ok(has());

  regions[0] = await start('region', victim.port);
  const back = await connect('router/r-9', 0, {}, {});
  await until('the one that came back knows the cells', async () => {
    const { cells } = await back.call('region.cells', {});
    return cells.some(({ cellId }) => cellId === 'cell-7');
  });
  const again = new Set((await groupOf(back, accountId)).IpPermissions.map(({ FromPort }) => FromPort));
  assert.ok(again.has(1_999));
});
