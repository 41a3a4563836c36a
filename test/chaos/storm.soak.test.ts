/** As storm.test.ts, for ten minutes. */
import { test } from 'node:test';
import { storm } from './support/storm.ts';

test('a random process dies every one to five seconds for ten minutes', { timeout: 14 * 60_000 }, (t) =>
  storm(t, { ms: 600_000, users: 8, killEveryMs: [1_000, 5_000] }),
);
