import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { createAuthority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { callByEitherName, withFormerNames } from '#base/rpc/formerNames.ts';
import { serveRpc } from '#base/rpc/server.ts';
import { cardContract, formerCardMethods, presentCardMethod } from '#contracts/card.ts';

const shape = { params: z.object({ n: z.number() }), result: z.object({ n: z.number() }) };
const former = { 'test.present': 'test.former' };
const present = { 'test.present': shape };
const old = { 'test.former': shape };

const twice = ({ n }: { n: number }) => ({ n: 2 * n });

test('a renamed method is served under both names, and called by the one that the peer knows', async () => {
  const authority = await createAuthority('names');
  const tls = await issueCertificate(authority, 'spiffe://pando/card/x');
  const common = { tls, host: '127.0.0.1', port: 0, remote: {}, authorize: () => true };
  const [now, before] = await Promise.all([
    serveRpc({
      ...common,
      contract: withFormerNames(present, former),
      access: openAccess(withFormerNames(present, former)),
      handlers: () => withFormerNames({ 'test.present': twice }, former),
    }),
    serveRpc({
      ...common,
      contract: old,
      access: openAccess(old),
      handlers: () => ({ 'test.former': twice }),
    }),
  ]);
  const dial = <C extends typeof present | typeof old>(port: number, remote: C) =>
    new RpcClient<Record<never, never>, C>({
      ...{ tls, host: '127.0.0.1', port, expect: 'spiffe://pando/card/x' },
      ...{ remote, contract: {}, handlers: {} },
    });
  const clients = [
    dial(now.port, withFormerNames(present, former)),
    dial(before.port, withFormerNames(present, former)),
  ];
  const ofLastRelease = dial(now.port, old);
  for (const client of clients) {
    await client.ready(30_000);
    assert.deepEqual(
      await callByEitherName<typeof present, 'test.present'>(client, 'test.present', { n: 4 }, { former }),
      { n: 8 },
    );
  }
  await ofLastRelease.ready(30_000);
  assert.deepEqual(await ofLastRelease.call('test.former', { n: 3 }), { n: 6 });
  for (const client of [...clients, ofLastRelease]) client.close();
  await Promise.all([now.close(), before.close()]);
});

test('each former name of the card leads to a method of today, and to no other', () => {
  for (const [name, before] of Object.entries(formerCardMethods)) {
    assert.ok(name in cardContract);
    assert.ok(!(before in cardContract));
    assert.equal(presentCardMethod(before), name);
  }
});
