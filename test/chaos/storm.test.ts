/** Random processes of a region die by `kill -9` while users work: nothing acknowledged is lost, doubled, stuck or left behind. */
import { test } from 'node:test';
import { storm } from './support/storm.ts';

test('a random process dies every one to five seconds for half a minute', { timeout: 5 * 60_000 }, (t) =>
  storm(t, { ms: 30_000, users: 6, killEveryMs: [1_000, 5_000] }),
);
