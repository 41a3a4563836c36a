/** A machine that is turned off and on from outside: once, and not waited for without end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '#cell/clock.ts';
import { powerCycleMsMax } from '#cell/limits.ts';
import { TakenBack } from '#cell/workflow/attempt.ts';
import { Wait } from '#cell/workflow/wait.ts';
import { cycledFromOutside } from '#cell/workflows/steps/cycle-power.ts';
import { PandoError } from '#contracts/errors.ts';

const look = async (waitedMs: number): Promise<{ cycled: number; ended: unknown }> => {
  let cycled = 0;
  const dark = new PandoError('HostUnreachable', 'It is dark.');
  const ended = await cycledFromOutside(
    {
      services: { hosts: { call: () => Promise.reject(dark) }, clock: systemClock },
      input: { hostId: 'h-1', bootId: 'before' },
      signal: new AbortController().signal,
      waitedMs,
    },
    {
      cycle: async () => {
        cycled++;
      },
    },
  ).catch((error: unknown) => error);
  return { cycled, ended };
};

test('a machine is cycled, looked for while it boots, and given up when it stays dark', async () => {
  const first = await look(0);
  assert.equal(first.cycled, 1);
  assert.ok(first.ended instanceof Wait);
  const booting = await look(1);
  assert.equal(booting.cycled, 0);
  assert.ok(booting.ended instanceof PandoError && booting.ended.class === 'unreachable');
  const late = await look(powerCycleMsMax + 1);
  assert.equal(late.cycled, 0);
  assert.ok(late.ended instanceof TakenBack);
  assert.match(late.ended.message, /has not booted in 30 minutes/);
});
