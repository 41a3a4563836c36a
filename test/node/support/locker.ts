/**
 * Takes the lock of argv[2] again and again, and exits with 1 where another has it at the same time. Now and then it leaves the lock of
 * a process that is gone.
 */
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { withLockWaiting } from '#node/lock.ts';

const [, , path = '', rounds = '0', dead = ''] = process.argv;
const waitMsMax = 60_000;
const deadEvery = 4;

for (let round = 0; round < Number(rounds); round++) {
  await withLockWaiting(path, { waitMsMax }, async () => {
    // Fails where there is one.
    mkdirSync(`${path}.inside`);
    await new Promise(setImmediate);
    rmdirSync(`${path}.inside`);
  });
  if (round % deadEvery === 0) leaveDead();
}

function leaveDead(): void {
  try {
    writeFileSync(path, dead, { flag: 'wx' });
  } catch {
    // Another has taken the lock meanwhile.
  }
}
