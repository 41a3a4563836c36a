/** Whether a host that was emptied may be cut off: who still sends to it (S6.6). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { HostSessions } from '#cell/hosts/sessions.ts';
import { mappingsPatienceMs } from '#cell/limits.ts';
import { untilMappingsConverge } from '#cell/workflows/steps/mappings.ts';
import { PandoError } from '#contracts/errors.ts';

type Services = Parameters<typeof untilMappingsConverge>[0]['services'];

/** A cell whose clock goes on only while somebody sleeps. `answer`: who is behind in a VPC. */
const cellOf = (vpcIds: readonly string[], answer: (vpcId: string, nowMs: number) => readonly string[]) => {
  let nowMs = 0;
  const asked: string[] = [];
  const logged: object[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void logged.push(JSON.parse(line)) });
  const hosts: Pick<HostSessions, 'card'> = {
    card: async () =>
      ({ vpcs: vpcIds.map((vpcId) => ({ vpcId, version: 1 })), ports: [], startedAt: '' }) as never,
  };
  const services = {
    ...{ hosts, log },
    region: {
      call: async (_: string, { vpcId }: { vpcId: string }) => {
        asked.push(vpcId);
        return { unreachable: answer(vpcId, nowMs) };
      },
    },
    clock: {
      monotonicMs: () => nowMs,
      sleep: async (ms: number) => {
        nowMs += ms;
      },
    },
  } as unknown as Services;
  const { signal } = new AbortController();
  return { asked, logged, wait: () => untilMappingsConverge({ services, signal }, 'h-1'), now: () => nowMs };
};

test('each VPC that the card still has is asked for until nobody is behind', async () => {
  const cell = cellOf(['vpc-1', 'vpc-2'], (vpcId, nowMs) =>
    vpcId === 'vpc-2' && nowMs < 1_000 ? ['gateway'] : [],
  );
  await cell.wait();
  assert.equal(cell.now(), 1_000);
  assert.deepEqual(cell.asked.slice(0, 2).sort(), ['vpc-1', 'vpc-2']);
  assert.ok(!cell.asked.slice(2).includes('vpc-1'), 'who is told is not asked for again');
  assert.deepEqual(cell.logged, []);
});

test('a card without VPCs: nobody is asked', async () => {
  const cell = cellOf([], () => ['gateway']);
  await cell.wait();
  assert.deepEqual(cell.asked, []);
});

test('a device that cannot be told at all does not hold the host for ever, and is named', async () => {
  const cell = cellOf(['vpc-1'], () => ['cell cell-b']);
  await cell.wait();
  assert.ok(cell.now() > mappingsPatienceMs && cell.now() < mappingsPatienceMs + 2_000);
  assert.deepEqual(
    cell.logged.map((line) => Reflect.get(line, 'behind')),
    [{ 'vpc-1': ['cell cell-b'] }],
  );
});

test('a region that cannot be asked: that is no answer', async () => {
  for (const [code, waits] of [
    ['HostUnreachable', false],
    ['Unavailable', false],
    // Of a VPC in which the cell has nothing any more.
    ['UnauthorizedOperation', true],
  ] as const) {
    const cell = cellOf(['vpc-1'], () => {
      throw new PandoError(code, 'as ordered');
    });
    const ended = await cell.wait().then(
      () => true,
      (error: unknown) => {
        assert.equal(PandoError.from(error).code, code);
        return false;
      },
    );
    assert.equal(ended, waits, code);
  }
});
