import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExecError, type exec } from '#base/exec.ts';
import { apt } from '#cli/provision/apt.ts';

/** A machine whose apt says `complaint` until `dpkg --configure -a` has run. */
const machine = (complaint: string) => {
  const ran: string[] = [];
  const run: typeof exec = async (command, args) => {
    ran.push(`${command} ${args.filter((each) => !each.startsWith('-q') && !each.includes('::')).join(' ')}`);
    if (command === 'apt-get' && !ran.some((each) => each.startsWith('dpkg')))
      throw new ExecError(command, 100, complaint);
    return { stdout: '', stderr: '', exitCode: 0 };
  };
  return { ran, run };
};
const install = (run: typeof exec, lines: string[] = []): Promise<void> =>
  apt(['install', '-y', 'lz4'], { timeoutMs: 1_000, log: (line) => lines.push(line), run });

test('an installation that was interrupted is finished, then apt is asked again', async () => {
  const { ran, run } = machine(
    "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
  );
  const lines: string[] = [];
  await install(run, lines);
  assert.deepEqual(
    ran.map((each) => each.replaceAll('-o ', '')),
    ['apt-get install -y lz4', 'dpkg --configure -a', 'apt-get install -y lz4'],
  );
  assert.deepEqual(lines, ['finishing an installation that was interrupted']);
});

test('any other failure of apt is told as it is', async () => {
  const { ran, run } = machine('E: Unable to locate package lz4');
  await assert.rejects(install(run), /Unable to locate package/);
  assert.equal(ran.length, 1);
});
