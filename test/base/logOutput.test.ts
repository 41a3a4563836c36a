import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { it } from 'node:test';
import { pino } from 'pino';
import { inMoments } from '#base/logOutput.ts';

const setUp = () => {
  const state = { out: '', flushes: 0 };
  const write = (text: string): void => {
    state.out += text;
    state.flushes++;
  };
  return { state, log: pino({ base: null, timestamp: false }, inMoments({ write })) };
};

it('lines of one moment are written together, in their order', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { state, log } = setUp();
  for (const n of [1, 2, 3]) log.info({ n });
  assert.equal(state.out, '');
  t.mock.timers.runAll();
  assert.deepEqual(
    state.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).n),
    [1, 2, 3],
  );
  assert.equal(state.flushes, 1);
});

it('what warns goes out at once, with all that was before it', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { state, log } = setUp();
  log.info('before');
  log.warn('now');
  assert.equal(state.out.trim().split('\n').length, 2);
  t.mock.timers.runAll();
  assert.equal(state.flushes, 1, 'nothing is left to write');
});

it('nothing is lost when a process ends, by itself or by an error that nobody caught', () => {
  const module = new URL('../../src/base/log.ts', import.meta.url).href;
  const run = (end: string): string => {
    const code = `const { createLogger } = await import('${module}'); createLogger('x').info('said'); ${end}`;
    try {
      return execFileSync(process.execPath, ['--input-type=module', '-e', code], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
    } catch (error) {
      return String((error as { stdout?: unknown }).stdout);
    }
  };
  for (const end of ['', 'process.exit(0)', "throw new Error('not caught')"])
    assert.match(run(end), /"msg":"said"/, end);
});
