/** The region as a process: configuration, mutual TLS, roles, network state to cells and the gateway. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { createAuthority, issueCertificate } from '#base/pki.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { openAccess } from '#base/rpc/access.ts';
import { RpcClient } from '#base/rpc/client.ts';
import type { Contract, Handlers } from '#base/rpc/contract.ts';
import { cardContract } from '#contracts/card.ts';
import { PandoError } from '#contracts/errors.ts';
import { newCellId } from '#contracts/ids.ts';
import type { VpcState } from '#contracts/network.ts';
import { operatorContract } from '#contracts/operator.ts';
import { cellPushContract, regionContract } from '#contracts/region.ts';
import { startTestDatabase, type TestDatabase } from '../base/postgres/test-database.ts';

const remote = { ...regionContract, ...operatorContract } as const;

let database: TestDatabase;
let dir: string;
let port = 0;
let child: ChildProcess | undefined;
let authority: Awaited<ReturnType<typeof createAuthority>>;
const clients: { close(): void }[] = [];

const startProcess = async (): Promise<void> => {
  const main = new URL('../../src/region/main.ts', import.meta.url).pathname;
  const started = spawn(process.execPath, [main, '--config', path.join(dir, 'region.json')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child = started;
  port = await new Promise<number>((resolve, reject) => {
    let text = '';
    started.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const line = text.split('\n').find((one) => one.includes('is ready'));
      if (line !== undefined) resolve(Number(JSON.parse(line).port));
    });
    started.once('exit', (code) => reject(new Error(`the region ended with ${code}: ${text}`)));
  });
};

const endProcess = async (signal: NodeJS.Signals): Promise<number | null> => {
  const ended = child;
  if (ended === undefined) return null;
  child = undefined;
  return new Promise((resolve) => {
    ended.once('exit', (code) => resolve(code));
    ended.kill(signal);
  });
};

before(async () => {
  database = await startTestDatabase();
  dir = await mkdtemp(path.join(tmpdir(), 'pando-region-process-'));
  authority = await createAuthority('test authority');
  const tls = await issueCertificate(authority, 'spiffe://pando/region/test-1');
  const files = { ca: path.join(dir, 'ca'), cert: path.join(dir, 'cert'), key: path.join(dir, 'key') };
  await Promise.all([
    writeFile(files.ca, tls.ca),
    writeFile(files.cert, tls.cert),
    writeFile(files.key, tls.key),
  ]);
  const config = {
    regionName: 'test-1',
    zones: [{ name: 'test-1a', id: 't1-az1' }],
    databaseUrl: database.url,
    listen: { host: '127.0.0.1', port: 0 },
    tls: files,
    publicPool: { cidr: '203.0.113.0/24', first: '203.0.113.16', last: '203.0.113.250' },
    imagesDir: path.join(dir, 'images'),
    secretKeyFile: path.join(dir, 'seal.key'),
    pushWaitMsMax: 10_000,
    reconcileEveryMs: 100,
  };
  await writeFile(path.join(dir, 'region.json'), JSON.stringify(config));
  await startProcess();
});

after(async () => {
  for (const client of clients) client.close();
  await endProcess('SIGKILL');
  await database.stop();
  await rm(dir, { recursive: true, force: true });
});

const connect = async <Own extends Contract>(
  identity: string,
  contract: Own,
  handlers: Handlers<Own>,
  hello?: (call: { call: RpcClient<Own, typeof remote>['call'] }) => Promise<unknown>,
): Promise<RpcClient<Own, typeof remote>> => {
  const tls = await issueCertificate(authority, `spiffe://pando/${identity}`);
  const client = new RpcClient({
    tls,
    host: '127.0.0.1',
    port,
    expect: 'spiffe://pando/region/',
    remote,
    contract,
    access: openAccess(contract),
    handlers,
    onConnect: async (stream) => void (await hello?.(stream)),
  });
  clients.push(client);
  await client.ready(30_000);
  return client;
};

const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
  const deadline = Date.now() + 30_000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, 'the condition did not come true');
    await new Promise((wake) => setTimeout(wake, 10));
  }
};

/** A cell that remembers what it is told. */
const joinedCell = async (told: VpcState[], number = 7) => {
  const record = {
    cellId: `cell-${number}`,
    number,
    processors: ['127.0.0.1:1'],
    zone: 'test-1a',
    state: 'active' as const,
  };
  return connect(
    `cell/cell-${number}/cell-${number}-a`,
    cellPushContract,
    {
      'cell.applyVpc': ({ state }) => {
        told.push(state);
        return { version: state.version, unreachable: [] };
      },
      'cell.removeVpc': ({ vpcId }) => {
        for (let at = told.length - 1; at >= 0; at--) if (told[at]?.vpcId === vpcId) told.splice(at, 1);
        return {};
      },
    },
    (stream) => stream.call('region.joinCell', record),
  );
};

const ec2 = async (
  router: RpcClient<Contract, typeof remote>,
  accountId: string,
  action: string,
  input: object,
) => {
  const { output } = await router.call('ec2.call', {
    requestId: 'r',
    accountId,
    principal: 'p',
    action,
    input,
  });
  return output as Record<string, unknown>;
};

