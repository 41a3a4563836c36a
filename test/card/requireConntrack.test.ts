import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requireConntrack } from '#card/kernel/requireConntrack.ts';

test('a device starts with conntrack, and without it says what to install', async () => {
  await requireConntrack();
  await assert.rejects(
    requireConntrack({ PATH: '/nowhere' }),
    /conntrack is missing.*apt-get install conntrack/,
  );
});
