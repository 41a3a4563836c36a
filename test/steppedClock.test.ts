/** A wall clock that is stepped by an hour, forth or back, drops nothing: whatever measures goes by the monotonic clock. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { z } from 'zod';
import { monotonicMs } from '#base/monotonic.ts';
import { createAuthority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { serveRpc } from '#base/rpc/server.ts';
import { TokenSigner } from '#card/metadata/token.ts';
import { loadTokenKey, tokenKeyOf } from '#card/metadata/tokenKey.ts';
import { systemClock } from '#cell/clock.ts';
import { HostReports } from '#cell/hosts/reports.ts';
import { UsageBook } from '#cell/hosts/usage.ts';
import type { CellServices } from '#cell/services.ts';
import { attempt } from '#cell/workflow/attempt.ts';
import { PandoError } from '#contracts/errors.ts';
import { now, steadyNow } from '#region/rollouts/open.ts';
import { KeyCache } from '#router/keyCache.ts';
import { LaunchMemory } from '#router/launchMemory.ts';

const hourMs = 3_600_000;
const contract = {
  'test.echo': { params: z.object({ n: z.number() }), result: z.object({ n: z.number() }) },
} as const;

for (const [direction, stepMs] of [
  ['forth', hourMs],
  ['back', -hourMs],
] as const)
  describe(`a clock that is stepped ${direction} by an hour`, () => {
    const realNow = Date.now;
    beforeEach(() => mock.timers.enable({ apis: ['Date'], now: realNow() }));
    afterEach(() => mock.timers.reset());
    const step = (): void => mock.timers.setTime(Date.now() + stepMs);

    it('closes no stream', async (t) => {
      // Beats come by the monotonic clock, which nobody steps: here when the test says so.
      const beats: (() => void)[] = [];
      t.mock.method(globalThis, 'setInterval', (beat: () => void) => {
        beats.push(beat);
        return setTimeout(() => undefined, 0);
      });
      await using parts = new AsyncDisposableStack();
      const authority = await createAuthority('test');
      const server = await serveRpc({
        tls: await issueCertificate(authority, 'spiffe://pando/region/-/region'),
        host: '127.0.0.1',
        port: 0,
        contract,
        access: openAccess(contract),
        remote: {},
        authorize: () => true,
        handlers: () => ({ 'test.echo': ({ n }) => ({ n }) }),
      });
      parts.defer(() => server.close());
      const lost: string[] = [];
      const client = new RpcClient({
        tls: await issueCertificate(authority, 'spiffe://pando/router/-/r'),
        host: '127.0.0.1',
        port: server.port,
        expect: 'spiffe://pando/region/-/region',
        remote: contract,
        contract: {},
        handlers: {},
        onDisconnect: (reason) => void lost.push(reason),
      });
      parts.defer(() => client.close());
      await client.ready(5_000);
      assert.deepEqual(await client.call('test.echo', { n: 1 }), { n: 1 });
      step();
      assert.equal(beats.length, 2, 'of both ends');
      for (const beat of beats) beat();
      assert.deepEqual(await client.call('test.echo', { n: 2 }), { n: 2 });
      assert.deepEqual(lost, []);
    });

    it('asks for no access key again, and forgets no launch', async () => {
      let asked = 0;
      const keys = new KeyCache({
        lookup: async (id) => {
          asked += 1;
          return id === 'AKIAKNOWN' ? { secret: 's', accountId: '1', arn: 'a', userId: 'u' } : undefined;
        },
        keysMax: 10,
        ttlMs: 60_000,
        unknownTtlMs: 60_000,
      });
      const launches = new LaunchMemory(0);
      launches.set('1', 'token', { state: 'accepted' });
      assert.equal((await keys.get('AKIAKNOWN'))?.accountId, '1');
      assert.equal(await keys.get('AKIAUNKNOWN'), undefined);
      step();
      assert.equal((await keys.get('AKIAKNOWN'))?.accountId, '1');
      assert.equal(await keys.get('AKIAUNKNOWN'), undefined);
      assert.equal(asked, 2);
      assert.deepEqual(launches.get('1', 'token'), { state: 'accepted' });
    });

    it('ends no bake of a rollout, and moves its time window with it', () => {
      const [bakes, shows] = [steadyNow(), now()];
      step();
      assert.ok(Math.abs(steadyNow() - bakes) < hourMs / 2);
      assert.equal(now() - shows, stepMs);
    });

    it('ends no attempt of a workflow’s step before its time', async () => {
      let attempts = 0;
      const result = await attempt(
        async (signal) => {
          attempts += 1;
          step();
          await systemClock.sleep(5, signal);
          signal.throwIfAborted();
          if (attempts < 3) throw new PandoError('HostUnreachable', 'not yet');
          return 'done';
        },
        {
          policy: {
            attemptsMax: 3,
            deadlineMs: 60_000,
            backoffMsMin: 1,
            backoffMsMax: 2,
            unreachableMs: 60_000,
          },
          clock: systemClock,
          stop: new AbortController().signal,
          persistent: false,
          parks: true,
          parkedBefore: false,
          inMemoryMs: 60_000,
        },
      );
      assert.equal(result, 'done');
    });

    it('compares no host’s report with the store out of turn', async () => {
      let queries = 0;
      const services = {
        clock: systemClock,
        log: { warn: () => undefined, info: () => undefined },
        hosts: { tellsHealth: () => undefined },
        capacity: { view: { row: () => undefined } },
        usage: new UsageBook(),
        db: {
          query: async () => {
            queries += 1;
            return [];
          },
        },
      } as unknown as CellServices;
      const reports = new HostReports({ services, owner: 'p1/x', begun: () => undefined });
      const report = (sequence: number) => ({
        hostId: 'h-1',
        sequence,
        card: 'ok' as const,
        memoryAvailableMib: 1,
        loadAverage1: 0,
        vms: [],
      });
      const settled = (): Promise<void> =>
        new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      reports.report(report(1));
      await settled();
      const first = queries;
      assert.ok(first > 0);
      step();
      reports.report(report(2));
      await settled();
      assert.equal(queries, first);
    });

    it('keeps the patience of a cell and the tokens of its guests', async () => {
      const before = systemClock.monotonicMs();
      const directory = await mkdtemp(join(tmpdir(), 'pando-token-'));
      const signer = new TokenSigner(tokenKeyOf(await loadTokenKey(directory), 'vpc-1'));
      await rm(directory, { recursive: true });
      const token = signer.issue('eni-1', 60, monotonicMs());
      step();
      assert.ok(signer.remainingMs(token, 'eni-1', monotonicMs()) > 0);
      const passed = systemClock.monotonicMs() - before;
      assert.ok(passed >= 0 && passed < hourMs / 2);
    });
  });