test('a launch: state reaches cells and gateway before the call returns; a stranger may call nothing', async () => {
  const operator = await connect('operator/test', {}, {});
  const router = await connect('router/r-1', {}, {});
  const cellStates: VpcState[] = [];
  const gatewayStates: VpcState[] = [];
  let gatewayTakes = true;
  const cell = await joinedCell(cellStates);
  await connect(
    'gateway/g-1',
    cardContract,
    {
      'card.status': () => ({ vtep: '198.18.1.2', netns: 'n', startedAt: '', vpcs: [], ports: [] }),
      'card.applyVpc': ({ state }) => {
        if (!gatewayTakes) throw new PandoError('InternalError', 'The kernel does not take it.');
        gatewayStates.push(state);
        return { version: state.version };
      },
      'card.removeVpc': () => ({}),
    },
    (stream) => stream.call('region.joinGateway', { vtep: '198.18.1.2', mac: '02:00:00:00:00:02' }),
  );

  const account = await operator.call('operator.createAccount', { name: 'first' });
  assert.match(account.accountId, /^\d{12}$/);
  assert.match(account.accessKeyId, /^AKIA[A-Z2-7]{16}$/);
  const key = await router.call('region.accessKey', { accessKeyId: account.accessKeyId });
  assert.equal(key.secret, account.secretAccessKey, 'a router of the last release');
  const narrowed = await router.call('region.accessKey', {
    accessKeyId: account.accessKeyId,
    signingKeys: true,
  });
  assert.equal(narrowed.secret, undefined);
  assert.ok(!JSON.stringify(narrowed).includes(account.secretAccessKey));
  const days = new Set(narrowed.signingKeys?.map(({ day }) => day));
  for (const offset of [-7, -1, 0, 1])
    assert.ok(
      days.has(new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 10).replaceAll('-', '')),
    );
  assert.equal((await router.call('region.accessKey', { accessKeyId: 'AKIANOTHING' })).found, false);
  assert.deepEqual(
    (await router.call('region.cells', {})).cells.map((one) => one.cellId),
    ['cell-7'],
  );

  const { Subnets: subnets } = (await ec2(router, account.accountId, 'DescribeSubnets', {})) as {
    Subnets: { SubnetId: string }[];
  };
  const subnetId = subnets[0]?.SubnetId ?? '';
  const instanceId = newCellId('instance', 7);
  const { vpcId, port: eni } = await cell.call('region.allocateInterface', {
    accountId: account.accountId,
    instanceId,
    subnetId,
    groupIds: [],
    publicIp: true,
  });
  const placed = await cell.call('region.placeInterface', {
    eniId: eni.eniId,
    vtep: '198.18.1.11',
    epoch: 1,
  });
  assert.deepEqual(placed.unreachable, []);
  for (const told of [cellStates, gatewayStates]) {
    const seen = told.at(-1);
    assert.equal(seen?.version, placed.state?.version);
    assert.equal(seen?.ports[0]?.vtep, '198.18.1.11');
    assert.equal(seen?.internetGateway?.vtep, '198.18.1.2');
  }

  const { SecurityGroups: groups } = (await ec2(router, account.accountId, 'DescribeSecurityGroups', {})) as {
    SecurityGroups: { GroupId: string }[];
  };
  await ec2(router, account.accountId, 'AuthorizeSecurityGroupIngress', {
    GroupId: groups[0]?.GroupId,
    IpPermissions: [{ IpProtocol: 'tcp', FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: '0.0.0.0/0' }] }],
  });
  assert.ok(
    cellStates.at(-1)?.groups[0]?.ingress.some((rule) => rule.fromPort === 22),
    'the rule is there when the call returns',
  );
  assert.deepEqual(gatewayStates.at(-1)?.groups, [], 'groups are the cards’ matter');

  gatewayTakes = false;
  const moved = await cell.call('region.placeInterface', { eniId: eni.eniId, vtep: '198.18.1.13', epoch: 2 });
  assert.deepEqual(moved.unreachable, ['gateway']);
  assert.deepEqual(await cell.call('region.pushVpc', { vpcId }), { unreachable: ['gateway'] });
  gatewayTakes = true;
  // One that is being told by the reconciler just now is behind until it has answered.
  await until(async () => (await cell.call('region.pushVpc', { vpcId })).unreachable.length === 0);
  assert.equal(gatewayStates.at(-1)?.ports[0]?.vtep, '198.18.1.13');

  const other = await joinedCell([], 8);
  const foreign = [
    ['region.placeInterface', { eniId: eni.eniId, vtep: '198.18.1.12', epoch: 3 }],
    ['region.releaseInterface', { instanceId }],
    ['region.vpcState', { vpcId }],
    ['region.pushVpc', { vpcId }],
    ['region.interfaces', { accountId: account.accountId, instanceIds: [instanceId] }],
    [
      'region.joinCell',
      { cellId: 'cell-7', number: 7, processors: ['127.0.0.1:1'], zone: 'test-1a', state: 'active' },
    ],
  ] as const;
  for (const [method, params] of foreign)
    await assert.rejects(other.call(method, params as never), { code: 'UnauthorizedOperation' }, method);

  await cell.call('region.releaseInterface', { instanceId });
  assert.equal(cellStates.length, 0, 'the last interface took the VPC from the cell');
  assert.equal((await operator.call('region.vpcState', { vpcId })).state.ports.length, 0);

  for (const [method, params] of [
    ['operator.createAccount', { name: 'x' }],
    ['region.accessKey', { accessKeyId: account.accessKeyId }],
  ] as const)
    await assert.rejects(cell.call(method, params as never), { code: 'UnauthorizedOperation' });
  await assert.rejects(router.call('region.releaseInterface', { instanceId }), {
    code: 'UnauthorizedOperation',
  });
  await assert.rejects(connect('stranger/s', {}, {}).then((stranger) => stranger.call('process.health', {})));
  await assert.rejects(ec2(router, account.accountId, 'RunInstances', { MinCount: 1, MaxCount: 1 }), {
    code: 'UnsupportedOperation',
  });
  await assert.rejects(ec2(router, account.accountId, 'Nonsense', {}), { code: 'InvalidAction' });
  for (const client of clients.splice(0)) client.close();
});

