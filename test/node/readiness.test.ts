import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadTls } from '#base/config.ts';
import { openAccess } from '#base/rpc/access.ts';
import type { Handlers } from '#base/rpc/contract.ts';
import { serveRpc } from '#base/rpc/server.ts';
import { backendContract } from '#contracts/backend.ts';
import { cellOperatorContract } from '#contracts/cell-operator.ts';
import type { Role } from '#contracts/identity.ts';
import { operatorContract } from '#contracts/operator.ts';
import type { Peer } from '#node/peers.ts';
import { identityOf, PkiFiles } from '#node/pkiFiles.ts';
import type { NodeSpec } from '#node/processSpec.ts';
import { checkReadiness } from '#node/readiness.ts';

const contract = { ...backendContract, ...cellOperatorContract, ...operatorContract } as const;
const hostId = 'h-00000000000000001';
const looksMax = 10;

/** What the peers of this test answer, changed as the test goes on. */
interface World {
  connected: boolean;
  card: 'ok' | 'degraded';
  gateway: boolean;
  router: object;
}

const hostRow = (world: World) => ({
  hostId,
  zone: 'z',
  vtep: '192.0.2.1',
  accelerator: 'tcg',
  state: 'active' as const,
  card: world.card,
  connected: world.connected,
  heardAt: '',
  capacity: { vcpus: 1, memoryMib: 1, diskMib: 1 },
  used: { vcpus: 0, memoryMib: 0, diskMib: 0 },
});

const handlers = (world: World): Handlers<typeof contract> => ({
  'process.health': () => ({ name: 'x', ready: world.connected, detail: 'the store does not answer' }),
  'operator.hosts': () => ({ cellId: 'cell-a', hosts: [hostRow(world)] }),
  'operator.status': () => ({
    region: 'r',
    accounts: 0,
    vpcs: 0,
    interfaces: 0,
    images: 0,
    publicAddresses: { free: 0, used: 0 },
    cells: [],
    gatewayConnected: world.gateway,
  }),
});

async function bench(t: TestContext) {
  const root = mkdtempSync(join(tmpdir(), 'pando-ready-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const pki = await PkiFiles.open(root, 'test');
  const world: World = { connected: true, card: 'ok', gateway: true, router: {} };
  const peer = async (role: Role, name: string): Promise<Peer> => {
    const server = await serveRpc({
      tls: loadTls(await pki.issue(role, name)),
      host: '127.0.0.1',
      port: 0,
      contract,
      access: openAccess(contract),
      remote: {},
      authorize: (identity) => identity === identityOf('operator', 'supervisor'),
      handlers: () => handlers(world),
    });
    t.after(() => server.close());
    return { host: '127.0.0.1', port: server.port, identity: identityOf(role, name) };
  };
  const readiness = checkReadiness(await pki.issue('operator', 'supervisor'));
  t.after(() => readiness.close());
  const missing = (ready: NodeSpec['ready']): Promise<string | undefined> =>
    readiness.missing(
      { kind: 'node', name: 'x', after: [], entry: '', configPath: '', config: {}, ready },
      process.pid,
    );
  /** A look is given up after a while, and the supervisor looks again: so does this, on a machine that stands still for a moment. */
  const says = async (ready: NodeSpec['ready'], expected: string | undefined): Promise<void> => {
    let said = await missing(ready);
    for (
      let looks = 1;
      said !== expected && /aborted|not reached/.test(said ?? '') && looks < looksMax;
      looks++
    )
      said = await missing(ready);
    assert.equal(said, expected);
  };
  return { world, peer, missing, says };
}

test('an agent is ready when every processor has a stream to it, and it one to its card', async (t) => {
  const { world, peer, missing, says } = await bench(t);
  const processors = [await peer('cell', 'cell-a-1'), await peer('cell', 'cell-a-2')];
  const ready = { kind: 'host', hostId, processors } as const;
  await says(ready, undefined);
  world.card = 'degraded';
  assert.match((await missing(ready)) ?? '', /card/);
  world.connected = false;
  await says(ready, 'not connected to cell-a-1 cell-a-2');
  assert.match((await missing({ ...ready, hostId: 'h-00000000000000002' })) ?? '', /not connected/);
});

test('a peer that is away is told as such, within a bounded time', async (t) => {
  const { peer, missing } = await bench(t);
  const there = await peer('cell', 'cell-a-1');
  const processors = [there, { ...there, port: 1, identity: identityOf('cell', 'cell-a-2') }];
  assert.match((await missing({ kind: 'host', hostId, processors })) ?? '', /cell-a-2 was not reached/);
});

test('a gateway is ready when the region has a stream to it, a process with a health when it says so', async (t) => {
  const { world, peer, says } = await bench(t);
  const region = await peer('region', 'region');
  await says({ kind: 'gateway', region }, undefined);
  world.gateway = false;
  await says({ kind: 'gateway', region }, 'not connected to the region');
  await says({ kind: 'health', ...region }, undefined);
  world.connected = false;
  await says({ kind: 'health', ...region }, 'the store does not answer');
});

test('a router is ready when it is connected to the region and to every cell that it knows', async (t) => {
  const { world, says } = await bench(t);
  const server = createServer((_request, response) => response.end(JSON.stringify(world.router)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const ready = { kind: 'router', port: (server.address() as AddressInfo).port } as const;
  const cells = [
    { cellId: 'cell-a', live: true },
    { cellId: 'cell-b', live: false },
  ];
  world.router = { ready: true, region: false, cells };
  await says(ready, 'not connected to the region');
  world.router = { ready: true, region: true, cells };
  await says(ready, 'not connected to cell-b');
  world.router = { ready: true, region: true, cells: [] };
  await says(ready, 'knows no cell yet');
  world.router = { ready: true, region: true, cells: cells.slice(0, 1) };
  await says(ready, undefined);
});
