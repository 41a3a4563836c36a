/** Two real processors as processes over one PostgreSQL, hosts that dial both over mutual TLS, and `kill -9` in the middle of launches. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Reservation } from '@aws-sdk/client-ec2';
import type { TlsMaterial } from '#base/identity.ts';
import { type Authority, createAuthority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import type { RpcStream } from '#base/rpc/stream.ts';
import { hostAccess } from '#contracts/access.ts';
import { backendContract } from '#contracts/backend.ts';
import { hostContract, hostEventsContract } from '#contracts/host.ts';
import { cellPushContract, regionContract } from '#contracts/region.ts';
import { SimHost } from '#simhost/sim-host.ts';
import { SimWorld } from '#simhost/world.ts';
import { startTestDatabase, type TestDatabase } from '../base/postgres/test-database.ts';
import { FakeRegion } from './support/fake-region.ts';
import { accountId, until, zone } from './support/harness.ts';

const entry = fileURLToPath(new URL('../../src/cell/main.ts', import.meta.url));

let dir: string;
let database: TestDatabase;
let authority: Authority;
let regionServer: RpcServer;
const region = new FakeRegion({ zone });
const world = new SimWorld();
const hosts: SimHost[] = [];
const children = new Map<string, ChildProcess>();
const clients: { close(): void }[] = [];
const routers = new Map<string, RpcClient<Record<never, never>, typeof backendContract>>();
const ports = new Map<string, number>();

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
};

const startProcessor = async (name: string): Promise<void> => {
  const tls = await issueCertificate(authority, `spiffe://pando/cell/${name}`);
  const files = { ca: join(dir, 'ca.pem'), cert: join(dir, `${name}.pem`), key: join(dir, `${name}.key`) };
  await writeFile(files.ca, tls.ca);
  await writeFile(files.cert, tls.cert);
  await writeFile(files.key, tls.key);
  const config = join(dir, `${name}.json`);
  await writeFile(
    config,
    JSON.stringify({
      name,
      cellId: 'cell-1',
      cellNumber: 1,
      zone,
      databaseUrl: database.url,
      listen: { host: '127.0.0.1', port: ports.get(name) },
      region: { host: '127.0.0.1', port: regionServer.port },
      tls: files,
    }),
  );
  const child = spawn(process.execPath, [entry, '--config', config], {
    stdio: 'ignore',
    env: { ...process.env, PANDO_LOG: 'silent' },
  });
  children.set(name, child);
};

const router = (tls: TlsMaterial, name: string) =>
  new RpcClient({
    tls,
    host: '127.0.0.1',
    port: ports.get(name) ?? 0,
    expect: `spiffe://pando/cell/${name}`,
    remote: backendContract,
    contract: {},
    handlers: {},
  });

/** A host dials each processor, says hello and reports. */
const dial = async (host: SimHost, name: string): Promise<void> => {
  const tls = await issueCertificate(authority, `spiffe://pando/agent/${host.hostId}`);
  const client = new RpcClient({
    tls,
    host: '127.0.0.1',
    port: ports.get(name) ?? 0,
    expect: `spiffe://pando/cell/${name}`,
    remote: hostEventsContract,
    contract: hostContract,
    access: hostAccess,
    handlers: host.handlers,
    onConnect: async (stream) => {
      await stream.call('host.hello', host.hello());
    },
  });
  const timer = setInterval(() => void client.call('host.report', host.report()).catch(() => undefined), 500);
  clients.push(client, { close: () => clearInterval(timer) });
};