test('lists of one account are made a few at a time, and leave the store to others', async () => {
  const operator = await connect('operator/lists', {}, {});
  const router = await connect('router/r-lists', {}, {});
  const [hog, other] = [
    await operator.call('operator.createAccount', { name: 'hog' }),
    await operator.call('operator.createAccount', { name: 'other' }),
  ];
  const db = openDatabase<Record<never, never>>({ url: database.url });
  const waiting = async (): Promise<number> => {
    const { rows } = await sql<{ n: number }>`select count(*)::int as n from pg_stat_activity
      where wait_event_type = 'Lock' and query like '%from "key_pair"%'`.execute(db);
    return rows[0]?.n ?? 0;
  };
  const asked: Promise<unknown>[] = [];
  await db.transaction().execute(async (tx) => {
    await sql`lock table key_pair in access exclusive mode`.execute(tx);
    // One that waits for the lock for too long is told so: how long that is is the machine's affair.
    for (let n = 0; n < 20; n++)
      asked.push(ec2(router, hog.accountId, 'DescribeKeyPairs', {}).catch(() => undefined));
    while ((await waiting()) < 4) await delay(20);
    assert.ok(await ec2(router, other.accountId, 'DescribeVpcs', {}));
    assert.ok((await waiting()) <= 4);
  });
  await Promise.all(asked);
  await db.destroy();
});

test('a cell that comes back, and a region that was killed, end with the newest state everywhere', async () => {
  const operator = await connect('operator/test', {}, {});
  const router = await connect('router/r-1', {}, {});
  const { accountId } = await operator.call('operator.createAccount', { name: 'second' });
  const { Subnets: subnets } = (await ec2(router, accountId, 'DescribeSubnets', {})) as {
    Subnets: { SubnetId: string }[];
  };
  const states: VpcState[] = [];
  const cell = await joinedCell(states, 8);
  const request = {
    accountId,
    instanceId: newCellId('instance', 8),
    subnetId: subnets[0]?.SubnetId ?? '',
    groupIds: [],
    publicIp: false,
  };
  const { vpcId, port: eni } = await cell.call('region.allocateInterface', request);
  await cell.call('region.placeInterface', { eniId: eni.eniId, vtep: '198.18.1.12', epoch: 1 });
  cell.close();
  const table = (await ec2(router, accountId, 'DescribeRouteTables', {})) as {
    RouteTables: { RouteTableId: string }[];
  };
  await ec2(router, accountId, 'CreateRoute', {
    RouteTableId: table.RouteTables[0]?.RouteTableId,
    DestinationCidrBlock: '192.0.2.0/24',
    NetworkInterfaceId: eni.eniId,
  });
  const again: VpcState[] = [];
  await joinedCell(again, 8);
  await until(() => again.some((state) => state.vpcId === vpcId && state.subnets[0]?.routes.length === 3));
  for (const client of clients.splice(0)) client.close();

  await endProcess('SIGKILL');
  await startProcess();
  // Before any of them has joined again: they own what they own.
  const { cells } = await (await connect('router/r-1', {}, {})).call('region.cells', {});
  assert.deepEqual(
    cells.map(({ cellId }) => cellId),
    ['cell-7', 'cell-8'],
  );
  const third: VpcState[] = [];
  await joinedCell(third, 8);
  await until(() => third.some((state) => state.vpcId === vpcId));
  await assert.rejects(
    joinedCell([], 9).then((nine) =>
      nine.call('region.joinCell', {
        cellId: 'cell-9',
        number: 8,
        processors: [],
        zone: 'test-1a',
        state: 'active',
      }),
    ),
    { code: 'Conflict' },
  );
  for (const client of clients.splice(0)) client.close();
  assert.equal(await endProcess('SIGTERM'), 0);
});
