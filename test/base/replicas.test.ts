/** A peer with replicas: streams to all, calls over the first that is there. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import type { TlsMaterial } from '#base/identity.ts';
import { createAuthority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import { ReplicaClient } from '#base/rpc/replicas.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import { regionContract } from '#contracts/region.ts';
import { freePort } from '../support/freePort.ts';

const contract = { 'test.who': { params: z.object({}), result: z.object({ name: z.string() }) } } as const;
const looksMax = 500;

const names = ['region', 'region-2'] as const;
type Name = (typeof names)[number];
const certificates = new Map<Name, TlsMaterial>();
const servers = new Map<Name, RpcServer>();
const ports = new Map<Name, number>();
let own: TlsMaterial;

const start = async (name: Name): Promise<void> => {
  const tls = certificates.get(name);
  assert.ok(tls);
  const server = await serveRpc({
    ...{ tls, host: '127.0.0.1', port: ports.get(name) ?? (await freePort()), contract, remote: {} },
    access: openAccess(contract),
    handlers: () => ({ 'test.who': () => ({ name }) }),
  });
  servers.set(name, server);
  ports.set(name, server.port);
};
const until = async (what: string, is: () => boolean | Promise<boolean>): Promise<void> => {
  for (let look = 0; look < looksMax; look++) {
    if (await is()) return;
    await pause(20);
  }
  assert.fail(what);
};

before(async () => {
  const authority = await createAuthority('Test authority');
  own = await issueCertificate(authority, 'spiffe://pando/cell/cell-a/cell-a-1');
  for (const name of names) {
    certificates.set(name, await issueCertificate(authority, `spiffe://pando/region/-/${name}`));
    await start(name);
  }
});
after(() => Promise.all([...servers.values()].map((server) => server.close())));

test('all are dialled, the first that is there is asked, and the next one while it is away', async () => {
  const met: string[] = [];
  const client = new ReplicaClient({
    ...{ tls: own, expect: 'spiffe://pando/region/', remote: contract, contract: {}, handlers: {} },
    at: names.map((name) => ({ host: '127.0.0.1', port: ports.get(name) ?? 0 })),
    onConnect: ({ peer }) => void met.push(peer),
  });
  const who = async (): Promise<string> => (await client.call('test.who', {})).name;
  try {
    await until('both are met', () => met.length === names.length);
    assert.equal(await who(), 'region');
    await servers.get('region')?.close();
    // A call that meets the end of the first fails, as on a single stream.
    const answers = (): Promise<string> => who().catch(() => '');
    await until('the second answers', async () => (await answers()) === 'region-2');
    await servers.get('region-2')?.close();
    await until('nobody is left', () => !client.connected);
    await assert.rejects(who(), { code: 'HostUnreachable' });
    await assert.rejects(client.ready(100), { code: 'HostUnreachable' });
    await start('region-2');
    await client.ready(30_000);
    assert.equal(await who(), 'region-2');
    await start('region');
    await until('the first is asked again', async () => (await answers()) === 'region');
    assert.equal(met.length, 2 * names.length);
  } finally {
    client.close();
  }
});

test('one that proves another identity than its own is not asked', async () => {
  const identityOf = (name: string): string => `spiffe://pando/region/-/${name}`;
  const client = new ReplicaClient({
    ...{ tls: own, expect: 'spiffe://pando/region/', remote: contract, contract: {}, handlers: {} },
    at: [
      { host: '127.0.0.1', port: ports.get('region') ?? 0, identity: identityOf('another') },
      { host: '127.0.0.1', port: ports.get('region-2') ?? 0, identity: identityOf('region-2') },
    ],
  });
  try {
    await client.ready(30_000);
    assert.equal((await client.call('test.who', {})).name, 'region-2');
  } finally {
    client.close();
  }
});

test('no address is a mistake', () => {
  const none = () =>
    new ReplicaClient({
      ...{ tls: own, expect: 'spiffe://pando/region/', remote: regionContract, contract: {}, handlers: {} },
      at: [],
    });
  assert.throws(none, RangeError);
});