const call = async (name: string, action: string, input: object): Promise<Record<string, unknown>> => {
  const client = routers.get(name);
  assert.ok(client);
  const params = { requestId: 'r', accountId, principal: 'arn:test', action, input };
  return (await client.call('ec2.call', params, { timeoutMs: 10_000 })).output as Record<string, unknown>;
};

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'pando-cell-'));
  database = await startTestDatabase();
  authority = await createAuthority('test');
  const streams = new Set<RpcStream<typeof regionContract, typeof cellPushContract>>();
  regionServer = await serveRpc({
    tls: await issueCertificate(authority, 'spiffe://pando/region/region'),
    host: '127.0.0.1',
    port: 0,
    contract: regionContract,
    access: openAccess(regionContract),
    remote: cellPushContract,
    authorize: () => true,
    handlers: (stream) => {
      streams.add(stream);
      return {
        'region.joinCell': () => ({ region: 'test-1' }),
        'region.resolveLaunch': (params) => region.call('region.resolveLaunch', params),
        'region.allocateInterface': (params) => region.call('region.allocateInterface', params),
        'region.placeInterface': (params) => region.call('region.placeInterface', params),
        'region.releaseInterface': (params) => region.call('region.releaseInterface', params),
        'region.vpcState': (params) => region.call('region.vpcState', params),
        'region.interfaces': (params) => region.call('region.interfaces', params),
      };
    },
    onClose: (stream) => streams.delete(stream),
  });
  // As the real one does: any one processor of the cell is told.
  region.push = async (state) => {
    for (const stream of streams) {
      const told = await stream.call('cell.applyVpc', { state }).catch(() => undefined);
      if (told !== undefined) return;
    }
  };
  const tls = await issueCertificate(authority, 'spiffe://pando/router/r');
  for (const name of ['one', 'two']) {
    ports.set(name, await freePort());
    await startProcessor(name);
    const client = router(tls, name);
    routers.set(name, client);
    clients.push(client);
  }
  for (const number of [1, 2, 3]) {
    const latencyMs = () => 5;
    const host = new SimHost({
      hostId: `h-${number}`,
      zone,
      vtep: `198.18.1.${10 + number}`,
      world,
      latencyMs,
    });
    hosts.push(host);
    for (const name of ['one', 'two']) await dial(host, name);
  }
  for (const name of ['one', 'two']) {
    const client = routers.get(name);
    await client?.ready(30_000);
    await until(
      `${name} has its hosts`,
      async () => (await client?.call('process.health', {}))?.detail === '3 hosts',
    );
  }
});

after(async () => {
  for (const client of clients) client.close();
  for (const child of children.values()) child.kill('SIGKILL');
  await regionServer?.close();
  await database?.stop();
  await rm(dir, { recursive: true, force: true });
});

test('launches are finished by the other processor, exactly once, when one is killed in their middle', async () => {
  for (const [round, victim] of ['one', 'two'].entries()) {
    const other = victim === 'one' ? 'two' : 'one';
    const tokens = Array.from({ length: 12 }, (_, at) => `round-${round}-${at}`);
    const input = (token: string) => ({
      ImageId: region.imageId,
      InstanceType: 'p1.nano',
      MinCount: 1,
      MaxCount: 1,
      ClientToken: token,
    });
    const asked = tokens.map((token) => call(victim, 'RunInstances', input(token)).catch(() => undefined));
    await until('some launch is under way', () => hosts.some((host) => host.vms.size > 0));
    const child = children.get(victim);
    child?.kill('SIGKILL');
    await Promise.all(asked);
    // Whoever got no answer asks again with the same token.
    const ids: string[] = [];
    for (const token of tokens) {
      const output = (await call(other, 'RunInstances', input(token))) as Reservation;
      ids.push(output.Instances?.[0]?.InstanceId ?? '');
    }
    assert.equal(new Set(ids).size, tokens.length);
    await until(
      'all run',
      async () => {
        const output = await call(other, 'DescribeInstances', { InstanceIds: ids });
        const states = (output.Reservations as Reservation[]).flatMap((each) =>
          each.Instances?.map((one) => one.State?.Name),
        );
        return states.length === ids.length && states.every((state) => state === 'running');
      },
      30_000,
    );
    assert.deepEqual(world.violations, []);
    for (const id of ids) assert.equal(world.runningOn(id).length, 1);
    assert.equal(
      hosts.reduce((sum, host) => sum + host.vms.size, 0),
      tokens.length,
      'no VM beyond those asked for',
    );
    await call(other, 'TerminateInstances', { InstanceIds: ids });
    await until(
      'all gone',
      () => hosts.every((host) => host.vms.size === 0) && region.interfaces.size === 0,
      30_000,
    );
    await startProcessor(victim);
    await until(
      `${victim} is back`,
      async () => {
        const health = await routers
          .get(victim)
          ?.call('process.health', {})
          .catch(() => undefined);
        return health?.detail === '3 hosts';
      },
      30_000,
    );
  }
});
