/** The command that makes the next cell: run when it is due, one at a time, with a rest, and its failure is told. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Growth } from '#node/growth.ts';

describe('growth', () => {
  const dir = mkdtempSync(join(tmpdir(), 'growth-'));
  after(() => rmSync(dir, { recursive: true }));
  const until = async (condition: () => boolean): Promise<void> => {
    const end = Date.now() + 20_000;
    while (!condition()) {
      assert.ok(Date.now() < end, 'not in time');
      await delay(10);
    }
  };

  it('runs once while it runs, and rests between', async () => {
    const file = join(dir, 'runs');
    const gate = join(dir, 'gate');
    const command = ['/bin/sh', '-c', `echo run >> ${file}; while [ ! -e ${gate} ]; do sleep 0.02; done`];
    const growth = new Growth({ restMs: 60_000, log: () => undefined });
    growth.look(false, command);
    growth.look(true, undefined);
    for (let at = 0; at < 5; at += 1) growth.look(true, command);
    await until(() => existsSync(file));
    growth.look(true, command);
    writeFileSync(gate, '');
    for (let at = 0; at < 20; at += 1) {
      await delay(10);
      growth.look(true, command);
    }
    assert.equal(readFileSync(file, 'utf8'), 'run\n');
  });

  it('tells a failure as an alarm, with what to do by hand, and tries again', async () => {
    const lines: string[] = [];
    const growth = new Growth({ restAfterFailureMs: 1, log: (line) => lines.push(line) });
    const alarms = () => lines.filter((line) => line.includes('ALARM'));
    growth.look(true, ['/bin/false']);
    await until(() => alarms().length === 1);
    assert.match(alarms()[0] ?? '', /By hand: pando cell create/);
    await until(() => {
      growth.look(true, ['/does/not/exist']);
      return alarms().length >= 2;
    });
  });
});
