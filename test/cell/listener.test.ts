/** What hosts say over the wire, and when it is heard. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { createAuthority, issueCertificate } from '#base/pki.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { listen } from '#cell/listener.ts';
import { hostEventsContract } from '#contracts/host.ts';
import { SimHost } from '#simhost/sim-host.ts';
import { TestCell, zone } from './support/harness.ts';

const readyMsMax = 30_000;

test('a host’s reports count on the stream of its last hello alone', async (t) => {
  const cell = await TestCell.start();
  t.after(() => cell.stop());
  const { cell: processor, closers } = await cell.addProcessor({ hosts: [] });
  const authority = await createAuthority('test');
  const issue = (identity: string) => issueCertificate(authority, identity);
  const server = await listen({
    ...{ cell: processor, name: 'cell-1-1', tls: await issue('spiffe://pando/cell/cell-1/cell-1-1') },
    ...{ host: '127.0.0.1', port: 0, log: pino({ level: 'silent' }) },
  });
  closers.push(() => server.close());
  const host = new SimHost({ hostId: 'h-1', zone, vtep: '198.18.1.11', world: cell.world });
  const tls = await issue('spiffe://pando/agent/cell-1/h-1');
  const dial = async () => {
    const client = new RpcClient({
      ...{ tls, host: '127.0.0.1', port: server.port, expect: 'spiffe://pando/cell/cell-1/' },
      ...{ remote: hostEventsContract, contract: {}, handlers: {} },
    });
    t.after(() => client.close());
    await client.ready(readyMsMax);
    return client;
  };
  const first = await dial();
  await assert.rejects(first.call('host.report', host.report()), { code: 'Conflict' });
  const elsewhere = { cellId: 'cell-2' };
  await assert.rejects(first.call('host.hello', { ...host.hello(), pinnedTo: elsewhere }), {
    code: 'Conflict',
  });
  await assert.rejects(first.call('host.report', host.report()), { code: 'Conflict' });
  await first.call('host.hello', host.hello());
  await first.call('host.report', host.report());
  const second = await dial();
  await second.call('host.hello', host.hello());
  await second.call('host.report', host.report());
  await assert.rejects(first.call('host.report', host.report()), { code: 'Conflict' });
});
